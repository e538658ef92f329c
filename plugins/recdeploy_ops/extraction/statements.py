"""The user's queries as text: their bind variables, and how they are wrapped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import SourceDataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Text in which a colon or a semicolon has no meaning (also Oracle's q'[...]'), bind variables, the end.
TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?\*/ )
  | (?P<literal> \bn?q'(?: \[.*?\] | \{.*?\} | \(.*?\) | <.*?> | (?P<quote>[^\s\[{(<]).*?(?P=quote) )'
      | '(?:[^']|'')*' | "(?:[^"]|"")*" | :: )
  | :(?P<variable>[a-z_]\w*)
  | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Query:
    """One of the queries in ``include/sql/``.

    Attributes:
        file: the file's name, for messages.
        text: the query, without the semicolon at its end.
        variables: names of the bind variables in it.
    """

    file: str
    text: str
    variables: frozenset[str]

    def without_rows(self) -> str:
        """Return a cheap statement with the columns of this query and no rows."""
        return f"SELECT * FROM (\n{self.text}\n) q WHERE 1 = 0"  # noqa: S608 - the user's own query

    def ordered_by(self, positions: Iterable[int]) -> str:
        """Return this query sorted by columns.

        Args:
            positions: of the columns in the result, from 1; unlike names, they do not depend on the database's rules
                for quotes and upper case.
        """
        return f"SELECT * FROM (\n{self.text}\n) q ORDER BY {', '.join(map(str, positions))}"  # noqa: S608 - as above


def read_query(path: Path) -> Query:
    """Read a query file.

    Raises:
        SourceDataError: the file does not exist, or does not have exactly one query.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise SourceDataError(
            f"Cannot read the query file {path}: {err.strerror}. Put the query there, or correct the setting "
            "source.sql_folder."
        ) from err
    end = next((m.start() for m in TOKEN.finditer(text) if m["end"]), len(text))
    if _without_comments(text[end:]).strip("; \t\r\n"):
        raise SourceDataError(f"{path.name} has more than one statement: leave only the query before the ';'.")
    if not _without_comments(text[:end]).strip():
        raise SourceDataError(f"{path.name} has no query: write the SELECT there.")
    names = frozenset(m["variable"] for m in TOKEN.finditer(text[:end]) if m["variable"])
    return Query(path.name, text[:end].rstrip(), names)


def escape_colons(sql: str) -> str:
    r"""Return the statement for ``sqlalchemy.text``, which would mistake ``':x'`` in a literal for a bind variable.

    Colons in literals, quoted names and comments become ``\:``, which it turns back.
    """
    return "".join(_escaped(sql))


def _escaped(sql: str) -> Iterator[str]:
    done = 0
    for match in TOKEN.finditer(sql):
        yield sql[done : match.start()]
        inert = (match["comment"] or match["literal"]) and match[0] != "::"
        yield match[0].replace(":", r"\:") if inert else match[0]
        done = match.end()
    yield sql[done:]


def _without_comments(sql: str) -> str:
    return TOKEN.sub(lambda match: "" if match["comment"] else match[0], sql)
