"""The operator's tables: their sizes, and interactions without a text object for every id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from include.training.memory import Size

if TYPE_CHECKING:
    from collections.abc import Sequence


def size_of(spec: Any, factors: int) -> Size | None:
    """Return the size of a training from the files' metadata; None if they are not local Parquet files.

    Args:
        spec: the operator's.
        factors: per user and per item.
    """
    sources = (spec.interactions_data, spec.user_data, spec.item_data)
    if not all(map(_is_local_parquet, sources)):
        return None
    interactions, users, items = (pq.read_metadata(source.url).num_rows for source in sources)
    return Size(interactions, users, items, factors, spec.top_k)


def preload_interactions(spec: Any) -> None:
    """Read the interactions for ADS, with ids as categories, and put them where ADS takes data from memory.

    ADS would create a text object for every id of every row, and read columns that it does not use. It still reads
    files other than local Parquet itself.
    """
    source = spec.interactions_data
    if _is_local_parquet(source):
        source.data = read_interactions(source.url, [spec.user_column, spec.item_column], spec.interaction_column)


def read_interactions(path: str, id_columns: Sequence[str], rating_column: str) -> pd.DataFrame:
    """Return a row per rating; the categories of ids are in order of first appearance.

    Args:
        path: a Parquet file.
        id_columns: become categorical, as they are in the file; the text of 50 million ids would take 2 GB.
        rating_column: numbers.
    """
    columns: dict[str, Any] = {}
    with pq.ParquetFile(path, read_dictionary=list(id_columns)) as file:
        for name in id_columns:
            ids = _joined(file.read(columns=[name]).column(0))
            codes = ids.indices.fill_null(-1) if ids.null_count else ids.indices
            columns[name] = pd.Categorical.from_codes(codes.to_numpy(), ids.dictionary.to_pandas())
        columns[rating_column] = file.read(columns=[rating_column]).column(0).to_numpy()
    return pd.DataFrame(columns, copy=False)


def _joined(ids: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return ids as one array with one dictionary, in order of first appearance."""
    if not pa.types.is_dictionary(ids.type):  # Parquet has dictionaries of text only
        ids = ids.dictionary_encode()
    chunks = ids.unify_dictionaries().chunks
    return pa.concat_arrays(chunks) if chunks else pa.array([], ids.type)


def _is_local_parquet(source: Any) -> bool:
    file = Path(source.url or "")
    return source.format in {None, "parquet"} and file.suffix == ".parquet" and file.is_file()
