"""Measure extraction against the raw cursor and against ``pandas.read_sql``, on PostgreSQL, in one run.

    python -m benchmarks.extraction --rows 1000000

Starts a PostgreSQL server in a temporary folder (Debian: apt-get install postgresql). Each part runs in a separate
process, to measure its peak memory. The Arrow route uses python-oracledb's ``fetch_df_batches`` in production, and
ADBC's PostgreSQL driver here: both return Arrow record batches.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.postgres import server
from benchmarks.processes import peak_mb, run_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BATCH_ROWS = 50_000
READ_SQL_ROWS = 1_000_000  # pandas holds all of them in memory: more would need gigabytes
STATEMENT = "SELECT user_id, product_id, rating, ordered_at FROM interactions"
ORDERED = f"{STATEMENT} ORDER BY 1, 2, 3, 4"
# The rows are stored in key order and indexed, so that the server's sorting is not measured.
TABLE = """
CREATE TABLE interactions AS
SELECT md5((n / 10)::text)::uuid::text COLLATE "C" AS user_id, 'product-' || lpad((n % 97)::text, 8, '0') AS product_id,
       (1 + n % 5)::double precision AS rating, timestamp '2026-01-01' + n * interval '1 second' AS ordered_at
FROM generate_series(1, {rows}) AS n ORDER BY 1, 2, 3, 4;
CREATE INDEX ON interactions (user_id, product_id, rating, ordered_at);
ALTER ROLE shop SET enable_sort = off;
VACUUM ANALYZE interactions;
"""


def measure(rows: int) -> dict[str, Any]:
    """Return rows per second and peak memory (MB) of each route, and their ratios to the raw cursor.

    Args:
        rows: number of rows in the table.
    """
    with (
        tempfile.TemporaryDirectory(prefix="recdeploy-bench-") as name,
        server(Path(name), TABLE.format(rows=rows)) as url,
    ):
        figures: dict[str, Any] = {part: run_part(__file__, part, url) for part in PARTS}
    raw = figures["raw cursor"]["rows_per_second"]
    for part in PARTS:
        figures[part]["of_raw_cursor"] = round(figures[part]["rows_per_second"] / raw, 2)
    return {"rows": rows, "batch_rows": BATCH_ROWS, **figures}


def measure_raw_cursor(url: str) -> dict[str, Any]:
    """Fetch all rows with psycopg2's server-side cursor, and discard them."""
    import psycopg2

    with psycopg2.connect(url) as connection, connection.cursor("raw") as cursor:
        cursor.itersize = BATCH_ROWS
        cursor.execute(ORDERED)
        return _rate(lambda: sum(map(len, iter(lambda: cursor.fetchmany(BATCH_ROWS), []))))


def measure_row_route(url: str) -> dict[str, Any]:
    """Extract to Parquet with a streaming cursor, as from any database but Oracle."""
    from sqlalchemy import create_engine

    from recdeploy_ops.extraction import CursorSource

    return _extract(CursorSource(lambda: create_engine(url.replace("://", "+psycopg2://")), "PostgreSQL"))


def measure_arrow_route(url: str) -> dict[str, Any]:
    """Extract to Parquet by Arrow record batches, as from Oracle."""
    from adbc_driver_manager import Error

    from recdeploy_ops.extraction import ArrowSource

    return _extract(ArrowSource(lambda: _ArrowConnection(url), "PostgreSQL", errors=(Error,)))


def measure_read_sql(url: str) -> dict[str, Any]:
    """Read a million rows with ``pandas.read_sql`` and write them as CSV, as the guide does."""
    import pandas as pd
    from sqlalchemy import create_engine

    statement = f"{ORDERED} LIMIT {READ_SQL_ROWS}"

    def read() -> int:
        frame = pd.read_sql(statement, create_engine(url.replace("://", "+psycopg2://")))
        with tempfile.TemporaryDirectory() as name:
            frame.to_csv(Path(name, "interactions.csv"), index=False)
        return len(frame)

    return _rate(read)


class _ArrowConnection:
    """An ADBC connection with the interface of python-oracledb; without ADBC's DB-API, which imports pandas."""

    def __init__(self, url: str) -> None:
        import adbc_driver_manager as adbc
        import adbc_driver_postgresql

        self._open = ExitStack()
        database = self._open.enter_context(adbc_driver_postgresql.connect(url))
        connection = self._open.enter_context(adbc.AdbcConnection(database))
        self._statement = self._open.enter_context(adbc.AdbcStatement(connection))

    def cursor(self) -> _ArrowCursor:
        """Return a cursor that only describes the columns of a query."""
        return _ArrowCursor(self)

    def fetch_df_batches(
        self, sql: str, parameters: Mapping[str, Any], *, size: int = BATCH_ROWS, fetch_decimals: bool = True
    ) -> Iterator[Any]:
        """Yield Arrow record batches; the driver chooses their size."""
        import pyarrow as pa

        del parameters, size, fetch_decimals
        self._statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(4 << 20)})
        self._statement.set_sql_query(sql)
        with pa.RecordBatchReader.from_stream(self._statement.execute_query()[0]) as reader:
            yield reader.schema.empty_table()
            yield from reader

    def close(self) -> None:
        """Close the connection."""
        self._open.close()


class _ArrowCursor:
    """Describes the columns of a query as python-oracledb does: name and type, where no type needs a conversion."""

    def __init__(self, connection: _ArrowConnection) -> None:
        self._connection = connection
        self.description: list[tuple[str, None]] = []

    def execute(self, sql: str, parameters: Mapping[str, Any]) -> None:
        """Run a query and keep the names of its columns."""
        first = next(iter(self._connection.fetch_df_batches(sql, parameters)))
        self.description = [(name, None) for name in first.schema.names]

    def close(self) -> None:
        """Leave the connection open."""


def _extract(source: Any) -> dict[str, Any]:
    from recdeploy_ops.extraction import extract_tables
    from recdeploy_ops.settings import load_settings

    settings = load_settings()
    with tempfile.TemporaryDirectory() as name:
        sql, folder = Path(name, "sql"), Path(name, "extract")
        sql.mkdir()
        (sql / "interactions.sql").write_text(STATEMENT, encoding="utf-8")
        for table, column in (("users", "user_id"), ("items", "product_id")):
            (sql / f"{table}.sql").write_text(f"SELECT '1' AS {column}, '1' AS title", encoding="utf-8")
        source_settings = settings.source.model_copy(
            update={"sql_folder": str(sql), "parameters": {}, "batch_rows": BATCH_ROWS}
        )
        settings = settings.model_copy(update={"source": source_settings, "folder": Path(name)})

        lines: list[str] = []

        def extract() -> int:
            return int(extract_tables(source, settings, folder, lines.append)["interactions"]["rows"])

        return {**_rate(extract), "told": [line for line in lines if line.startswith("interactions")]}


def _rate(work: Callable[[], int]) -> dict[str, Any]:
    started, before = time.perf_counter(), time.process_time()
    rows = work()
    seconds = time.perf_counter() - started
    return {
        "rows": rows,
        "rows_per_second": round(rows / seconds),
        "cpu_seconds": round(time.process_time() - before, 2),
        "peak_mb": peak_mb(),
    }


PARTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "raw cursor": measure_raw_cursor,
    "row route": measure_row_route,
    "arrow route": measure_arrow_route,
    "pandas.read_sql": measure_read_sql,
}


def main() -> None:
    """Parse the command line, measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--part", choices=sorted(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--where", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    figures = PARTS[arguments.part](arguments.where) if arguments.part else measure(arguments.rows)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
