"""The evidence: what it shows to the approver, and that data in it is never more than text."""

from __future__ import annotations

import itertools
import re
from html import unescape
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from unit.test_report_page import sample

from recdeploy_ops.approvals.evidence import LIMIT, Evidence, escape_id, escape_text, render_evidence
from recdeploy_ops.approvals.verdicts import render_verdict
from recdeploy_ops.domain.gates.endpoint import Agreement, ChangeFacts, EndpointFacts, LatencyFacts
from recdeploy_ops.domain.gates.scales import Scale
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict

MARKDOWN = MarkdownIt("gfm-like", {"html": True})
# This renderer makes links of bare domain names; GitHub and Airflow (remark-gfm) do not.
MARKDOWN.linkify.set({"fuzzy_link": False})
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](https://evil.example)",
    "![](https://evil.example/pixel.png)",
    "[id]: https://evil.example",
    "https://evil.example/a_b?c=d&e",
    "HTTP://EVIL.EXAMPLE",
    "www.evil.example",
    "ftp://evil.example",
    "mailto:a@evil.example",
    "me@evil.example",
    "a|b",
    "a\\|b",
    "a\\\\|b",
    "| x | y |",
    "`code` and ``more``",
    "`",
    "\\",
    "\\`",
    "two\nlines",
    "two\r\n\r\n# lines",
    "**bold** __bold__ ~~gone~~ _em_",
    "&lt;b&gt; &#60; &amp;",
    "<!-- hidden",
    "[^1]",
    "\u202egnp.exe",
    "\u2066isolated",
    "zero\u200bwidth",
    "no\u00a0break",
    "\u2028line",
    "\x00\x1b[31m",
    "\ud800",
    "\U000e0041tag",
    " padded ",
    "  ",
    "",
    "- [ ] todo",
    "$x$ :smile: @me #1",
]


def cells_of(markdown: str) -> list[str]:
    """Return the HTML of every cell in the bodies of tables; a broken table has other cells than were put in."""
    return re.findall(r"<td>(.*?)</td>", MARKDOWN.render(markdown), re.DOTALL)


def texts_of(markdown: str) -> list[str]:
    return [unescape(re.sub(r"</?(?:code|em|strong)>", "", cell)) for cell in cells_of(markdown)]


hostile = st.text(st.sampled_from("`|\\<>&[]()*_~@:/.w!# \n\t$hafst\u202e\u05d0é"), max_size=30) | st.text(max_size=20)


def with_examples(test: Any) -> Any:
    for text in HOSTILE:
        test = example(text)(test)
    return test


@pytest.mark.parametrize("escape", [escape_id, escape_text])
@with_examples
@settings(max_examples=150, deadline=None)
@given(hostile)
def test_data_is_always_text_in_its_cell(escape: Any, text: str) -> None:
    shown = escape(text)
    cell, *others = cells_of(f"| a | b |\n| --- | --- |\n| {shown} | end |\n")
    assert others == ["end"]
    assert set(re.findall(r"<\s*/?\s*(\w+)", cell)) <= {"code", "em"}
    assert "<a" not in cell
    assert all(character.isprintable() or character in "\u2068\u2069" for character in shown)


@pytest.mark.parametrize("text", ["plain", "a_b*c", "1 < 2 & 3 > 2", "[x](y)", "ユーザー7", "50 % of 3,000 ~ #1"])
def test_harmless_text_is_shown_unchanged(text: str) -> None:
    for escape in (escape_id, escape_text):
        assert texts_of(f"| a |\n| --- |\n| {escape(text)} |\n")[0] == text


@pytest.mark.parametrize(
    "word", ["www.evil.example", "(WWW.evil.example)", "https://evil.example", "a@b.example", "שלום", "xmpp:a@b"]
)
def test_words_that_a_renderer_would_make_links_of_are_code(word: str) -> None:
    assert escape_text(f"see {word} *now*") == f"see {escape_id(word)} \\*now\\*"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("42", "`42`"),
        ("", "_(empty)_"),
        (" 7", "`\\u00207`"),
        ("  ", "`\\u0020\\u0020`"),
        ("a`b|c\\d", "`a\\u0060b\\u007cc\\u005cd`"),
        ("a\nb", "`a\\u000ab`"),
        ("\u202eabc", "`\\u202eabc`"),
        ("שלום", "\u2068`שלום`\u2069"),
        ("5f2c1d3e-8a4b-4c6d-9e7f-0a1b2c3d4e5f", "`5f2c1d3e-8a4b-4c6d-9e7f-0a1b2c3d4e5f`"),
        ("x" * 30 + "y" * 30, "`" + "x" * 19 + "…" + "y" * 19 + "`"),
    ],
)
def test_ids_are_shown_exactly_and_long_ones_without_their_middle(text: str, shown: str) -> None:
    assert escape_id(text) == shown


def report(*findings: tuple[str, Verdict, str]) -> dict[str, Any]:
    return GateReport(tuple(Finding(g, v, 0.5, ">= 0.9", message, 10) for g, v, message in findings)).to_json()


