"""Find and remove a customer's rows in stored files: Parquet, CSV, the recommendation database, and texts."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq

from recdeploy_ops.artifacts.artifact import DATABASE
from recdeploy_ops.artifacts.recommendation_database import SQLITE_VERSION_AT
from recdeploy_ops.artifacts.stored_lists import has_list
from recdeploy_ops.upkeep.customer_texts import CustomerText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK = 1 << 20
TEXTS = frozenset({".json", ".html", ".yaml", ".yml", ".md", ".txt", ".log"})
# Of lists without ids, or of items: nothing in them names a customer.
WITHOUT_USERS = frozenset({".npz", ".npy", ".pkl", ".py"})


@dataclass(frozen=True)
class Customer:
    """Whom to erase, and how their rows are recognised.

    Attributes:
        user: the id, as it is stored.
        columns: names of the columns with users' ids, as they are or once were configured.
    """

    user: str
    columns: frozenset[str]

    @property
    def text(self) -> CustomerText:
        """Return the id as texts spell it."""
        return CustomerText(self.user)


def names_customer(path: Path, customer: Customer) -> bool:
    """Return whether a file has rows of a customer, or names them in a text.

    Raises:
        IntegrityError: a recommendation database is damaged or is not one of this project's.
    """
    return _HANDLERS.get(PurePosixPath(path.name).suffix, _TextFile)(path, customer).names_customer()


def has_bytes_of(path: Path, customer: Customer) -> bool:
    """Return whether a file of any kind has the bytes of the id: one of another manager, such as a pickle."""
    wanted = customer.user.encode("utf-8", "surrogateescape")
    kept = b""
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            if wanted in kept + chunk:
                return True
            kept = chunk[-len(wanted) :]
    return False


def remove_customer(path: Path, customer: Customer) -> int | None:
    """Remove a customer's rows from a file, or the id from a text; other rows keep their order and their bytes.

    Returns:
        The number of rows that are left; None for a text or a database.
    """
    return _HANDLERS.get(PurePosixPath(path.name).suffix, _TextFile)(path, customer).remove()


@dataclass(frozen=True)
class _File:
    path: Path
    customer: Customer

    def names_customer(self) -> bool:
        return False

    def remove(self) -> int | None:
        return None

    def _replace(self, write: Callable[[Path], int]) -> int:
        partial = self.path.with_name(f"{self.path.name}.partial")
        rows = write(partial)
        partial.replace(self.path)
        return rows


class _ParquetFile(_File):
    def names_customer(self) -> bool:
        with pq.ParquetFile(self.path) as source:
            columns = [name for name in source.schema_arrow.names if name in self.customer.columns]
            return any(
                pc.any(pc.equal(column, self.customer.user)).as_py()
                for batch in (source.iter_batches(columns=columns) if columns else ())
                for column in batch.columns
            )

    def remove(self) -> int | None:
        return self._replace(self._write)

    def _write(self, target: Path) -> int:
        rows = 0
        with pq.ParquetFile(self.path) as source:
            schema = source.schema_arrow
            columns = [name for name in schema.names if name in self.customer.columns]
            with pq.ParquetWriter(target, schema, compression="zstd", store_schema=True) as sink:
                for batch in source.iter_batches():
                    for name in columns:
                        is_other = pc.not_equal(batch.column(schema.get_field_index(name)), self.customer.user)
                        batch = batch.filter(pc.fill_null(is_other, True))
                    sink.write_batch(batch)
                    rows += batch.num_rows
        return rows


class _CsvFile(_File):
    def names_customer(self) -> bool:
        return any(is_theirs for _, is_theirs in self._records())

    def remove(self) -> int | None:
        return self._replace(self._write)

    def _write(self, target: Path) -> int:
        rows = -1  # the header
        with target.open("w", encoding="utf-8", newline="") as sink:
            for text, is_theirs in self._records():
                if not is_theirs:
                    sink.write(text)
                    rows += 1
        return rows

    def _records(self) -> Iterator[tuple[str, bool]]:
        """Yield each record as it is written, the header first, and whether it is the customer's."""
        lines: list[str] = []

        def remember(stream: Iterator[str]) -> Iterator[str]:
            for line in stream:
                lines.append(line)
                yield line

        with self.path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(remember(stream))
            header = next(reader, [])
            places = [place for place, name in enumerate(header) if name in self.customer.columns]
            yield "".join(lines), False
            lines.clear()
            for record in reader:
                yield "".join(lines), any(record[place] == self.customer.user for place in places if record)
                lines.clear()


class _DatabaseFile(_File):
    def names_customer(self) -> bool:
        return has_list(self.path, self.customer.user)

    def remove(self) -> int | None:
        self.path.chmod(0o600)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA secure_delete = ON")
            database.execute("DELETE FROM lists WHERE user_id = ?", (self.customer.user,))
            database.execute("VACUUM")  # no free page keeps the former rows
        with self.path.open("r+b") as stream:
            stream.seek(SQLITE_VERSION_AT)
            stream.write(bytes(4))
        return None


class _TextFile(_File):
    """A text; whether it names the customer is whether erasing changes it, so that a second erasing finds nothing."""

    def names_customer(self) -> bool:
        text = self._read()
        return self._erase(text) != text

    def remove(self) -> int | None:
        self.path.write_bytes(self._erase(self._read()).encode("utf-8", "surrogateescape"))
        return None

    def _read(self) -> str:
        return self.path.read_bytes().decode("utf-8", "surrogateescape")

    def _erase(self, text: str) -> str:
        erase = {".json": self.customer.text.erase_json, ".html": self.customer.text.erase_html}
        return erase.get(self.path.suffix, self.customer.text.erase)(text)


_HANDLERS: dict[str, type[_File]] = {
    ".parquet": _ParquetFile,
    ".csv": _CsvFile,
    PurePosixPath(DATABASE).suffix: _DatabaseFile,
    **dict.fromkeys(WITHOUT_USERS, _File),
    **dict.fromkeys(TEXTS, _TextFile),
}
