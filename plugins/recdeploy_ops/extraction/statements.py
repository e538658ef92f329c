"""The user's queries as text: their bind variables, and how they are wrapped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recdeploy_ops.domain.errors import SourceDataError
from recdeploy_ops.domain.texts import decode_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Text in which a colon or a semicolon has no meaning (also Oracle's q'[...]' and PostgreSQL's E'it\\'s' and $$...$$),
# bind variables, other colons such as that of tags[lo:hi], the end.
TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?\*/ )
  | (?P<literal> \bn?q'(?: \[.*?\] | \{.*?\} | \(.*?\) | <.*?> | (?P<quote>[^\s\[{(<]).*?(?P=quote) )'
      | \be'(?:[^'\\]|\\.|'')*' | (?<![\w$])(?P<tag>\$(?:[a-z_]\w*)?\$).*?(?P=tag)
      | '(?:[^']|'')*' | "(?:[^"]|"")*" | :: )
  | (?<![\w\])]):(?P<variable>[a-z_]\w*)
  | (?P<colon>:)
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
        return f"{self.select(['*'])} WHERE 1 = 0"

    def select(self, columns: Iterable[str]) -> str:
        """Return some columns of this query.

        Args:
            columns: as the database quotes them.
        """
        return f"SELECT {', '.join(f'q.{name}' for name in columns)} FROM (\n{self.text}\n) q"  # noqa: S608 - the user's query

    def distinct(self, column: str) -> str:
        """Return the different values of a column; it is quoted."""
        return f"SELECT DISTINCT {self.select([column]).removeprefix('SELECT ')}"


def read_query(path: Path) -> Query:
    """Read a query file.

    Raises:
        SourceDataError: the file does not exist, is not text, or does not have exactly one query.
    """
    try:
        text = decode_text(path.read_bytes())
    except OSError as err:
        raise SourceDataError(
            f"Cannot read the query file {path}: {err.strerror}. Put the query there, or correct the setting "
            "source.sql_folder."
        ) from err
    except ValueError as err:
        raise SourceDataError(f"{path.name}: {err}.") from err
    end = next((m.start() for m in TOKEN.finditer(text) if m["end"]), len(text))
    if _without_comments(text[end:]).strip("; \t\r\n"):
        raise SourceDataError(f"{path.name} has more than one statement: leave only the query before the ';'.")
    if not _without_comments(text[:end]).strip():
        raise SourceDataError(f"{path.name} has no query: write the SELECT there.")
    names = frozenset(m["variable"] for m in TOKEN.finditer(text[:end]) if m["variable"])
    return Query(path.name, text[:end].rstrip(), names)


def escape_colons(sql: str) -> str:
    r"""Return the statement for ``sqlalchemy.text``, which would mistake ``':x'`` in a literal for a bind variable.

    Colons that do not begin a bind variable become ``\:``, which it turns back.
    """
    return "".join(_escaped(sql))


def _escaped(sql: str) -> Iterator[str]:
    done = 0
    for match in TOKEN.finditer(sql):
        yield sql[done : match.start()]
        inert = (match["comment"] or match["literal"] or match["colon"]) and match[0] != "::"
        yield match[0].replace(":", r"\:") if inert else match[0]
        done = match.end()
    yield sql[done:]


def _without_comments(sql: str) -> str:
    return TOKEN.sub(lambda match: "" if match["comment"] else match[0], sql)
