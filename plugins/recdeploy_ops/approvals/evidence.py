"""The evidence that a person reads before answering Promote or Reject, as Markdown for Airflow's UI.

Product names, user ids and messages come from data that anyone may have written. They are shown as plain text: no
Markdown, no HTML, no link, no table cell, no line break, no change of reading direction.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.codec import shorten
from recdeploy_ops.domain.gates.scales import Scale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recdeploy_ops.domain.gates.endpoint import Agreement, ChangeFacts, EndpointFacts, LatencyFacts

LIMIT = 8_000  # bytes of the tables
CUT = "\n_Cut to fit: the whole report is stored beside the run._\n"
ID_LENGTH = 40  # characters shown of an id: a UUID has 36
MESSAGE_LENGTH = 300
SAMPLE_ITEMS = 5
# The worst first; no-break spaces keep a mark and its word together in a narrow column.
MARKS = {"FAIL": "❌\u00a0**FAIL**", "HOLD": "⚠️\u00a0**HOLD**", "PASS": "✅\u00a0PASS"}
UNKNOWN_VERDICT = "❓\u00a0**not judged**"
NOT_MEASURED = "not measured"
# Words that a renderer would turn into links, or that would change the reading direction around them.
TRAPS = re.compile(
    r"://|www\.|@|mailto:|xmpp:|[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]",
    re.IGNORECASE,
)
WORDS = re.compile(r"(\s+)")
SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~>$-])")
RIGHT_TO_LEFT = {"R", "AL", "AN"}


@dataclass(frozen=True)
class Evidence:
    """Everything that the approver sees. Mappings go from our labels to values from data.

    Attributes:
        version: of the candidate.
        digest: of its artifact, which the approval is bound to.
        fingerprint: of the approval: everything that the answer rests on.
        production: what production serves now, in words; None before the first release.
        rehearsed: how the rollback was rehearsed, in words; None if there is nothing to roll back to.
        notices: what to know first, e.g. ``TEST was skipped.``.
        data: e.g. rows, users, items, newest interaction.
        metrics: offline metrics, e.g. RMSE and MAE.
        gates: gate reports as `GateReport.to_json` returns them, by the name of the gate run.
        endpoint: the answers of the test deployment.
        latency: of the test deployment, in turn with production.
        changes: against production.
        samples: lists of some users, best first.
        titles: names of items by id, shown beside the ids.
    """

    version: int
    digest: str
    fingerprint: str
    production: str | None = None
    rehearsed: str | None = None
    notices: Sequence[str] = ()
    data: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    gates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    endpoint: EndpointFacts | None = None
    latency: LatencyFacts | None = None
    changes: ChangeFacts | None = None
    samples: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)


def render_evidence(evidence: Evidence) -> str:
    """Return the approval's body: GitHub-flavoured Markdown of less than 8 kB, most important first."""
    blocks = [
        render_notices(evidence.notices),
        table(("what would be promoted", "value"), _summarise(evidence)),
        _findings(evidence.gates),
        table(("validation of TEST", "result"), _validation(evidence)),
        table(("user", "recommendations, best first"), _samples(evidence)),
    ]
    text = ""
    for lines in blocks:
        for line in lines:
            if len((text + line + CUT).encode()) > LIMIT:
                return text + CUT
            text += line + "\n"
        text += "\n" if lines else ""
    return text


def render_rollback(reason: str, notices: Sequence[str], facts: Mapping[str, object]) -> str:
    """Return the body of the question whether to roll production back, as Markdown.

    Args:
        reason: as the requester gave it.
        notices: what to know first.
        facts: what the answer rests on, by our labels.
    """
    lines = [*render_notices(notices), f"Reason: {escape_text(reason or 'none given')}\n"]
    rows = [(escape_text(name), escape_text(_number(value))) for name, value in facts.items()]
    return "\n".join([*lines, *table(("", "rollback"), rows)]) + "\n"


def render_notices(notices: Sequence[str]) -> list[str]:
    """Return what to know first, as paragraphs of Markdown."""
    return [f"> **Note:** {escape_text(notice)}\n" for notice in notices]


def escape_text(text: str, length: int = MESSAGE_LENGTH) -> str:
    """Return a sentence, which may quote data, as Markdown that shows exactly its characters.

    Words that look like links, or are written from right to left, are shown as isolated code.
    """
    words = WORDS.split(shorten(text, length))
    return "".join(escape_id(word, length) if TRAPS.search(word) else _escape_words(word) for word in words)


def escape_id(text: str, length: int = ID_LENGTH) -> str:
    """Return an id or a name as a code span that shows exactly its characters; a long one loses its middle."""
    shown = shorten(text, length)
    body = "".join(_escape(character) if character in "`|\\" else _visible(character) for character in shown)
    if body.startswith(" ") or body.endswith(" "):
        body = re.sub(r"^ | $", r"\\u0020", body)
    if not body:
        return "_(empty)_"
    isolated = any(unicodedata.bidirectional(character) in RIGHT_TO_LEFT for character in body)
    return f"\u2068`{body}`\u2069" if isolated else f"`{body}`"


