"""The report as a page: what it says, and that data in it is never more than text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from recdeploy_ops.evaluation.pages import POLICY, render_page, show_moment
from recdeploy_ops.evaluation.report_numbers import describe_numbers

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }} [x](javascript:alert(1)) | `x`",
    "\u202eevil\u202c \u0000 &lt;b&gt;",
    "</title></style></svg><script>alert(2)</script>",
]
VOID = {"meta", "br", "rect", "line", "circle"}  # without an end tag, or closed by themselves


def reach(item: str) -> dict[str, Any]:
    return {"item": item, "champion": 40, "candidate": 10, "twins": [12, 9]}


def sample(text: str = "p1", verdict: str = "HOLD") -> dict[str, Any]:
    """Return a report with every part, and ``text`` wherever it shows data."""
    finding = {
        "run": "data",
        "gate": "newest_user",
        "verdict": verdict,
        "value": 0.31,
        "threshold": "HOLD > 20 %",
        "message": f"User {text} made 31 % of the new interactions.",
        "users": 2320,
        "unit": "rows",
        "interval": [-0.04, 0.06],
        "scale": "share",
    }
    unmeasured = {**finding, "gate": "churn", "value": None, "interval": None, "unmeasured": "of a reason"}
    report: dict[str, Any] = {
        "project": text,
        "run": text,
        "version": 8,
        "replaces": 7,
        "serving_since": "2026-11-22",
        "verdict": verdict,
        "headline": "A person must look before v8 may replace v7 in production",
        "lead": "Read why.",
        "data": {"interactions": 100_000, "newest interaction": None},
        "metrics": {},
        "findings": [finding, unmeasured],
        "margin": 0.1,
        "quality": {
            "users": 932,
            "hits": 680,
            "relative": 0.0095,
            "low": -0.032,
            "high": 0.051,
            "champion": 0.0783,
            "candidate": 0.079,
            "at_10": [0.02, -0.4, 0.5],
            "random": 0.027,
            "popularity": 0.169,
            "depth": 100,
            "champion_trainings": 5,
            "candidate_trainings": 5,
        },
        "twins": {"floor": 0.22},
        "own": {"distinct_items": 245, "top_share": 0.667, "shared": 0.0},
        "champion": {"concentration": {"distinct_items": 238, "top_share": 0.678, "shared": 0.01}},
        "blast_radius": {
            "both": 100,
            "new_users": 3,
            "lost_users": 2,
            "kept": [10, 30, 60],
            "chance": [0.05, 0.35, 0.6],
            "lost": 0.5,
            "lost_by_chance": 0.35,
            "places": 206,
            "new_items": 4,
            "new_item_places": 6,
            "entering": 3,
            "leaving": 12,
            "enter": [reach(text)],
            "leave": [reach("p2")],
            "movers": [reach(text), reach("p3")],
            "slices": [{"name": f"country = {text}", "users": 60, "kept": 1.4, "chance": 1.5}],
            "more_slices": 7,
            "changed": [{"user": text, "kept": 0, "champion": [text, "p2"], "candidate": ["p3", "p4"]}],
            "titles": {text: text, "p2": text, "p3": "Ink"},
        },
        "churn": [
            {"title": "The seed", "items": 2.6, "low": None, "high": None, "note": "as between twins"},
            {"title": "New data", "items": 0.4, "low": -0.1, "high": 0.9, "note": "what is beyond the seed"},
            {"title": "Settings and recipe", "items": None, "low": None, "high": None, "note": f"not apart: {text}"},
        ],
        "new_users": {
            "sentences": [f"New users get ADS's list: {text}.", "The most popular items are clearly better."],
            "advises": True,
            "compared": {
                "depth": 10,
                "choice": {"users": 94, "operator": 0.21, "popularity": 0.54, "low": 0.27, "high": 0.39},
                "judged": {"users": 95, "operator": 0.22, "popularity": 0.2, "low": -0.0412, "high": 0.0012},
            },
        },
        "returning_users": {"users": 1_200, "met": 300, "met_popular": 450, "interactions": 2_345},
        "not_measured": [f"churn: {text}."],
        "never_measured": ["Sales."],
    }
    return {**report, "numbers": describe_numbers(report)}


class Page(HTMLParser):
    """Collects tags, attributes and text, and requires that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def test_the_verdict_and_its_reasons_come_first() -> None:
    text = " ".join(Page(render_page(sample())).text.split())
    first = text.index("HOLD A person must look before v8")
    reason = text.index("Newest user (HOLD): User p1 made 31 % of the new interactions.")
    unmeasured = text.index("Not measured: churn: p1.")
    numbers = text.index("Ranks held-out interactions")
    assert first < reason < unmeasured < numbers < text.index("All checks")
    assert "Sales." in text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_data_is_never_more_than_text(hostile: str) -> None:
    harmless, page = Page(render_page(sample())), Page(render_page(sample(hostile)))
    assert page.tags == harmless.tags
    assert not {"script", "img", "link", "iframe", "a"} & set(page.tags)
    assert [name for name, _ in page.attributes] == [name for name, _ in harmless.attributes]
    shown = "".join("\ufffd" if char in "\u202e\u202c\u0000" else char for char in hostile)
    assert shown in page.text
    assert not set("\u202e\u202c\u0000") & set(page.text)


