"""A customer's id in texts: found in every spelling, and nothing else is changed."""

from __future__ import annotations

import html
import json

import pytest

from recdeploy_ops.upkeep.customer_texts import CustomerText

LONG = "A39HTATAQ9V7YF"


@pytest.mark.parametrize(
    ("user", "text", "erased"),
    [
        (LONG, f"First: {LONG} got status 429.", "First: [erased] got status 429."),
        (LONG, f"First: 0{LONG} got status 429.", "First: 0[erased] got status 429."),
        (LONG, LONG.swapcase(), "[erased]"),
        ("anna", "user 'anna' item 'p-1' (annals)", "user '[erased]' item 'p-1' (annals)"),
        ("anna", "First: 0anna got status 429.", "First: [erased] got status 429."),
        ("5", "5 of 200 users got 5 of 5 items", "5 of 200 users got 5 of 5 items"),
        ("5", "user '5' item '25'", "user '[erased]' item '25'"),
        ("5", "First: 5 got status 429, then 15 got it.", "First: [erased] got status 429, then 15 got it."),
        ("5", "First: 5.0 got status 429.", "First: [erased] got status 429."),
        ("5", "5", "[erased]"),
        ("00420", "v1 at 00420 requests; user '00420'", "v1 at 00420 requests; user '[erased]'"),
        ("a'b", """user "a'b" item""", """user "[erased]" item"""),
        ("ユーザー7", "user 'ユーザー7'", "user '[erased]'"),
        ("ユーザー7", f"user {'ユーザー7'!a}", "user '[erased]'"),
        ("line\nbreak", r"user 'line\nbreak'", "user '[erased]'"),
    ],
)
def test_an_id_is_replaced_where_a_text_shows_it_as_one(user: str, text: str, erased: str) -> None:
    assert CustomerText(user).erase(text) == erased
    assert CustomerText(user).is_in(text) == (text != erased)


def test_a_page_keeps_its_tags_and_styles() -> None:
    page = "<style>div { color: red }</style><div title='x'>div</div><td>5</td><b>div a</b>"

    assert CustomerText("div").erase_html(page) == page.replace(">div<", ">[erased]<").replace(">div a", ">[erased] a")
    assert CustomerText("5").erase_html(page) == page.replace(">5<", ">[erased]<")
    quoted = f"<p>{html.escape(LONG + '<x>')}</p>"
    assert CustomerText(f"{LONG}<x>").erase_html(quoted) == "<p>[erased]</p>"


def test_a_report_keeps_its_fields_and_its_numbers() -> None:
    report = {"verdict": "PASS", "twins": {"floor": 0.5, "users": ["twins", "u-2"]}, "count": 5, "first": "5"}

    assert json.loads(CustomerText("twins").erase_json(json.dumps(report))) == {
        **report,
        "twins": {"floor": 0.5, "users": ["[erased]", "u-2"]},
    }
    assert json.loads(CustomerText("5").erase_json(json.dumps(report))) == {**report, "first": "[erased]"}
    assert json.loads(CustomerText("PASS").erase_json(json.dumps(report))) == report


def test_what_is_not_json_is_erased_like_any_text() -> None:
    assert CustomerText(LONG).erase_json(f"{{{LONG}") == "{[erased]"


def test_a_report_that_does_not_name_them_keeps_its_bytes() -> None:
    text = '{"b":1,   "a": "ü"}'

    assert CustomerText(LONG).erase_json(text) == text