def _escape_words(text: str) -> str:
    visible = "".join(map(_visible, text))
    return SPECIAL.sub(r"\\\1", visible.replace("&", "&amp;").replace("<", "&lt;"))


def _visible(character: str) -> str:
    """Return a character, escaped if it is a control character, invisible, or a space other than U+0020."""
    return _escape(character) if unicodedata.category(character)[0] in "CZ" and character != " " else character


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a Markdown table; none without rows. The cells are Markdown already."""
    if not rows:
        return []
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _summarise(evidence: Evidence) -> list[tuple[str, str]]:
    production = "nothing: this is the first release" if evidence.production is None else evidence.production
    return [
        ("version", f"**{evidence.version}**"),
        ("digest", escape_id(evidence.digest, 64)),
        ("approval fingerprint", escape_id(evidence.fingerprint, 64)),
        ("production serves", escape_text(production)),
        ("rollback rehearsed", escape_text(evidence.rehearsed or "nothing to roll back to")),
        *((escape_text(name), escape_text(_number(value))) for name, value in evidence.data.items()),
        *((escape_text(name), escape_text(_number(value))) for name, value in evidence.metrics.items()),
    ]


def _findings(gates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table of findings that did not pass, the worst first; of the others only the number.

    Findings with the same message, e.g. because nothing could be measured, share a row.
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    passed = 0
    for name, report in gates.items():
        for finding in report["findings"]:
            if finding["verdict"] == "PASS":
                passed += 1
            else:
                shown = (
                    str(finding["verdict"]),
                    escape_text(_measure(finding), 40),
                    escape_text(str(finding["threshold"]), 60),
                    escape_text(str(finding["message"])),
                )
                rows.setdefault(shown, []).append(f"{name}: {finding['gate']}")
    order = list(MARKS)
    ranked = sorted(rows.items(), key=lambda row: order.index(row[0][0]) if row[0][0] in order else -1)
    lines = [
        (MARKS.get(verdict, UNKNOWN_VERDICT), ", ".join(escape_text(name, 80) for name in names), *shown)
        for (verdict, *shown), names in ranked
    ]
    count = [f"\n{MARKS['PASS']}: {passed} checks; the report lists them.\n"] if passed else []
    return [*table(("verdict", "gate", "value", "needs", "what was seen"), lines), *count]


def _validation(evidence: Evidence) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if evidence.endpoint is not None:
        facts = evidence.endpoint
        rows += [
            ("known users, agreement with recommendations.csv", _agreement(facts.known)),
            ("unknown users, the list for new users", _agreement(facts.unknown)),
            ("malformed input, an error object", _agreement(facts.malformed)),
            ("server errors", str(facts.server_errors)),
            ("served", escape_text(" and ".join(facts.served) or "no release that the answers name")),
        ]
    if evidence.latency is not None:
        latency = evidence.latency
        rows.append(("latency of TEST, p50 / p95", _latency(latency.test_p50, latency.test_p95)))
        production = _latency(latency.production_p50, latency.production_p95)
        rows.append(("latency of production in turn", production if latency.production_asked else "no production yet"))
    if evidence.changes is not None:
        changes = evidence.changes
        share = NOT_MEASURED if changes.jaccard is None else f"{changes.jaccard:.2f}"
        rows.append(("lists that would change", f"{changes.changed} of {changes.users}, mean Jaccard {share}"))
    return rows


def _samples(evidence: Evidence) -> list[tuple[str, str]]:
    return [
        (escape_id(user), ", ".join(_item(evidence, *entry) for entry in ranking[:SAMPLE_ITEMS]) or "_(none)_")
        for user, ranking in evidence.samples.items()
    ]


def _item(evidence: Evidence, item: str, rating: float) -> str:
    title = evidence.titles.get(item)
    name = escape_id(item) if title is None else f"{escape_id(item)} {escape_id(title)}"
    return f"{name} {rating:.2f}"


def _agreement(agreement: Agreement) -> str:
    mark = MARKS["PASS" if agreement.asked and agreement.agreed == agreement.asked else "FAIL"]
    return f"{mark} {agreement.agreed} of {agreement.asked}"


def _latency(p50: float | None, p95: float | None) -> str:
    return " / ".join(NOT_MEASURED if value is None else f"{value * 1000:.1f} ms" for value in (p50, p95))


def _number(value: object) -> str:
    if value is None:
        return NOT_MEASURED
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _measure(finding: Mapping[str, Any]) -> str:
    """Return a finding's value in the unit of its threshold."""
    value = finding["value"]
    return Scale(finding.get("scale", Scale.NUMBER)).show(value) if isinstance(value, int | float) else _number(value)
