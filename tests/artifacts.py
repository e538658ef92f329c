"""Factories for tests of serving: small results of the operator, and artifacts built from them."""

from __future__ import annotations

import csv
import importlib.util
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shops import write_extract

from recdeploy_ops.artifacts.artifact import TEMPLATE, build_artifact
from recdeploy_ops.settings import DEFAULT_PATH, load_settings

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

SETTINGS = load_settings(DEFAULT_PATH)
ITEMS = [f"p{number}" for number in range(6)]
LISTS = {
    "u1": [("p2", 4.5), ("p3", 4.25), ("p4", 1.1)],
    "u2": [("p3", 5.0), ("p2", 3.3333333333333335), ("p5", 3.0)],
    "u3": [("p5", 2.5)],
}
RATED = [
    ("u1", "p0", 4.0),
    ("u1", "p1", 2.0),
    ("u2", "p0", 5.0),
    ("u3", "p0", 3.0),
    *(("u3", item, 1.0) for item in ITEMS[1:5]),
    *(("full", item, 1.0) for item in ITEMS),
]
NEW_USERS = [("p0", 4.9), ("p3", 4.0), ("p5", 3.5)]
# What no database of an artifact of ours has: SQL that makes it. Both readers, score.py and the worker's, refuse each.
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS {}, x AS {} FROM n"
OTHER_SCHEMAS = {
    "an endless view of lists": f"DROP TABLE lists; CREATE VIEW lists AS {ENDLESS.format('user_id', 'positions')}",
    "an endless view of products": (
        f"DROP TABLE products; CREATE VIEW products AS {ENDLESS.format('position', 'product_id')}"
    ),
    "a view of gigabytes": "DROP TABLE lists; CREATE VIEW lists AS SELECT hex(zeroblob(1000000000)) AS user_id",
    "a generated column of lists": (
        "DROP TABLE lists; CREATE TABLE lists (x INTEGER, user_id TEXT AS (hex(zeroblob(x))));"
        "INSERT INTO lists VALUES (1)"
    ),
    "a generated column of products": (
        "DROP TABLE products; CREATE TABLE products (position INTEGER, product_id TEXT AS (hex(zeroblob(position))))"
    ),
    "a virtual table": "DROP TABLE lists; CREATE VIRTUAL TABLE lists USING fts5(user_id)",
    "another table": "CREATE TABLE other (x)",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON products BEGIN SELECT 1; END",
    "an index": "CREATE INDEX i ON products (product_id)",
    "a view besides": "CREATE VIEW other AS SELECT 1",
    "no lists": "DROP TABLE lists",
    "no tables": "DROP TABLE lists; DROP TABLE products",
}


def write_results(
    folder: Path,
    lists: Mapping[str, Sequence[tuple[str, float | str]]] = LISTS,
    new_users: Sequence[tuple[str, float | str]] | None = NEW_USERS,
) -> Path:
    """Write ``recommendations.csv`` and, unless ``new_users`` is None, ``new_users.csv``, as the operator does."""
    rows = [(user, item, rating) for user, ranking in lists.items() for item, rating in ranking]
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "recommendations.csv", ("user_id", "product_id", "rating"), rows)
    if new_users is not None:
        _write_csv(folder / "new_users.csv", ("product_id", "rating"), new_users)
    return folder


def _write_csv(file: Path, header: tuple[str, ...], rows: Sequence[Any]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def write_inputs(folder: Path, **results: Any) -> tuple[Path, Path]:
    """Write results and the extract that they belong to: three users with lists, one who has rated everything."""
    extract = write_extract(folder / "extract", RATED, items=ITEMS)
    return write_results(folder / "results", **results), extract


def make_artifact(folder: Path, *, version: int = 7, top_k: int = 3, **results: Any) -> Path:
    """Build an artifact from small inputs."""
    inputs = write_inputs(folder / "inputs", **results)
    build_artifact(*inputs, folder / "artifact", settings=SETTINGS, version=version, top_k=top_k)
    return folder / "artifact"


@contextmanager
def loaded_score(folder: Path) -> Iterator[types.ModuleType]:
    """Load ``score.py`` as `load_score` does, and close its connection at the end of the block."""
    score = load_score(folder)
    try:
        yield score
    finally:
        close_connection(score)


def close_connection(score: types.ModuleType) -> None:
    """Close the connection of this thread, which ``score.py`` keeps for as long as the thread lives."""
    connection = score.load_model()._database.connections.pop(os.getpid(), None)
    if connection is not None:
        connection.close()


def load_score(folder: Path) -> types.ModuleType:
    """Import the template's ``score.py`` through a link in ``folder``: coverage follows the link to its lines."""
    link = folder / "linked_score.py"
    if not link.exists():
        link.symlink_to(TEMPLATE / "score.py")
    spec = importlib.util.spec_from_file_location("score", link)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
