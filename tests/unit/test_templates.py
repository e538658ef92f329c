"""A worker runs only code of this project, known by its sha256; everything else is data."""

from __future__ import annotations

import hashlib
import py_compile
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from artifacts import LISTS, OTHER_SCHEMAS, make_artifact

from recdeploy_ops.artifacts.artifact import DATABASE, TEMPLATE
from recdeploy_ops.artifacts.sandbox import load_in_clean_process
from recdeploy_ops.artifacts.stored_lists import has_list, open_rankings, sample_lists, sample_users
from recdeploy_ops.artifacts.templates import SHIPPED, holds_foreign_code
from recdeploy_ops.domain.errors import ForeignCodeError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Released templates: their sha256 stays in SHIPPED for ever. Add the new one here when score.py changes.
RELEASED = ("2c7162dc20525c8b28c009a1c89aae9ff2a209fd6a286f6b91161213f5ab9cc5",)


def test_the_template_and_every_released_one_are_known() -> None:
    now = hashlib.sha256((TEMPLATE / "score.py").read_bytes()).hexdigest()

    assert SHIPPED[-1] == now, "score.py was changed: add its sha256 to SHIPPED in artifacts/templates.py"
    assert set(RELEASED) <= set(SHIPPED)
    assert len(set(SHIPPED)) == len(SHIPPED)


def evil(folder: Path) -> str:
    return f"open({str(folder / 'marker')!r}, 'w').close()\n"


@pytest.mark.parametrize(
    "change",
    [lambda own: "", lambda own: own, lambda own: own + "#" * (1 << 20) + "\n"],
    ids=["replaced", "extended", "extended after a megabyte"],
)
def test_a_foreign_score_is_not_run(tmp_path: Path, change: Callable[[str], str]) -> None:
    folder = make_artifact(tmp_path)
    assert not holds_foreign_code(folder)
    score = folder / "score.py"
    score.write_text(change(score.read_text()) + evil(folder))

    assert holds_foreign_code(folder)
    with pytest.raises(ForeignCodeError, match=r"not a score\.py that this project has shipped.*add that sha256"):
        load_in_clean_process(folder, [{}])
    assert not (folder / "marker").exists()


def test_an_artifact_without_a_score_is_foreign(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    (folder / "score.py").unlink()

    assert holds_foreign_code(folder)


@pytest.mark.parametrize("name", ["lib/words.py", "json.py", "score.so", "sitecustomize.py", "README.txt"])
def test_an_artifact_with_files_that_this_project_does_not_write_is_foreign(tmp_path: Path, name: str) -> None:
    folder = make_artifact(tmp_path)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(evil(folder))

    assert holds_foreign_code(folder)
    assert load_in_clean_process(folder, [{"user_id": "u3"}])[0]["count"] == 1
    assert not (folder / "marker").exists()


def test_a_compiled_file_beside_our_score_is_not_run(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    (tmp_path / "evil.py").write_text(evil(folder) + "def predict(data): return {'count': 1}\n")
    (folder / "__pycache__").mkdir()
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for tag in ("cpython-311", "cpython-312", "cpython-313"):
        compiled = str(folder / "__pycache__" / f"score.{tag}.pyc")
        py_compile.compile(str(tmp_path / "evil.py"), compiled, doraise=True, invalidation_mode=unchecked)

    assert holds_foreign_code(folder)
    assert load_in_clean_process(folder, [{"user_id": "u3"}])[0]["model_version"] == 7
    assert not (folder / "marker").exists()


@pytest.mark.parametrize("schema", OTHER_SCHEMAS.values(), ids=OTHER_SCHEMAS.keys())
def test_a_database_that_this_project_does_not_write_is_not_read(tmp_path: Path, schema: str) -> None:
    folder = make_artifact(tmp_path)
    assert sample_users(folder, 2) == ["full", "u1"]
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.executescript(schema)

    with pytest.raises(IntegrityError, match="has other tables"):
        sample_users(folder, 2)


def test_a_list_that_is_larger_than_any_of_ours_is_not_read(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute("UPDATE lists SET user_id = CAST(zeroblob(?) AS TEXT)  WHERE user_id = 'u1'", (65 << 20,))

    with pytest.raises(IntegrityError, match="too big"):
        sample_users(folder, 10)


@pytest.mark.parametrize("content", [b"", b"x" * 5000, None])
def test_a_damaged_or_missing_database_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / DATABASE).write_bytes(content)

    with pytest.raises(IntegrityError, match=DATABASE):
        sample_users(tmp_path, 10)


VALUES = {
    "bytes as a user": ("UPDATE lists SET user_id = x'FF00' WHERE user_id = 'u1'", "an id is not text"),
    "a user that is not UTF-8": (
        "UPDATE lists SET user_id = CAST(x'FF' AS TEXT) WHERE user_id = 'u1'",
        "decode to UTF-8",
    ),
    "a number as positions": ("UPDATE lists SET positions = 7", "is not bytes"),
    "text as ratings": ("UPDATE lists SET ratings = 'x'", "is not bytes"),
    "half a position": ("UPDATE lists SET positions = x'0000'", "cannot be unpacked"),
    "more positions than ratings": ("UPDATE lists SET positions = zeroblob(4000)", "cannot be unpacked"),
    "a NaN": ("UPDATE lists SET positions = zeroblob(4), ratings = x'000000000000F87F'", "is not a number"),
    "a product that is not there": (
        "UPDATE lists SET positions = x'FFFFFFFF', ratings = zeroblob(8)",
        "names a product that is not there",
    ),
    "a list of millions": (
        "UPDATE lists SET positions = zeroblob(4000000), ratings = zeroblob(8000000)",
        "is longer than any",
    ),
    "bytes as a product": ("UPDATE products SET product_id = x'FF'", "an id is not text"),
}


@pytest.mark.parametrize(("sql", "message"), VALUES.values(), ids=VALUES.keys())
def test_values_that_this_project_does_not_write_are_not_read(tmp_path: Path, sql: str, message: str) -> None:
    folder = make_artifact(tmp_path)
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        database.execute(sql)

    with pytest.raises(IntegrityError, match=rf"{DATABASE} cannot be read(?s:.*){message}") as caught:
        sample_lists(folder, 10, seed=0)
    with pytest.raises(IntegrityError), open_rankings(folder) as rankings:
        list(rankings)

    assert len(caught.value.message) < 3_000


def test_a_database_is_read_whole_and_in_order(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)

    with open_rankings(folder) as rankings:
        read = dict(rankings)

    assert read == LISTS | {"full": []}
    assert sample_lists(folder, 10, seed=0) == {user: tuple(ranking) for user, ranking in LISTS.items()}
    assert [has_list(folder / DATABASE, user) for user in ("u1", "nobody", "\ud800")] == [True, False, False]
