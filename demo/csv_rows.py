"""The rows of a CSV file: its encoding, its separator and its quotes, in bounded memory."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from demo.errors import DemoError
from recdeploy_ops.domain.texts import MARKS

if TYPE_CHECKING:
    import _csv
    from collections.abc import Iterator
    from pathlib import Path

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a pipe"}
ANY_SEPARATOR = "a comma, a semicolon, a tab or a pipe"

# Characters of a row. A quote that is never closed must not take all memory.
LONGEST_ROW = 2**24

# What Excel reads, and some programs write, above the header.
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
QUOTED = re.compile(r'"[^"]*(?:"|$)')
# A quote inside a value, as MySQL writes it: after an odd number of backslashes.
ESCAPED_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')


class Lines:
    """The lines of an open file, an iterator that remembers those of the present row.

    It raises DemoError where the file has another encoding, and ``csv.Error`` where the row is too long.

    Attributes:
        path: for messages.
        number: of the last line that was returned, from 1.
        first: number of the present row's first line.
    """

    def __init__(self, path: Path, stream: io.TextIOWrapper, encoding: str) -> None:
        self.path = path
        self.number = 0
        self.first = 1
        self._stream = stream
        self._encoding = encoding
        self._row: list[str] = []
        self._size = 0
        self._again: deque[str] = deque()
        self._escaped = False

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self._row.append(line)
        self._size += len(line)
        if self._size > LONGEST_ROW:
            raise csv.Error(f"more than {LONGEST_ROW:,} characters in a row")
        return ESCAPED_QUOTE.sub(r'\1""', line) if self._escaped else line

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self._row, self._size, self._escaped = [], 0, False
        self.first = self.number + 1

    def repeat_row(self, *, escaped: bool = False) -> None:
        r"""Return the lines of the present row again; ``escaped`` doubles the quotes that follow a backslash."""
        self._again.extendleft(reversed(self._row))
        self.number -= len(self._row)
        self.begin_row()
        self._escaped = escaped

    def has_escaped_quotes(self) -> bool:
        """Say whether a quote in the present row follows a backslash."""
        return any(ESCAPED_QUOTE.search(line) for line in self._row)

    def _read(self) -> str:
        try:
            return self._stream.readline(LONGEST_ROW + 1)
        except UnicodeDecodeError as err:
            before = err.object[: err.start].decode(self._encoding)
            # What was decoded and not returned yet has no line's end, or it would have been returned.
            line = self.number + 1 + (before.count("\n") or before.count("\r"))
            raise DemoError(
                f"{self.path}, line {line} has the byte 0x{err.object[err.start]:02x}, which is not "
                f"{self._encoding.upper()}: save the file as UTF-8"
            ) from err


@contextmanager
def open_lines(path: Path) -> Iterator[Lines]:
    """Open a file of UTF-8, or of the encoding that its byte order mark names.

    While it is open, a value of CSV may be as long as a row.
    """
    limit = csv.field_size_limit(LONGEST_ROW)
    try:
        with path.open("rb") as content:
            start = content.read(max(len(mark) for mark, _ in MARKS))
            mark, encoding = next((known for known in MARKS if start.startswith(known[0])), (b"", "utf-8"))
            content.seek(len(mark))
            with io.TextIOWrapper(content, encoding=encoding, newline="") as stream:
                yield Lines(path, stream, encoding)
    finally:
        csv.field_size_limit(limit)


def recognise_separator(lines: Lines) -> str:
    """Return the separator that ``sep=`` in the first line names, else the one that gives the header most columns.

    The next line is then the header. A comma wins where others give as many columns.

    Raises:
        DemoError: the first line names another separator, or is not text.
    """
    lines.begin_row()
    try:
        first = next(lines, "")
    except csv.Error as err:
        raise DemoError(f"{lines.path}, line 1: this is not CSV ({err}).") from err
    if "\0" in first:
        raise DemoError(f"{lines.path}, line 1 has the byte 0x00, which is not text: save the file as UTF-8")
    declared = SEPARATOR_LINE.fullmatch(first)
    if declared is None:
        lines.repeat_row()
        return max(SEPARATORS, key=QUOTED.sub("", first).count)
    if declared[1] not in SEPARATORS:
        raise DemoError(
            f"{lines.path}, line 1: {first.strip()!r} names a separator that is not known. "
            f"Separate the columns with {ANY_SEPARATOR}."
        )
    return declared[1]


def read_rows(lines: Lines, separator: str) -> Iterator[tuple[int, list[str]]]:
    r"""Return the rows, each with the number of its last line.

    A quote inside a value is doubled. A row that cannot be read so may have a backslash before it (``"Say \"Hi\""``).

    Raises:
        DemoError: a row is neither, is too long, or has another encoding.
    """
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while (row := _read_row(lines, reader, separator)) is not None:
        yield lines.number, row


def _read_row(lines: Lines, reader: _csv.Reader, separator: str) -> list[str] | None:
    lines.begin_row()
    try:
        return next(reader, None)
    except csv.Error as err:
        if not lines.has_escaped_quotes():
            raise _not_csv(lines, separator, err) from err
    lines.repeat_row(escaped=True)
    try:
        return next(reader, None)
    except csv.Error as err:
        raise _not_csv(lines, separator, err) from err


def _not_csv(lines: Lines, separator: str, err: csv.Error) -> DemoError:
    return DemoError(
        f"{lines.path}, line {lines.first}: this is not CSV separated by {SEPARATORS[separator]} ({err}). "
        "Close each quote, and double those inside a value."
    )
