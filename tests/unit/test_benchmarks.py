"""What docs/performance.md says is what was measured."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

from benchmarks import reports, results


def test_the_tables_of_the_page_are_those_of_the_figures() -> None:
    page = results.PAGE.read_text(encoding="utf-8")
    figures = json.loads(results.RESULTS.read_text(encoding="utf-8"))

    assert set(re.findall(r"<!-- figures: (\w+) -->", page)) == set(reports.TABLES)
    assert reports.fill(page, figures) == page


def test_the_picture_of_the_page_is_there() -> None:
    assert results.CHART.relative_to(results.PAGE.parent).as_posix() in results.PAGE.read_text(encoding="utf-8")
    assert ET.parse(results.CHART).getroot().tag.endswith("svg")  # noqa: S314 - our own
