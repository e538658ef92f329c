"""Texts of others, as messages and logs show them: one line of bounded length."""

from __future__ import annotations

import pytest

from recdeploy_ops.domain.codec import one_line, shorten
from recdeploy_ops.domain.records import LONGEST_SHOWN, Reply


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("recommender-prod", "recommender-prod"),
        ("", ""),
        ("Größe №1", "Größe №1"),
        ("x\n INFO promoted", r"x\n INFO promoted"),
        ("\x1b[31mred\r\u2028\u202e", r"\x1b[31mred\r\u2028\u202e"),
        ("0123456789abcdefghijk", "012345678…cdefghijk"),
    ],
)
def test_a_name_is_shown_as_one_short_line(text: str, shown: str) -> None:
    assert one_line(text, 20) == shown


@pytest.mark.parametrize(("length", "shown"), [(10, "0123456789"), (9, "0123…6789"), (8, "012…789"), (3, "0…9")])
def test_a_long_text_loses_its_middle(length: int, shown: str) -> None:
    assert shorten("0123456789", length) == shown


def test_an_answer_of_any_size_is_short_in_a_message() -> None:
    assert str(Reply(200, {"a": 1}, 0.5)) == repr(Reply(200, {"a": 1}, 0.5))
    assert len(str(Reply(200, {"a": "x" * 1_000_000}, 0.5))) == LONGEST_SHOWN - 1
