"""Ids become categories in the order of first appearance, in any encoding of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.training.tables import read_interactions

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["b", "00420", "b", None, "NaN", "a", "00420", "ユーザー7", "a", "c"]
NUMBERS = [7, 3, 7, 3, -1, 2, 2, 9, 7, 0]


@pytest.mark.parametrize("ids", [TEXTS, NUMBERS, [], [None, None]], ids=["text", "numbers", "none", "only nulls"])
@pytest.mark.parametrize("row_group", [1, 3, 100])
@pytest.mark.parametrize("dictionaries", [True, False])
def test_categories_are_in_the_order_of_first_appearance(
    tmp_path: Path, ids: list[Any], row_group: int, *, dictionaries: bool
) -> None:
    kind = pa.int64() if ids is NUMBERS else pa.string()
    table = pa.table({"user": pa.array(ids, kind), "item": pa.array(ids[::-1], kind), "rating": [1.5] * len(ids)})
    path = tmp_path / "interactions.parquet"
    pq.write_table(table, path, row_group_size=row_group, use_dictionary=dictionaries)

    read = read_interactions(str(path), ["user", "item"], "rating")

    for column, expected in (("user", ids), ("item", ids[::-1])):
        codes, categories = pd.factorize(pd.Series(expected, dtype=object))
        assert read[column].cat.codes.tolist() == codes.tolist()
        assert read[column].cat.categories.tolist() == list(categories)
    assert read["rating"].tolist() == [1.5] * len(ids)
