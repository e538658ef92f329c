"""Sizes: the request of a release, its effect on production, and the size that the ledger has as applied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from events import RETRAIN, adopted, chain, complete, of, opened, promoted, registered, resized, rolled_back, validated

from recdeploy_ops.domain.records import Autoscaling, Shape
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.sizes import (
    DEFAULT_SHAPE,
    NO_REQUEST,
    SizeRequest,
    amount_of_limit,
    describe_change,
    describe_shape,
)

E4, E5, FIXED = "VM.Standard.E4.Flex", "VM.Standard.E5.Flex", "VM.Standard2.1"
SCALING = Autoscaling(2, 6, 3, "CPU_UTILIZATION", 30, 70, 600)
OTHER_RULES = Autoscaling(2, 6, 2, None, None, None, None)
ONE = SizeRequest(E4, 1, 16, 1)
# Requests, as params or settings.
COUNT_1, COUNT_2, SCALED = {"instance_count": 1}, {"instance_count": 2}, {"autoscaling": SCALING}
LARGER = {"instance_shape": E5, "memory_gb": 32}


def shape(count: int | None = 1, *, name: str = E4, ocpus: float | None = 1.0, memory: float | None = 16.0) -> Shape:
    return Shape(name, ocpus, memory, count)


TWO_FIXED = shape(2, name=FIXED, ocpus=None, memory=None)
BY_OTHER_RULES = replace(shape(None), autoscaling=OTHER_RULES)


@pytest.mark.parametrize(
    ("wanted", "applied", "usual", "requested"),
    [
        pytest.param({}, ONE, {}, {}, id="null asks for nothing, whatever was applied"),
        pytest.param({}, NO_REQUEST, {"instance_count": 4}, {}, id="a param that was emptied asks for nothing"),
        pytest.param(COUNT_1, ONE, COUNT_1, {}, id="settings that were applied"),
        pytest.param(COUNT_2, ONE, COUNT_2, COUNT_2, id="settings changed"),
        pytest.param(COUNT_1, NO_REQUEST, COUNT_1, COUNT_1, id="never applied before"),
        pytest.param(COUNT_1, ONE, {}, COUNT_1, id="given for this run, and applied before"),
        pytest.param({"ocpus": 2}, ONE, {"ocpus": 1}, {"ocpus": 2}, id="given for this run"),
        pytest.param(
            {"ocpus": 1}, replace(ONE, ocpus=2), {"ocpus": 1}, {"ocpus": 1}, id="the run before had params of its own"
        ),
        pytest.param({"ocpus": 1, **LARGER}, ONE, {"ocpus": 1, **LARGER}, LARGER, id="only the fields that changed"),
        pytest.param(SCALED, ONE, SCALED, SCALED, id="autoscaling"),
        pytest.param(SCALED, SizeRequest(**SCALED), SCALED, {}, id="the same policy"),
        pytest.param(COUNT_1, SizeRequest(**SCALED), COUNT_1, COUNT_1, id="a fixed number replaces autoscaling"),
    ],
)
def test_only_the_fields_that_a_person_has_changed_are_requested(
    wanted: dict[str, Any], applied: SizeRequest, usual: dict[str, Any], requested: dict[str, Any]
) -> None:
    request = SizeRequest(**wanted).beyond(applied, SizeRequest(**usual))

    assert request == SizeRequest(**requested)
    assert request.is_empty == (not requested)


@pytest.mark.parametrize(
    ("current", "requested", "target"),
    [
        (shape(4), {}, shape(4)),
        (shape(4), {"instance_count": 1}, shape(1)),
        (shape(4), {"ocpus": 2}, shape(4, ocpus=2)),
        (shape(4), {"memory_gb": 32}, shape(4, memory=32)),
        (shape(4), {"instance_shape": E5}, shape(4, name=E5)),
        (shape(4), {"instance_shape": FIXED, "ocpus": 2}, shape(4, name=FIXED, ocpus=None, memory=None)),
        (shape(4), {"autoscaling": SCALING}, replace(shape(None), autoscaling=SCALING)),
        (BY_OTHER_RULES, {"instance_count": 1}, shape(1)),
        (BY_OTHER_RULES, {"ocpus": 2}, replace(BY_OTHER_RULES, ocpus=2)),
        (TWO_FIXED, {"ocpus": 2}, TWO_FIXED),
        (TWO_FIXED, {"instance_shape": E4}, shape(2)),
        (shape(2, name=FIXED), {"instance_count": 3}, shape(3, name=FIXED)),  # OCI may say its OCPUs
    ],
)
def test_fields_that_are_not_requested_stay(current: Shape, requested: dict[str, Any], target: Shape) -> None:
    request = SizeRequest(**requested)

    assert request.apply_to(current) == target
    assert request.apply_to(target) == target


def test_a_deployment_without_a_size_gets_the_documented_one() -> None:
    assert NO_REQUEST.apply_to(DEFAULT_SHAPE) == Shape(E4, 1.0, 16.0, 1)
    assert RETRAIN.size.apply_to(DEFAULT_SHAPE) == Shape(E4, 1.0, 16.0, 1)


def test_a_number_of_instances_given_for_a_run_overrides_autoscaling() -> None:
    assert replace(RETRAIN, autoscaling=SCALING).size == ONE
    scaled = replace(RETRAIN, autoscaling=SCALING, instance_count=None)
    assert scaled.size == SizeRequest(E4, 1, 16, None, SCALING)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (shape(4), f"4 x {E4} (1 OCPU, 16 GB)"),
        (shape(1, ocpus=0.5, memory=None), f"1 x {E4} (0.5 OCPU)"),
        (TWO_FIXED, f"2 x {FIXED}"),
        (shape(None), f"an unknown number x {E4} (1 OCPU, 16 GB)"),
        (
            replace(shape(None), autoscaling=SCALING),
            f"autoscaling 2 to 6 x {E4} (1 OCPU, 16 GB, initially 3, CPU_UTILIZATION 30 to 70 %, cool-down 600 s)",
        ),
        (
            replace(shape(None), autoscaling=replace(OTHER_RULES, is_enabled=False)),
            f"disabled autoscaling 2 to 6 x {E4} (1 OCPU, 16 GB, initially 2, by other rules)",
        ),
    ],
)
def test_a_size_is_described_in_words(found: Shape, words: str) -> None:
    assert describe_shape(found) == words
    assert describe_change(found, DEFAULT_SHAPE) == f"from {words} to 1 x {E4} (1 OCPU, 16 GB)"


def test_different_sizes_have_different_descriptions() -> None:
    """A person approves the description."""
    policy = {"minimum": 1, "maximum": 7, "initial": 4, "metric": "MEMORY_UTILIZATION", "scale_in": 20}
    policy |= {"scale_out": 80, "cool_down_seconds": 900, "is_enabled": False}
    policies = [SCALING, *(replace(SCALING, **{name: value}) for name, value in policy.items())]
    sizes = [shape(1), shape(2), shape(1, ocpus=2), shape(1, memory=32), shape(1, name=E5)]
    sizes += [replace(shape(None), autoscaling=autoscaling) for autoscaling in policies]

    assert len(set(map(describe_shape, sizes))) == len(sizes)


FIRST = complete(1)


def second(*events: Any) -> tuple[Any, ...]:
    """Return a history whose second release is promoted and has these events."""
    return (*FIRST, *of("run-2", opened(2), registered(2), validated(), promoted(2), *events))


@pytest.mark.parametrize(
    ("events", "applied"),
    [
        pytest.param((), NO_REQUEST, id="nothing was applied yet"),
        pytest.param(of("run-1", opened(1), registered(1), validated()), NO_REQUEST, id="a test deployment alone"),
        pytest.param(FIRST, ONE, id="a first production was made with it"),
        pytest.param(
            of("run-1", opened(1, params=replace(RETRAIN, ocpus=None)), registered(1), validated(), promoted(1)),
            replace(ONE, ocpus=None),
            id="a default was not asked for",
        ),
        pytest.param(second(), ONE, id="a promotion alone applies nothing"),
        pytest.param(second(resized()), SizeRequest(E4, 2, 32, 1), id="resized"),
        pytest.param(
            second(resized(instance_shape=None, ocpus=None, memory_gb=None, instance_count=3)),
            replace(ONE, instance_count=3),
            id="resized in one field",
        ),
        pytest.param(
            second(resized(instance_count=None, autoscaling=SCALING)),
            SizeRequest(E4, 2, 32, None, SCALING),
            id="autoscaling replaces the number",
        ),
        pytest.param(
            second(resized(instance_count=None, autoscaling=SCALING), resized(instance_count=2)),
            SizeRequest(E4, 2, 32, 2),
            id="a number replaces autoscaling",
        ),
        pytest.param(second(resized(), rolled_back(1)), SizeRequest(E4, 2, 32, 1), id="a rollback"),
        pytest.param((*FIRST, *of("run-2", adopted())), ONE, id="an adoption"),
    ],
)
def test_the_applied_size_follows_from_the_ledger(events: Any, applied: SizeRequest) -> None:
    assert replay(chain(*events)).applied_size == applied


@pytest.mark.parametrize(
    ("limit", "shape", "amount"),
    [
        ("some-core-count", Shape(E4, 2, 32, 3), 6),
        ("some-ocpu-count", Shape(E4, 2, 32, None, SCALING), 6),
        ("some-memory-count", Shape(E4, 2, 32, 3), 96),
        ("vm-count", Shape(E4, 2, 32, 3), 3),
        ("vm-count", Shape(FIXED, None, None, 3), 3),
        ("some-core-count", Shape(FIXED, None, None, 3), None),
        ("vm-count", Shape(E4, 2, 32, None), None),
    ],
)
def test_a_deployment_takes_of_a_service_limit_what_its_name_counts(limit, shape, amount):
    assert amount_of_limit(limit, shape) == amount