def test_the_page_needs_nothing_else() -> None:
    page = Page(render_page(sample()))
    assert ("content", POLICY) in page.attributes
    assert "default-src 'none'" in POLICY
    assert not {"src", "href", "onclick", "onload"} & {name for name, _ in page.attributes}
    assert "url(" not in render_page(sample())


def test_charts_have_a_text_and_tables_have_headers() -> None:
    html = render_page(sample())
    assert html.count('role="img"') == 3
    assert "aria-label=\"Quality relative to the champion's recipe: NDCG@100, all users +0.9 %; NDCG@10" in html
    assert "0: 10 %, by chance 5 %; 1: 30 %, by chance 35 %" in html
    assert 'aria-label="p1: 39 % to 10 %; Ink: 39 % to 10 %"' in html
    assert html.count("<svg") == html.count('<svg aria-hidden="true">') + 1  # those of rows, and that of bars
    assert html.count('<th scope="col"') == 19


def test_what_was_not_measured_shows_no_rule() -> None:
    html = render_page(sample())
    assert html.count("<small>Rule: HOLD &gt; 20 % · 2,320 rows</small>") == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-29T13:54:48.593967+00:00", "2026-11-29 13:54 UTC"),
        ("2026-11-29T13:54:48+01:00", "2026-11-29T13:54:48+01:00"),
        ("2026-11-22", "2026-11-22"),
        ("unknown", "unknown"),
    ],
)
def test_a_time_is_shown_to_the_minute(text: str, shown: str) -> None:
    assert show_moment(text) == shown


@pytest.mark.parametrize(("reach", "ticks"), [(40, ["0 %", "10 %", "20 %", "30 %", "40 %"]), (1, ["0.00 %", "0.25 %"])])
def test_the_chart_of_reach_has_round_steps(reach: int, ticks: list[str]) -> None:
    report = sample()
    report["blast_radius"] |= {"movers": [{"item": "p3", "champion": reach, "candidate": 0, "twins": []}]}
    labels = re.findall(
        r'text-anchor="middle">([\d.]+ %)</text>', render_page(report).partition("reach changes most")[2]
    )
    assert labels[: len(ticks)] == ticks


def test_what_the_champions_lists_met_is_told_beside_the_bestsellers() -> None:
    text = " ".join(Page(render_page(sample())).text.split())
    assert "1,200 users with a list came back, with 2,345 interactions. 300 of them (25.0 %) met an item" in text
    assert "would have met 450 (37.5 %)" in text
    assert "came back" not in Page(render_page({**sample(), "returning_users": None})).text