def full_evidence(text: str = "u-1", times: int = 1) -> Evidence:
    """Return evidence with every part, and ``text`` wherever it shows data."""
    agreement = Agreement(200, 199, (text,) * times)
    findings = [("user_coverage", Verdict.PASS, f"one {text}"), ("freshness", Verdict.HOLD, f"two {text}")]
    return Evidence(
        version=3,
        digest="d" * 64,
        fingerprint="f" * 64,
        rehearsed="v2 in 1.5 s",
        production=f"version 2 since {text}",
        notices=[f"Asked again: {text}"] * times,
        data={"interactions": 100_000, "users": 943, text: text},
        metrics={"RMSE": 0.9412345, "MAE": None},
        gates={"data": report(*findings * times), "lists": report(("list_order", Verdict.FAIL, text))},
        endpoint=EndpointFacts(3, "d" * 64, agreement, Agreement(50, 50), Agreement(20, 20), 0, (text,), 1),
        latency=LatencyFacts(50, 0.0123, 0.0456, 0.011, 0.044, production_asked=True),
        changes=ChangeFacts(200, 150, 0.3333),
        samples={f"{text}{number}": [(text, 4.5), ("p2", 4.25)] for number in range(times)},
        titles={text: f"Title {text}", "p2": "Tea"},
    )


def test_every_part_of_the_evidence_is_shown() -> None:
    text = render_evidence(full_evidence())
    rows = dict(itertools.pairwise(texts_of(text)))
    assert text.startswith("> **Note:** Asked again: u\\-1\n")
    assert rows["version"] == "3"
    assert rows["digest"] == "d" * 64
    assert rows["approval fingerprint"] == "f" * 64
    assert rows["production serves"] == "version 2 since u-1"
    assert rows["rollback rehearsed"] == "v2 in 1.5 s"
    assert (rows["interactions"], rows["users"]) == ("100,000", "943")
    assert (rows["RMSE"], rows["MAE"]) == ("0.9412", "not measured")
    assert rows["known users, agreement with recommendations.csv"] == "❌\u00a0FAIL 199 of 200"
    assert rows["unknown users, the list for new users"] == "✅\u00a0PASS 50 of 50"
    assert rows["malformed input, an error object"] == "✅\u00a0PASS 20 of 20"
    assert rows["latency of TEST, p50 / p95"] == "12.3 ms / 45.6 ms"
    assert rows["latency of production in turn"] == "11.0 ms / 44.0 ms"
    assert rows["lists that would change"] == "150 of 200, mean Jaccard 0.33"
    assert rows["u-10"] == "u-1 Title u-1 4.50, p2 Tea 4.25"


def test_unknown_verdicts_come_first_then_failures_and_holds() -> None:
    evidence = full_evidence()
    evidence.gates["lists"] |= report(("list_order", Verdict.FAIL, "u-1"), ("keys", Verdict.PASS, "odd"))
    evidence.gates["lists"]["findings"][1]["verdict"] = "MAYBE"
    shown = render_evidence(evidence)
    assert re.findall(r"^\| (❌|⚠️|✅|❓)", shown, re.MULTILINE) == ["❓", "❌", "⚠️"]
    assert "PASS: 1 checks; the report lists them." in shown


def test_first_release_has_nothing_to_compare_with() -> None:
    evidence = Evidence(1, "d", "f", latency=LatencyFacts(50, 0.01, None))
    rows = texts_of(render_evidence(evidence))
    assert "nothing: this is the first release" in rows
    assert "nothing to roll back to" in rows
    assert "10.0 ms / not measured" in rows
    assert "no production yet" in rows


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_data_changes_neither_links_nor_the_shape_of_the_tables(text: str) -> None:
    hostile, harmless = (MARKDOWN.render(render_evidence(full_evidence(data))) for data in (text, "u-1"))
    tags = r"<(?!/?(?:code|em)>)/?\w+[^>]*>"
    assert re.findall(tags, hostile) == re.findall(tags, harmless)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_data_changes_nothing_in_the_verdict(text: str) -> None:
    link = "https://airflow/recdeploy/report/x/y"
    hostile, harmless = (MARKDOWN.render(render_verdict(sample(data), link)) for data in (text, "u-1"))
    tags = r"<(?!/?(?:code|em)>)/?\w+[^>]*>"
    assert re.findall(tags, hostile) == re.findall(tags, harmless)
    assert harmless.index("A person must look") < harmless.index("newest") < harmless.index(link)
    assert harmless.index(link) < harmless.index("Ranks held") < harmless.index("Not measured")


def test_a_report_without_an_address_is_named_by_its_place() -> None:
    assert "`file:///storage/releases/r/report/x.html`" in render_verdict(
        sample(), "file:///storage/releases/r/report/x.html"
    )


@pytest.mark.parametrize("text", ["u-1", "\U000e0041" * 1000, "`|<&" * 500, "ユ" * 1000])
def test_evidence_that_is_too_long_loses_whole_rows_at_its_end(text: str) -> None:
    shown = render_evidence(full_evidence(text, times=120))
    assert len(shown.encode()) <= LIMIT
    assert shown.endswith("the whole report is stored beside the run._\n")
    assert all(line.endswith(" |") for line in shown.splitlines() if line.startswith("|"))


@pytest.mark.parametrize(
    ("scale", "value", "shown"),
    [
        (Scale.HOURS, 250_588.2, "250,588 h"),
        (Scale.SECONDS, 0.005283, "5.3 ms"),
        (Scale.SECONDS, None, "not measured"),
        (Scale.HOURS, float("inf"), "inf"),
        (Scale.SHARE, 0.98765, "98.8 %"),
        (Scale.NUMBER, 0.98765, "0.9877"),
        (Scale.NUMBER, 12_345, "12,345"),
    ],
)
def test_a_value_is_shown_in_the_unit_of_its_rule(scale: Scale, value: float | None, shown: str) -> None:
    report = GateReport((Finding("freshness", Verdict.HOLD, value, "<= 1", "said", scale=scale),)).to_json()

    assert shown in texts_of(render_evidence(Evidence(1, "d", "f", gates={"data": report})))
