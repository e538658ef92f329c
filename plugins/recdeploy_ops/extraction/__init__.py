"""Extraction of the source database to Parquet: streamed in Arrow batches, ids as text, equal bytes for equal rows.

Independent of Airflow: ``hooks/sources.py`` makes a `Source` from an Airflow connection.
"""

from recdeploy_ops.extraction.cursors import CursorSource
from recdeploy_ops.extraction.oracle import ArrowSource, set_oracle_session
from recdeploy_ops.extraction.sources import QueryFailedError, Source, SourceUnavailableError, UnreadableValueError
from recdeploy_ops.extraction.tables import extract_tables

__all__ = [
    "ArrowSource",
    "CursorSource",
    "QueryFailedError",
    "Source",
    "SourceUnavailableError",
    "UnreadableValueError",
    "extract_tables",
    "set_oracle_session",
]