def test_why_lists_change_is_split_and_what_is_not_known_is_said() -> None:
    rows = re.sub(r"<[^>]+>", " ", render_page(sample()).partition("Why lists change")[2].partition("</table>")[0])
    assert " ".join(rows.split()) == (
        "Reason Items of a list 95 % interval over users The seed as between twins 2.6 "
        "New data what is beyond the seed 0.4 \N{MINUS SIGN}0.1 to 0.9 Settings and recipe not apart: p1 not measured"
    )
    assert "Why lists change" not in render_page({**sample(), "churn": None})


def test_both_lists_for_new_users_are_shown_with_what_follows_from_them() -> None:
    html = render_page(sample())
    text = " ".join(Page(html).text.split())
    assert "What do new users get? New users get ADS's list: p1. The most popular items are clearly better." in text
    assert "<b>The most popular items are clearly better.</b>" in html
    assert "The half that judges (95) 0.220 0.200 \N{MINUS SIGN}0.041 to +0.001" in " ".join(
        re.sub(r"<[^>]+>", " ", html).split()
    )


def test_without_a_comparison_only_the_reason_is_said() -> None:
    uncompared = {**sample()["new_users"], "compared": None, "advises": False}
    text = Page(render_page({**sample(), "new_users": uncompared})).text
    assert "New users get ADS's list: p1." in text
    assert "The half that judges" not in text
    assert "What do new users get?" not in Page(render_page({**sample(), "new_users": None})).text


def test_equal_reports_give_equal_pages() -> None:
    assert render_page(sample()) == render_page(sample())


@pytest.mark.parametrize("verdict", ["PASS", "HOLD", "FAIL"])
def test_each_verdict_has_a_colour_of_its_own(verdict: str) -> None:
    assert f'<header class="{verdict.lower()}">' in render_page(sample(verdict=verdict))


def test_a_first_release_says_what_it_cannot_know() -> None:
    first = {**sample(), "quality": None, "champion": None, "blast_radius": None, "replaces": None}
    first["numbers"] = describe_numbers(first)
    text = Page(render_page(first)).text
    assert "no backtest was made" in text
    assert "the lists were not compared with the champion's" in text
    assert [number["value"] for number in first["numbers"]][:4] == ["not measured"] * 4
    assert "The numbers to look at first" in render_page(first)


def test_numbers_of_which_none_was_measured_are_left_out() -> None:
    early = {**sample(), "quality": None, "own": None, "champion": None, "blast_radius": None}
    early["numbers"] = describe_numbers(early)
    assert {number["value"] for number in early["numbers"]} == {"not measured"}
    assert "The numbers to look at first" not in render_page(early)


def test_eight_numbers_are_shown_with_chance_beside_them() -> None:
    numbers = {number["title"]: (number["value"], number["note"]) for number in sample()["numbers"]}
    assert len(numbers) == 8
    assert numbers["A list changes by"] == ("0.5 of 2 items", "By chance alone 0.3.")
    assert numbers["Users who keep nothing"] == ("10 of 100", "By chance alone 5.")
    assert numbers["Users who lose their list"][0] == "2"
    assert numbers["The top item is seen by"] == ("67 % of users", "Champion's: 68 %.")


def test_a_value_and_its_interval_are_written_like_their_rule() -> None:
    html = render_page(sample())
    assert "<small>Rule: HOLD &gt; 20 % · 2,320 rows</small>" in html
    assert '<td class="n">31 %<br> <code>\N{MINUS SIGN}4 % to 6 %</code></td>' in html


def test_the_mean_number_of_lost_items_is_said_beside_the_histogram() -> None:
    report = sample()
    assert "On average a list loses 0.5 items; by chance alone 0.3." in render_page(report)
    report["blast_radius"]["lost_by_chance"] = None
    assert "On average a list loses 0.5 items.</p>" in render_page(report)


def test_slices_that_are_not_shown_are_counted() -> None:
    report = sample()
    assert "and 7 more, each with fewer users" in render_page(report)
    report["blast_radius"]["more_slices"] = 0
    assert "each with fewer users" not in render_page(report)
