"""Slices of users, as the extract has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from artifacts import SETTINGS

from recdeploy_ops.evaluation.slices import read_slices

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = SETTINGS.source.model_copy(update={"segment_column": "country"})


def test_each_user_has_a_slice_with_a_name_for_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    countries = ["DE", None, "AT", "", "x" * 100]
    pq.write_table(pa.table({SOURCE.user_column: list("abcde"), "country": countries}), path)
    slices = read_slices(path, pa.array(list("edcba")), SOURCE)
    assert slices is not None
    names = [slices.names[code] for code in slices.codes]
    assert names[1:] == ["country is unknown", "country = AT", "country is unknown", "country = DE"]
    assert len(names[0]) <= 60
    more = slices.followed_by("gone", 2)
    assert [more.names[code] for code in more.codes[-3:]] == ["country = DE", "gone", "gone"]


def test_without_a_column_there_are_no_slices(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    pq.write_table(pa.table({SOURCE.user_column: ["a"]}), path)
    assert read_slices(path, pa.array(["a"]), SOURCE) is None
    assert read_slices(path, pa.array(["a"]), SETTINGS.source) is None


def test_numbers_are_slices_too(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    pq.write_table(pa.table({SOURCE.user_column: ["a", "b"], "country": [49, None]}), path)
    slices = read_slices(path, pa.array(["a", "b"]), SOURCE)
    assert slices is not None
    assert slices.names == ("country = 49", "country is unknown")
