"""The beginning of the question: the verdict of the report in words, as Markdown for Airflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.approvals.evidence import MARKS, UNKNOWN_VERDICT, escape_id, escape_text, table

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_REASONS, REASON_LENGTH = 8, 220  # the page has all of them


def render_verdict(report: Mapping[str, Any], link: str) -> str:
    """Return the beginning of the approval's body: the verdict in words, the eight numbers, and where the report is.

    Args:
        report: as `build_report` returns it.
        link: address of its page, or where that is stored.
    """
    opened = [
        finding for finding in report["findings"] if finding["verdict"] != "PASS" and not finding.get("unmeasured")
    ]
    reasons = [
        f"- {MARKS.get(finding['verdict'], UNKNOWN_VERDICT)} {escape_text(finding['gate'], 80)}: "
        f"{escape_text(str(finding['message']), REASON_LENGTH)}"
        for finding in opened[:MOST_REASONS]
    ]
    if len(opened) > MOST_REASONS:
        reasons.append(f"- and {len(opened) - MOST_REASONS} more, in the report")
    numbers = [
        (escape_text(n["title"]), f"**{escape_text(n['value'])}**", escape_text(n["note"])) for n in report["numbers"]
    ]
    address = (
        f"[Open the report]({link})" if link.startswith(("http://", "https://")) else f"Report: {escape_id(link, 300)}"
    )
    return "\n".join(
        [
            f"### {MARKS.get(report['verdict'], UNKNOWN_VERDICT)} {escape_text(report['headline'])}",
            "",
            escape_text(report["lead"]),
            "",
            *reasons,
            "",
            address,
            "",
            *table(("number", "value", ""), numbers),
            "",
            "**Not measured:** "
            + " ".join(
                f"{escape_text(sentence)}"
                for sentence in (report["not_measured"] + report["never_measured"])[:MOST_REASONS]
            ),
        ]
    )
