"""The eight numbers that an approver looks at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN = "not measured"
MINUS = "\N{MINUS SIGN}"


def describe_numbers(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return title, value and a note of each number; what was not measured says so.

    Args:
        report: with ``quality``, ``own``, ``champion``, ``twins`` and ``blast_radius``, each of which may be None.
    """
    radius = report["blast_radius"]
    return [_quality(report["quality"]), *(_changes(radius) if radius else _no_changes()), *_spread(report, radius)]


def percent(share: float, digits: int = 1, *, sign: bool = False) -> str:
    """Return a share as text, e.g. ``+1.5 %``, with a real minus sign."""
    return f"{100 * share:{'+' if sign else ''}.{digits}f} %".replace("-", MINUS)


def _number(title: str, value: str, note: str) -> dict[str, str]:
    return {"title": title, "value": value, "note": note}


def _quality(quality: Mapping[str, Any] | None) -> dict[str, str]:
    title = "Ranks held-out interactions"
    if quality is None:
        return _number(title, UNKNOWN, "No backtest was made.")
    if quality["relative"] is None:
        return _number(title, UNKNOWN, "Too few lists had a held-out item.")
    low, high = percent(quality["low"], sign=True), percent(quality["high"], sign=True)
    note = f"Against the champion's recipe; 95 % interval {low} to {high}. {quality['users']:,} users."
    return _number(title, percent(quality["relative"], sign=True), note)


def _changes(radius: Mapping[str, Any]) -> list[dict[str, str]]:
    length = len(radius["kept"]) - 1
    by_chance = radius["lost_by_chance"]
    nothing = radius["kept"][0]
    usual = round(radius["chance"][0] * radius["both"]) if radius["chance"] else None
    chance = "Chance was not measured." if by_chance is None else f"By chance alone {by_chance:.1f}."
    return [
        _number("A list changes by", f"{radius['lost']:.1f} of {length} items", chance),
        _number(
            "Users who lose their list",
            f"{radius['lost_users']:,}",
            f"{radius['new_users']:,} users are new and get one.",
        ),
        _number(
            "Users who keep nothing",
            f"{nothing:,} of {radius['both']:,}",
            "Chance was not measured." if usual is None else f"By chance alone {usual:,}.",
        ),
    ]


def _no_changes() -> list[dict[str, str]]:
    titles = ("A list changes by", "Users who lose their list", "Users who keep nothing")
    return [_number(title, UNKNOWN, "The champion's lists were not compared.") for title in titles]


def _spread(report: Mapping[str, Any], radius: Mapping[str, Any] | None) -> list[dict[str, str]]:
    own, champion = report["own"], report["champion"]
    titles = ("The top item is seen by", "Different items in lists", "New items in lists", "Users with the same list")
    if own is None:
        return [_number(title, UNKNOWN, "The lists were not measured.") for title in titles]
    before = champion["concentration"] if champion else None
    fresh = (
        _number(
            titles[2],
            f"{radius['new_item_places']:,} of {radius['places']:,} places",
            f"{radius['new_items']:,} items are new in the catalogue.",
        )
        if radius
        else _number(titles[2], UNKNOWN, "The champion's catalogue was not compared.")
    )
    return [
        _number(
            titles[0],
            f"{percent(own['top_share'], 0)} of users",
            f"Champion's: {percent(before['top_share'], 0)}." if before else "Champion's: not measured.",
        ),
        _number(
            titles[1],
            f"{own['distinct_items']:,}",
            f"Champion's: {before['distinct_items']:,}." if before else "Champion's: not measured.",
        ),
        fresh,
        _number(
            titles[3],
            percent(own["shared"]),
            f"Champion's: {percent(before['shared'])}." if before else "Champion's: not measured.",
        ),
    ]
