"""Watch what production answers: probe it like its users, add what OCI has counted, and measure rates and latency."""

from __future__ import annotations

import random
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle, islice
from typing import TYPE_CHECKING

from recdeploy_ops.domain.baking import Baseline, Measurements
from recdeploy_ops.domain.records import NO_ANSWER
from recdeploy_ops.evaluation.endpoints import NEW_USER, measure_replies
from recdeploy_ops.evaluation.intervals import measure_p95, measure_rate
from recdeploy_ops.evaluation.probes import plan_probes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recdeploy_ops.domain.records import Reply
    from recdeploy_ops.evaluation.endpoints import Ask
    from recdeploy_ops.evaluation.probes import Expectation, Probe

# What says nothing about the version that serves: no answer, a refused or a throttled request.
# 502, 503 and 504 are what customers get from a deployment that fails.
NO_EVIDENCE = frozenset({NO_ANSWER, HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS})
KNOWN_SHARE, UNKNOWN_SHARE = 0.8, 0.15  # of the probes; the rest are malformed requests


@dataclass(frozen=True)
class Answers:
    """What a number of probes got.

    Attributes:
        answered: probes with an answer that is evidence.
        lost: probes without one.
        errors: answers with a status of 500 or more.
        served: answers for known and unknown users, which name a release.
        wrong_release: of them, with another version or digest.
        known: answers for known users.
        wrong_lists: of them, with another list than the artifact's.
        fallbacks: of them, as for a new user.
        seconds: of the answers for known and unknown users.
        problems: the first faults, in words.
    """

    answered: int
    lost: int
    errors: int
    served: int
    wrong_release: int
    known: int
    wrong_lists: int
    fallbacks: int
    seconds: tuple[float, ...]
    problems: tuple[str, ...] = ()


def count_probes(probes: int) -> tuple[int, int, int]:
    """Return how many of a number of probes are for known users, for unknown users, and malformed."""
    known, unknown = round(probes * KNOWN_SHARE), round(probes * UNKNOWN_SHARE)
    return known, unknown, probes - known - unknown


def plan_watch(expected: Expectation, probes: int, *, seed: int) -> list[Probe]:
    """Return a number of probes in random order; users are repeated where the sample has too few."""
    known, unknown, malformed = count_probes(probes)
    planned = plan_probes(expected, malformed)
    kinds: tuple[list[Probe], ...] = ([], [], [])
    for probe in planned:
        kinds[2 if probe.recommendations is None else 0 if probe.user_id in expected.known else 1].append(probe)
    chosen = [
        probe
        for kind, count in zip(kinds, (known, unknown, malformed), strict=True)
        for probe in islice(cycle(kind), count if kind else 0)
    ]
    random.Random(seed).shuffle(chosen)  # noqa: S311 - an order, not a secret
    return chosen


def probe_production(
    ask: Ask, probes: Sequence[Probe], expected: Expectation, *, is_over: Callable[[], bool] = lambda: False
) -> Answers:
    """Send the probes, each once and on a connection of its own, until ``is_over``, and count what they got."""
    pairs: list[tuple[Probe, Reply]] = []
    for probe in probes:
        if is_over():
            break
        pairs.append((probe, ask(probe.request)))
    return tally(pairs, expected)


def tally(pairs: Sequence[tuple[Probe, Reply]], expected: Expectation) -> Answers:
    """Count what the probes got."""
    answered = [(probe, reply) for probe, reply in pairs if reply.status not in NO_EVIDENCE]
    good = [(probe, reply) for probe, reply in answered if reply.status == HTTPStatus.OK]
    facts = measure_replies([probe for probe, _ in good], [reply for _, reply in good], expected)
    of_known = [reply for probe, reply in good if probe.user_id in expected.known]
    return Answers(
        answered=len(answered),
        lost=len(pairs) - len(answered),
        errors=sum(reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR for _, reply in answered),
        served=facts.known.asked + facts.unknown.asked,
        wrong_release=facts.wrong_release,
        known=facts.known.asked,
        wrong_lists=facts.known.asked - facts.known.agreed,
        fallbacks=sum(_is_fallback(reply) for reply in of_known),
        seconds=tuple(reply.seconds for probe, reply in good if probe.user_id is not None),
        problems=(*facts.known.problems, *facts.unknown.problems, *facts.malformed.problems),
    )


def measure(answers: Answers, *, others: int = 0, errors_of_others: int = 0) -> Measurements:
    """Return the rates and the latency of a window.

    Args:
        answers: of the probes.
        others: further requests that OCI has counted, while no probe was sent.
        errors_of_others: of them, answered with a status of 500 or more.
    """
    requests = answers.answered + others
    return Measurements(
        requests=requests,
        errors=measure_rate(answers.errors + errors_of_others, requests),
        wrong_release=measure_rate(answers.wrong_release, answers.served),
        wrong_lists=measure_rate(answers.wrong_lists, answers.known),
        fallbacks=measure_rate(answers.fallbacks, answers.known),
        latency=measure_p95(answers.seconds),
    )


def measure_baseline(answers: Answers) -> Baseline:
    """Return how the previous champion behaved: its lists are not compared, only errors and latency."""
    return Baseline(answers.answered, measure_rate(answers.errors, answers.answered), measure_p95(answers.seconds))


def _is_fallback(reply: Reply) -> bool:
    return isinstance(reply.body, dict) and reply.body.get("message") == NEW_USER
