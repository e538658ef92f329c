"""Which try of a task this is, and who continues if the last one fails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from recdeploy_ops.domain.tries import ONLY_TRY, Tries

HALF_A_MINUTE = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("tries", "is_retried", "says"),
    [
        (Tries(1, 3, HALF_A_MINUTE, "the teardown goes on"), True, "It is tried again in 30 s (try 2 of 3)."),
        (Tries(2, 3, HALF_A_MINUTE, "the teardown goes on"), True, "It is tried again in 30 s (try 3 of 3)."),
        (Tries(3, 3, HALF_A_MINUTE, "the teardown goes on"), True, "the teardown goes on."),
        (Tries(1, 3, HALF_A_MINUTE, "the teardown goes on"), False, "the teardown goes on."),
        (Tries(1, 3, HALF_A_MINUTE), False, ""),
        (ONLY_TRY, True, ""),
    ],
)
def test_the_next_step_after_a_failed_try_is_described(tries: Tries, is_retried: bool, says: str) -> None:
    assert tries.describe_next(is_retried=is_retried) == says


@pytest.mark.parametrize(("number", "is_last"), [(1, False), (2, False), (3, True), (4, True)])
def test_a_try_from_the_last_number_on_is_the_last(number: int, is_last: bool) -> None:
    assert Tries(number, 3).is_last is is_last
