"""Interactions whose user or item is in no table: the message names the side, and ids that differ only in form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shops
from shops import settings_with

from recdeploy_ops.domain.gates.data import MissingIds, judge_data
from recdeploy_ops.evaluation.extracts import measure_data

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

FACTS = {name: {"null_ids": 0} for name in ("interactions", "users", "items")}


def message_of(folder: Path, interactions: list[tuple[str, str]], users: list[str], items: list[str]) -> str:
    """Return the message of the gate over these ids."""
    rated = [(user, item, float(number)) for number, (user, item) in enumerate(interactions)]
    extract = shops.write_extract(folder, rated, users=users, items=items)
    settings = settings_with()
    facts = measure_data(extract, settings, FACTS)
    now: dt.datetime = pq.read_table(extract / "interactions.parquet").column("ordered_at")[0].as_py()
    [finding] = [f for f in judge_data(facts, settings.gates, now).findings if f.gate == "orphan_ids"]
    return finding.message


@pytest.mark.parametrize(
    ("known", "missing", "form"),
    [
        ("u1", "u1      ", "blanks at the ends"),
        ("u1", "U1", "upper and lower case"),
        ("123", "123.0", "a .0 at the end"),
        ("205616461", "0205616461", "leading zeros"),
        ("0205616461", "205616461", "leading zeros"),
    ],
)
@pytest.mark.parametrize("side", ["users", "items"])
def test_ids_that_differ_only_in_form_are_named_with_the_remedy(
    tmp_path: Path, known: str, missing: str, form: str, side: str
) -> None:
    pairs = [(missing, "p1"), (missing, "p2")] if side == "users" else [("a", missing), ("b", missing)]
    users, items = ([known], ["p1", "p2"]) if side == "users" else (["a", "b"], [known])
    message, word = message_of(tmp_path, pairs, users, items), side.removesuffix("s")
    assert f"{side}.sql lacks 1 of the {word} ids (rows: 2)" in message
    assert f"differ only in {form} from an id there, such as {word} {missing!r} and {known!r}" in message
    assert "let the queries write an id in one way" in message
    assert ("items.sql lacks" if side == "users" else "users.sql lacks") not in message


def test_ids_that_resemble_none_are_counted_on_each_side(tmp_path: Path) -> None:
    message = message_of(
        tmp_path, [("gone", "p1"), ("gone", "p2"), ("u1", "old"), ("u2", "p1")], ["u1", "u2"], ["p1", "p2"]
    )
    assert "3 of 4 rows of interactions" in message
    assert "users.sql lacks 1 of the user ids (rows: 2); items.sql lacks 1 of the item ids (rows: 1)" in message
    assert "let interactions.sql return only those of users.sql and items.sql" in message
    assert "differ" not in message


def test_one_resemblance_among_many_missing_ids_is_no_form(tmp_path: Path) -> None:
    pairs = [(user, "p1") for user in ("U1", "x", "y", "z")]
    assert "only in" not in message_of(tmp_path, pairs, ["u1"], ["p1"])


def test_a_side_describes_itself() -> None:
    assert MissingIds("items", 1_000, 20).describe() == "items.sql lacks 20 of the item ids (rows: 1,000)"


def test_nothing_is_missing(tmp_path: Path) -> None:
    assert message_of(tmp_path, [("u1", "p1")], ["u1"], ["p1"]).startswith("0 of 1 rows")


def test_a_table_that_has_no_ids_resembles_nothing(tmp_path: Path) -> None:
    extract = shops.write_extract(tmp_path, [("u1", "p1", 1.0)], users=["u1"], items=["p1"])
    pq.write_table(pa.table({"user_id": pa.array([], pa.string())}), extract / "users.parquet")
    facts = measure_data(extract, settings_with(), FACTS)
    assert facts.missing == (MissingIds("users", 1, 1),)
