"""Which try of a task it is, and who goes on."""

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
def test_who_goes_on_after_a_try_is_said(tries: Tries, is_retried: bool, says: str) -> None:
    assert tries.describe_next(is_retried=is_retried) == says


@pytest.mark.parametrize(("number", "is_last"), [(1, False), (2, False), (3, True), (4, True)])
def test_a_try_beyond_the_last_is_the_last_too(number: int, is_last: bool) -> None:
    assert Tries(number, 3).is_last is is_last
