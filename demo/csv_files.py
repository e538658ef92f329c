"""CSV files as people save them: streamed, with errors that name file, line, column and remedy."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.errors import DemoError

if TYPE_CHECKING:
    import _csv
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Table:
    """An open CSV file.

    Attributes:
        path: for messages.
        header: names of its columns.
        rows: each with its line number.
    """

    path: Path
    header: list[str]
    rows: Iterator[tuple[int, list[str]]]

    def index(self, column: str, option: str) -> int:
        """Return a column's index; ``option`` is the variable that names another column."""
        if column not in self.header:
            raise DemoError(
                f"{self.path}, line 1: no column {column!r}, only {', '.join(self.header)}. "
                f"Name the right one: make demo DATA={self.path.parent} {option}=column"
            )
        return self.header.index(column)

    def identifier(self, line: int, row: list[str], index: int) -> str:
        """Return an id unchanged."""
        if not row[index]:
            raise self.error(line, index, "is empty: give the row an id, or remove it")
        return row[index]

    def error(self, line: int, index: int, problem: str) -> DemoError:
        """Return an error about one value."""
        return DemoError(f"{self.path}, line {line}, column {self.header[index]!r}: {problem}.")


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """Open a file and read its header.

    Raises:
        DemoError: it is missing or empty, or a name occurs twice; while rows are read: it is not CSV or not UTF-8.
    """
    if not path.is_file():
        raise DemoError(f"{path} is missing. DATA must name a folder with users.csv, items.csv and interactions.csv.")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        lines = _lines(path, csv.reader(stream, strict=True))
        _, header = next(lines, (1, []))
        if not header:
            raise DemoError(f"{path} is empty: its first line must name the columns.")
        twice = [name for number, name in enumerate(header) if name in header[:number]]
        if twice:
            raise DemoError(f"{path}, line 1: the column {twice[0]!r} occurs twice. Rename or remove one of them.")
        yield Table(path, header, _rows(path, header, lines))


def _rows(path: Path, header: list[str], lines: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    for line, row in lines:
        if row and len(row) != len(header):
            raise DemoError(f"{path}, line {line}: {len(row)} values, but the header names {len(header)} columns.")
        if row:
            yield line, row


def _lines(path: Path, reader: _csv.Reader) -> Iterator[tuple[int, list[str]]]:
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as err:
        raise DemoError(f"{path}, line {reader.line_num}: this is not CSV ({err}).") from err
    except UnicodeDecodeError as err:
        raise DemoError(
            f"{path}, after line {reader.line_num}: this is not UTF-8 ({err.reason}). Save the file as UTF-8."
        ) from err
