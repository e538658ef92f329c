"""Two versions side by side: only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

ABSENT = "not recorded"

Facts = dict[str, dict[str, str]]  # by section and name, in the order in which they are shown


class Row(TypedDict):
    """A fact that differs."""

    name: str
    one: str
    other: str


class Section(TypedDict):
    """The facts of a section that differ, and how many are equal."""

    title: str
    rows: list[Row]
    equal: int


def compare_facts(one: Mapping[str, Mapping[str, str]], other: Mapping[str, Mapping[str, str]]) -> list[Section]:
    """Return what differs between the facts of two versions, section by section.

    Args:
        one: texts by section and name.
        other: the same of the other version; a fact that only one has is `ABSENT` in the other.
    """
    sections = []
    for title in dict.fromkeys([*one, *other]):
        ours, theirs = one.get(title, {}), other.get(title, {})
        names = list(dict.fromkeys([*ours, *theirs]))
        pairs = {name: (ours.get(name, ABSENT), theirs.get(name, ABSENT)) for name in names}
        rows: list[Row] = [
            {"name": name, "one": mine, "other": yours} for name, (mine, yours) in pairs.items() if mine != yours
        ]
        sections.append(Section(title=title, rows=rows, equal=len(names) - len(rows)))
    return sections


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return nested values as texts by dotted names, e.g. ``training.top_k``."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = "none" if value is None else str(value)
    return flat
