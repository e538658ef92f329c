"""A report as one HTML page: no script, no network, every name escaped, charts as inline SVG."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.gates.scales import Scale
from recdeploy_ops.evaluation.report_numbers import MINUS, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Template

TEMPLATE = "page.html.j2"
# What a browser may do with the page, also when it is opened as a file.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
# The places of charts of rows are shares of their width in percent: from LEFT to RIGHT, as labels stand around them.
LEFT, RIGHT = 5.0, 95.0
# The forest chart: relative differences from the left edge to the right one.
WORST, BEST = -0.3, 0.3
# The chart of items kept: bars of a pair, in the units of its view box.
BAR, PAIR, TALLEST = 17, 42, 170
# Steps between the four lines of the chart of reach, as shares of users.
STEPS = (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25)
SHORT = 28  # characters of a title in the text of a chart


def render_page(report: Mapping[str, Any]) -> str:
    """Return a report as HTML; equal reports give equal pages.

    Args:
        report: as `build_report` returns it.
    """
    radius = report["blast_radius"]
    return _template().render(
        report=report,
        policy=POLICY,
        forest=_forest(report["quality"]) if report["quality"] else [],
        margin_at=_place(-report["margin"]),
        ticks=[(_place(n / 10), percent(n / 10, 0, sign=True) if n else "no change") for n in range(-3, 4)],
        zero=_place(0.0),
        bars=_bars(radius) if radius else [],
        movers=_movers(radius) if radius else {"rows": [], "ticks": []},
        opened=[finding for finding in report["findings"] if finding["verdict"] != "PASS"],
    )


def clean(text: object) -> str:
    """Return a text without control, format and private characters: a direction mark could turn a line around."""
    shown = str(text)
    if shown.isprintable():  # as nearly every text is: looking up each character takes most of the page's time
        return shown
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn"} else char
        for char in shown
    )


def shorten_title(text: object) -> str:
    """Return a title for the text of a chart."""
    shown = clean(text)
    return shown if len(shown) <= SHORT else f"{shown[: SHORT - 1]}…"


def show_moment(text: object) -> str:
    """Return a time to the minute, e.g. ``2026-11-29 13:54 UTC``; a text that is not a time in UTC as it is."""
    shown = clean(text)
    try:
        moment = datetime.fromisoformat(shown)
    except ValueError:
        return shown
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment.utcoffset() == timedelta(0) else shown


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("recdeploy_ops", "evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clean": clean,
        "short": shorten_title,
        "moment": show_moment,
        "measured": _show_value,
        "span": _show_interval,
        "percent": percent,
    }
    return environment.get_template(TEMPLATE)


def _show_value(finding: Mapping[str, Any]) -> str:
    value = finding["value"]
    if not isinstance(value, int | float):
        return "not measured" if value is None else clean(value)
    return _show_number(finding, value)


def _show_interval(finding: Mapping[str, Any]) -> str:
    return " to ".join(_show_number(finding, end) for end in finding.get("interval") or ())


def _show_number(finding: Mapping[str, Any], number: float) -> str:
    return Scale(finding.get("scale", Scale.NUMBER)).show(number).replace("-", MINUS)


def _place(relative: float) -> float:
    """Return where a relative difference stands in the forest chart; outside its range, at its edge."""
    inside = min(max(relative, WORST), BEST)
    return round(LEFT + (inside - WORST) / (BEST - WORST) * (RIGHT - LEFT), 2)


def _forest(quality: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the forest chart; only the first one decides."""
    baselines = (("Most popular items for all", "popularity"), ("Random items", "random"))
    rows = [
        (f"NDCG@{quality['depth']}, all users", quality["relative"], quality["low"], quality["high"], True),
        ("NDCG@10, all users", *quality["at_10"], False),
    ]
    if quality["champion"]:
        for name, key in baselines:
            relative = quality[key] / quality["champion"] - 1
            rows.append((name, relative, relative, relative, False))
    return [
        {
            "name": name,
            "shown": percent(value, sign=True),
            "x": _place(value),
            "low": _place(low),
            "high": _place(high),
            "is_outside": not WORST <= value <= BEST,
            "decides": decides,
        }
        for name, value, low, high, decides in rows
        if None not in {value, low, high}
    ]


def _bars(radius: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pairs of bars: users by the number of items that they keep, and the same by chance."""
    both, chance = radius["both"] or 1, radius["chance"] or [0.0] * len(radius["kept"])
    shares = [count / both for count in radius["kept"]]
    tallest = max(*shares, *chance, 1e-9)
    return [
        {
            "kept": kept,
            "x": 10 + PAIR * kept,
            "now": round(TALLEST * share / tallest, 1),
            "usual": round(TALLEST * usual / tallest, 1),
            "share": percent(share, 0),
            "chance": percent(usual, 0),
        }
        for kept, (share, usual) in enumerate(zip(shares, chance, strict=True))
    ]


def _movers(radius: Mapping[str, Any]) -> dict[str, Any]:
    """Return the items whose reach changes most, as places in a chart of shares of users."""
    users = max(radius["both"] + radius["new_users"], 1)
    users_before = max(radius["both"] + radius["lost_users"], 1)
    shares = [
        {
            "champion": reach["champion"] / users_before,
            "candidate": reach["candidate"] / users,
            "twins": [count / users for count in reach["twins"]],
        }
        for reach in radius["movers"]
    ]
    largest = max(
        [share for row in shares for share in (row["champion"], row["candidate"], *row["twins"])], default=0.0
    )
    step = next((step for step in STEPS if 4 * step >= largest), STEPS[-1])

    def place(share: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * share / (4 * step), 2)

    rows = [
        {
            "title": radius["titles"].get(reach["item"], reach["item"]),
            "champion": place(row["champion"]),
            "candidate": place(row["candidate"]),
            "least": place(min([row["candidate"], *row["twins"]])),
            "most": place(max([row["candidate"], *row["twins"]])),
            "shown": f"{percent(row['champion'], 0)} to {percent(row['candidate'], 0)}",
        }
        for reach, row in zip(radius["movers"], shares, strict=True)
    ]
    return {
        "rows": rows,
        "ticks": [(place(step * n), percent(step * n, 0 if step >= STEPS[2] else 2)) for n in range(5)],
    }
