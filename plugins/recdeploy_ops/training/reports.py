"""The list for new users, which the stock engine writes only into its HTML report."""

from __future__ import annotations

import csv
import math
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recdeploy_ops.settings import SourceSettings
    from recdeploy_ops.training.inputs import Inputs

HEADING = "Recommendations for new users"
# The user id for which the operator asks its model for that list.
NEW_USER = "__new_user__"


def write_new_users(
    report_file: Path,
    target: Path,
    inputs: Inputs,
    source: SourceSettings,
    top_k: int,
    report: Callable[[str], None],
) -> None:
    """Write the list for new users as CSV (item and score, best first), or report why there is none.

    The operator's report rounds scores to two decimals and drops space around ids, so an id counts only if it matches
    exactly one item of the catalogue.

    Args:
        report_file: the operator's ``report.html``.
        target: the CSV file; its columns are named like the item and rating columns of the settings.
        inputs: the catalogue.
        source: the settings' column names.
        top_k: the most rows that the list can have.
        report: called with the outcome.
    """
    header = [source.user_column, source.item_column, source.rating_column]
    rows = read_new_users(report_file.read_text(encoding="utf-8"), header)
    known = _Catalogue(inputs.items.to_pylist())
    items = [known.find(row[1]) for row in rows]
    scores = [_number(row[2]) for row in rows]
    if not rows:
        report(f"{report_file.name} has no table {HEADING!r}: new users get the most popular items.")
    elif NEW_USER in set(inputs.users.to_pylist()):
        report(f"A user has the id {NEW_USER!r}: the report has that user's list instead of the one for new users.")
    elif len(rows) > top_k or None in items or len(set(items)) < len(items) or None in scores:
        report(f"The table {HEADING!r} in {report_file.name} has unexpected content; it is not used.")
    else:
        with target.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(header[1:])
            writer.writerows((item, row[2]) for item, row in zip(items, rows, strict=True))
        report(f"Read {len(rows)} recommendations for new users from {report_file.name}.")


def read_new_users(html: str, header: list[str]) -> list[tuple[str, str, str]]:
    """Return the rows (user, item, score) of the table under the heading; none without that table.

    Args:
        html: the whole report.
        header: names of its three columns.
    """
    parser = _TableBelowHeading()
    parser.feed(html)
    parser.close()
    width = len(header)
    if not parser.rows or parser.rows[0] != [" ".join(name.split()) for name in header]:
        return []
    body = parser.rows[1:]
    if any(len(row) != width or row[0] != NEW_USER for row in body):
        return []
    return [(row[0], row[1], row[2]) for row in body]


class _TableBelowHeading(HTMLParser):
    """Collects the cells of the first table that follows the heading, as text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self._heading: list[str] | None = None
        self._cell: list[str] | None = None
        self._state = "before"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - HTMLParser's
        if self._state == "before" and tag == "h2":
            self._heading = []
        elif self._state == "below" and tag == "table":
            self._state = "inside"
        elif self._state == "inside" and tag == "tr":
            self.rows.append([])
        elif self._state == "inside" and tag in {"th", "td"}:
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "h2" and self._heading is not None:
            self._state = "below" if "".join(self._heading).strip() == HEADING else "before"
            self._heading = None
        elif tag == "table" and self._state == "inside":
            self._state = "after"
        elif tag in {"th", "td"} and self._cell is not None and self.rows:
            self.rows[-1].append("".join(self._cell).strip())
            self._cell = None

    def handle_data(self, data: str) -> None:
        for open_text in (self._heading, self._cell):
            if open_text is not None:
                open_text.append(data)


class _Catalogue:
    """Items by their id, with space normalised as in HTML."""

    def __init__(self, items: list[str]) -> None:
        self._by_words: dict[str, str | None] = {}
        for item in items:
            words = " ".join(item.split())
            self._by_words[words] = None if words in self._by_words else item

    def find(self, text: str) -> str | None:
        """Return the only item that a cell can mean, or None."""
        return self._by_words.get(" ".join(text.split()))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
