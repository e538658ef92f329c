"""Interactions whose user or item is in no table: which side is missing, and whether ids differ only in form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recdeploy_ops.domain.gates.data import MissingIds

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.evaluation.interactions import Codes

LOOKED_AT = 10_000  # of the ids that are missing
# How one id is often written in two ways, and what makes both the same.
FORMS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "blanks at the ends": pc.utf8_trim_whitespace,
    "upper and lower case": pc.utf8_lower,
    "a .0 at the end": lambda ids: pc.replace_substring_regex(ids, r"\.0+$", ""),
    "leading zeros": lambda ids: pc.replace_substring_regex(ids, r"^0+(.)", r"\1"),
}


def find_missing(column: Codes, known: Codes, name: str) -> MissingIds | None:
    """Return what is missing on one side; None if nothing is.

    Args:
        column: the ids of the interactions.
        known: those of the table.
        name: of the table.
    """
    is_missing = ~column.are_in(known)
    if not is_missing.any():
        return None
    used = np.unique(column.codes[is_missing])
    ids = column.ids.take(pa.array(used))
    return MissingIds(name, int(is_missing.sum()), len(used), _find_form(ids[:LOOKED_AT], known.ids))


def _find_form(missing: pa.Array, known: pa.Array) -> tuple[str, str, str] | None:
    """Return the form in which most missing ids differ from a known one, if most do, with an example of both."""
    commonest: tuple[int, tuple[str, str, str]] | None = None
    for form, unify in FORMS.items():
        places = pc.index_in(unify(missing), value_set=unify(known))
        count = len(places) - places.null_count
        if count > len(missing) / 2 and (commonest is None or count > commonest[0]):
            first = int(pc.index(places.is_valid(), True).as_py())
            example = (missing[first].as_py(), known[places[first].as_py()].as_py())
            commonest = (count, (form, *example))
    return commonest[1] if commonest else None
