"""ListObjects: the object names of a bucket in order, grouped into prefixes at a delimiter."""

import json
import sqlite3
from collections.abc import Iterator, Mapping

from oci_emulator.errors import InvalidParameterError
from oci_emulator.listings import page_limit
from oci_emulator.store import Json

MAX_LIMIT = 1000
_FIELDS = {"size", "etag", "timecreated", "md5", "timemodified", "storagetier", "archivalstate", "name"}
_SHOWN = ("size", "md5", "timeCreated", "timeModified", "etag", "storageTier")
# Sorts after every other character.
_LAST = "\U0010ffff"


def list_page(connection: sqlite3.Connection, bucket: str, query: Mapping[str, str]) -> Json:
    """Return one page: `objects`, `prefixes`, and `nextStartWith` if there are more."""
    limit = page_limit(query, MAX_LIMIT, MAX_LIMIT)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    if delimiter not in ("", "/"):
        raise InvalidParameterError(f"delimiter is {delimiter!r}; only '/' is supported.")
    fields = _fields(query)
    objects: list[Json] = []
    prefixes: list[str] = []
    following = None
    for name, body in _entries(connection, bucket, query, prefix, delimiter):
        if len(objects) + len(prefixes) == limit:
            following = name
            break
        if body is None:
            prefixes.append(name)
        else:
            objects.append({"name": name, **{field: body.get(field) for field in fields}})
    return {"objects": objects, "prefixes": prefixes, "nextStartWith": following}


def _fields(query: Mapping[str, str]) -> list[str]:
    wanted = [field.strip().lower() for field in query.get("fields", "name").split(",")]
    if unknown := [field for field in wanted if field not in _FIELDS]:
        raise InvalidParameterError(f"fields has {unknown[0]!r}, which an object does not have.")
    return [field for field in _SHOWN if field.lower() in wanted]


def _entries(
    connection: sqlite3.Connection, bucket: str, query: Mapping[str, str], prefix: str, delimiter: str
) -> Iterator[tuple[str, Json | None]]:
    """Yield names in the order of their UTF-8 bytes: an object with its description, a prefix with None."""
    start, after = max(query.get("start", ""), prefix), query.get("startAfter")
    end = query.get("end")
    while row := _next(connection, bucket, start, after):
        name, body = row[0], {**json.loads(row[1]), "storageTier": "Standard"}
        if not name.startswith(prefix) or (end is not None and name >= end):
            return
        start, after = name, name
        child, separator, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
        if not separator:
            yield name, body
            continue
        folder = prefix + child + delimiter
        if not _was_listed(folder, query):
            yield folder, None
        start = after = folder + _LAST


def _was_listed(folder: str, query: Mapping[str, str]) -> bool:
    """Return whether the page before ended with this prefix, as `startAfter` says."""
    return query.get("startAfter", "") == folder


def _next(connection: sqlite3.Connection, bucket: str, start: str, after: str | None) -> tuple[str, str] | None:
    row: tuple[str, str] | None = connection.execute(
        "SELECT name, body FROM objects WHERE bucket = ? AND name >= ? AND name > ? ORDER BY name LIMIT 1",
        (bucket, start, after if after is not None else ""),
    ).fetchone()
    return row
