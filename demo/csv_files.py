"""CSV files as people save them: streamed, with errors that name file, line, column and remedy."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.csv_rows import ANY_SEPARATOR, SEPARATORS, open_lines, read_rows, recognise_separator
from demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_LIST = 500  # characters of the names of columns in a message

# What pandas calls a column without a name when it writes it again.
UNNAMED = re.compile(r"(?:unnamed: \d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """An open CSV file.

    Attributes:
        path: for messages.
        line: number of the header's line.
        header: names of its columns, without blanks around them; empty for a column without a name.
        separator: what separates them.
        rows: each with its line number.
    """

    path: Path
    line: int
    header: list[str]
    separator: str
    rows: Iterator[tuple[int, list[str]]]

    def first_named(self) -> str:
        """Return the name of the first column that has one: pandas writes row numbers without.

        Raises:
            DemoError: no column has a name.
        """
        named = next((name for name in self.header if not UNNAMED.fullmatch(name)), None)
        if named is None:
            raise DemoError(f"{self.path}, line {self.line}: no column has a name. Write the names into this line.")
        return named

    def find(self, column: str, option: str) -> int | None:
        """Return a column's index, or None; upper or lower case does not matter unless both occur.

        Raises:
            DemoError: several columns differ in case only, and none is written so.
        """
        wanted = column.strip()
        if not wanted:
            return None
        if wanted in self.header:
            return self.header.index(wanted)
        alike = [number for number, name in enumerate(self.header) if name.casefold() == wanted.casefold()]
        if len(alike) > 1:
            names = " or ".join(repr(self.header[number]) for number in alike)
            raise DemoError(
                f"{self.path}, line {self.line}: {wanted!r} may be the column {names}. "
                f"Name one of them exactly: {self.command(option)}"
            )
        return alike[0] if alike else None

    def index(self, column: str, option: str, origin: str = "") -> int:
        """Return a column's index.

        Args:
            column: its name.
            option: the variable that names another column.
            origin: where the name is from, for the message.

        Raises:
            DemoError: no column has this name, or several differ in case only.
        """
        number = self.find(column, option)
        if number is not None:
            return number
        where = f"{self.path}, line {self.line}"
        names = ", ".join(self.header)
        names = names if len(names) <= LONGEST_LIST else f"{names[:LONGEST_LIST]} ..."
        if len(self.header) == 1:
            raise DemoError(
                f"{where}: one column only, {names!r}, and not {column!r}{origin}. Separate the columns with "
                f"{ANY_SEPARATOR}, or name the right one: {self.command(option)}"
            )
        separated = "" if self.separator == "," else f" (separated by {SEPARATORS[self.separator]})"
        raise DemoError(
            f"{where}: no column {column!r}{origin}, only {names}{separated}. Name the right one: "
            f"{self.command(option)}"
        )

    def command(self, *options: str) -> str:
        """Return the command that names another column with one of some options."""
        return f"make demo DATA={self.path.parent} {' or '.join(f'{option}=column' for option in options)}"

    def identifier(self, line: int, row: list[str], index: int) -> str:
        """Return an id unchanged.

        Raises:
            DemoError: it is empty.
        """
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
        DemoError: it is missing or empty, or a name occurs twice; here or while rows are read: it is not CSV or
            not text in a known encoding.
    """
    if not path.is_file():
        raise DemoError(f"{path} is missing. DATA must name a folder with users.csv, items.csv and interactions.csv.")
    with open_lines(path) as lines:
        separator = recognise_separator(lines)
        rows = read_rows(lines, separator)
        line, names = next(rows, (1, []))
        if not names:
            raise DemoError(f"{path} is empty: its first line must name the columns.")
        header = [name.strip() for name in names]
        twice = [name for number, name in enumerate(header) if name and name in header[:number]]
        if twice:
            raise DemoError(f"{path}, line {line}: the column {twice[0]!r} occurs twice. Rename or remove one of them.")
        yield Table(path, line, header, separator, _complete_rows(path, header, rows))


def _complete_rows(
    path: Path, header: list[str], rows: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    for line, row in rows:
        if row and len(row) != len(header):
            raise DemoError(f"{path}, line {line}: {len(row)} values, but the header names {len(header)} columns.")
        if row:
            yield line, row
