"""The requests that probe an endpoint or an artifact, and the expected answers."""

from __future__ import annotations

import hashlib
import heapq
import json
import random
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from recdeploy_ops.domain.texts import LONGEST_ID
from recdeploy_ops.training.recommendations import USERS, read_ids, read_lists

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recdeploy_ops.settings import Settings


Ranking = tuple[tuple[str, float], ...]
DEEP = json.loads("[" * 50 + "]" * 50)
# Valid JSON, so that every client can send it, but not valid requests.
MALFORMED: tuple[object, ...] = (
    {},
    [],
    {"user_id": None},
    {"user_id": True},
    {"user_id": 1.5},
    {"user_id": ["1"]},
    {"user_id": {"id": "1"}},
    {"user": "1"},
    {"USER_ID": "1"},
    {"top_k": 10},
    {"user_id": "1", "top_k": 0},
    {"user_id": "1", "top_k": -1},
    {"user_id": "1", "top_k": 2.5},
    {"user_id": "1", "top_k": True},
    {"user_id": "1", "top_k": [10]},
    [[]],
    [None],
    {"user_id": DEEP},
)


@dataclass(frozen=True)
class Expectation:
    """The answers that one release must give.

    Attributes:
        version: of the model.
        digest: of its artifact.
        top_k: length of a list if the request has none.
        known: lists of a sample of its users, best first.
        unknown: ids that are not users of the model.
        fallback: the list for new users, best first.
    """

    version: int
    digest: str
    top_k: int
    known: dict[str, Ranking]
    unknown: tuple[str, ...]
    fallback: Ranking


@dataclass(frozen=True)
class Probe:
    """One request, and the expected list; `recommendations` is None if an error is expected."""

    request: object
    user_id: str | None = None
    recommendations: Ranking | None = None


def expect_answers(
    results_folder: Path,
    extract_folder: Path,
    *,
    settings: Settings,
    version: int,
    digest: str,
    top_k: int,
    fallback: Sequence[tuple[str, float]],
    seed: int,
) -> Expectation:
    """Draw the users to ask for, with their lists from ``recommendations.csv``.

    The same files and seed give the same users. The first, the last and the one with the longest id are always
    among them. Half of the unknown ids differ very little from a user's.

    Raises:
        TrainingFailedError: ``recommendations.csv`` cannot be used.
    """
    probes, source = settings.probes, settings.source
    known = _sample_lists(results_folder, settings, probes.known_users, seed)
    near = [twisted for user in known for twisted in (f"0{user}", f"{user} ", user.swapcase(), user[:-1], f"{user}.0")]
    far = [f"nobody-{_draw(seed, str(number)):x}" for number in range(probes.unknown_users)]
    random.Random(seed).shuffle(near)  # noqa: S311 - a sample, not a secret
    candidates = list(dict.fromkeys(near[: probes.unknown_users // 2] + far))
    users = read_ids(extract_folder / USERS, source.user_column)
    taken = pc.is_in(pa.array(candidates, pa.string()), value_set=users).to_pylist()
    # An empty id is an error, and one that is too long is not repeated: neither says who was answered.
    unknown = [
        user
        for user, is_user in zip(candidates, taken, strict=True)
        if not is_user and user not in known and 0 < len(user) <= LONGEST_ID
    ]
    return Expectation(
        version=version,
        digest=digest,
        top_k=top_k,
        known=known,
        unknown=tuple(unknown[: probes.unknown_users]),
        fallback=tuple(fallback),
    )


def latency_requests(expected: Expectation, count: int) -> list[object]:
    """Return ``count`` requests for users of the model, repeated if the sample is smaller."""
    users = list(expected.known)
    return [{"user_id": users[n % len(users)], "top_k": expected.top_k} for n in range(count if users else 0)]


def plan_probes(expected: Expectation, malformed: int) -> list[Probe]:
    """Return every request with its expected answer: for users of the model, unknown users, and malformed ones.

    The requested lengths take turns: none, the model's, one, more than the list has.
    """
    lengths = (None, expected.top_k, 1, 10 * expected.top_k)
    users = [*expected.known.items(), *((user, expected.fallback) for user in expected.unknown)]
    probes = []
    for number, (user, ranking) in enumerate(users):
        length = lengths[number % len(lengths)]
        request = {"user_id": user} if length is None else {"user_id": user, "top_k": length}
        probes.append(Probe(request, user, ranking[: length or expected.top_k]))
    return probes + [Probe(MALFORMED[number % len(MALFORMED)]) for number in range(malformed)]


def _sample_lists(results_folder: Path, settings: Settings, count: int, seed: int) -> dict[str, Ranking]:
    vocabulary: dict[str, int] = {}
    items: list[str] = []
    drawn: list[tuple[int, str, Ranking]] = []  # a heap, the next to go on top
    special: list[tuple[str, Ranking]] = []  # the first, the longest so far, the last so far
    for lists in read_lists(results_folder, settings.source, vocabulary):
        items.extend(islice(vocabulary, len(items), None))
        users = lists.users.to_pylist()
        for number, user in enumerate(users):
            order = -_draw(seed, user)
            if len(drawn) < count:
                heapq.heappush(drawn, (order, user, lists.ranking(number, items)))
            elif order > drawn[0][0]:
                heapq.heapreplace(drawn, (order, user, lists.ranking(number, items)))
        far = max(range(len(users)), key=lambda number: len(users[number]))
        first, longest, last = ((users[n], lists.ranking(n, items)) for n in (0, far, -1))
        if special:
            first, longest = special[0], max(special[1], longest, key=lambda entry: len(entry[0]))
        special = [first, longest, last]
    ordered = dict([*special, *((user, ranking) for _, user, ranking in sorted(drawn, reverse=True))])
    return dict(islice(ordered.items(), count))


def _draw(seed: int, text: str) -> int:
    """Return an evenly distributed number that depends on seed and text only."""
    return int.from_bytes(hashlib.blake2b(text.encode(), key=seed.to_bytes(8, "big"), digest_size=8).digest(), "big")
