"""The artifact: equal input gives equal bytes, every id survives, and lists that cannot be served are rejected."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from artifacts import ITEMS, LISTS, SETTINGS, loaded_score, make_artifact, write_inputs, write_results
from hypothesis import given, settings
from hypothesis import strategies as st
from shops import write_extract

import recdeploy_ops.training.recommendations
from recdeploy_ops.artifacts import templates
from recdeploy_ops.artifacts.archives import unzip_artifact, zip_artifact
from recdeploy_ops.artifacts.artifact import build_artifact, write_fallback
from recdeploy_ops.artifacts.recommendation_database import Popularity, rank_by_popularity
from recdeploy_ops.artifacts.sandbox import load_in_clean_process
from recdeploy_ops.artifacts.stored_lists import read_fallback
from recdeploy_ops.domain.errors import IntegrityError, StorageError, TrainingFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BUILD_IN_A_CHILD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from artifacts import make_artifact
from recdeploy_ops.artifacts.archives import zip_artifact
folder = Path(sys.argv[1])
zip_artifact(make_artifact(folder), folder / "artifact.zip")
"""


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def build(folder: Path, results: Path, extract: Path) -> Path:
    build_artifact(results, extract, folder / "artifact", settings=SETTINGS, version=1, top_k=3)
    return folder / "artifact"


def build_from_lists(folder: Path, lists: Any) -> Path:
    """Build an artifact from these lists, whatever their users have rated."""
    results = write_results(folder / "results", lists)
    extract = write_extract(folder / "extract", [("someone", "p0", 1.0)], users=list(lists), items=ITEMS)
    return build(folder, results, extract)


def test_same_input_gives_the_same_bytes_in_any_folder_process_and_time_zone(tmp_path: Path) -> None:
    first = make_artifact(tmp_path / "here")
    zip_artifact(first, tmp_path / "here" / "artifact.zip")
    for path in first.iterdir():
        path.chmod(0o600)
        os.utime(path, (1, 1))
    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-c", BUILD_IN_A_CHILD, str(tmp_path / "elsewhere"), *sys.path]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo"})
    assert hashes(first) == hashes(tmp_path / "elsewhere" / "artifact")
    zip_artifact(first, tmp_path / "again.zip")
    zips = [tmp_path / "here" / "artifact.zip", tmp_path / "again.zip", tmp_path / "elsewhere" / "artifact.zip"]
    assert len({path.read_bytes() for path in zips}) == 1


def test_digest_changes_with_version_and_content(tmp_path: Path) -> None:
    first = make_artifact(tmp_path / "1")
    other = make_artifact(tmp_path / "2", version=8)
    third = make_artifact(tmp_path / "3", lists={**LISTS, "u3": [("p5", 2.5000000000000004)]})
    assert len({hashes(folder)["manifest.json"] for folder in (first, other, third)}) == 3


def test_manifest_names_every_file_but_neither_time_nor_run(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    digest = build_artifact(*inputs, tmp_path / "artifact", settings=SETTINGS, version=7, top_k=3)
    files = hashes(tmp_path / "artifact")
    assert files.pop("manifest.json") == digest
    assert json.loads((tmp_path / "artifact" / "manifest.json").read_bytes()) == {
        "format": 1,
        "project": "product-recommender",
        "version": 7,
        "top_k": 3,
        "fallback": "new_users.csv",
        "files": files,
    }
    assert set(files) == {
        "score.py",
        "runtime.yaml",
        "README.md",
        "recommendations.sqlite",
        "new_user_fallback.pkl",
    }


def test_runtime_names_the_conda_environment_of_the_settings(tmp_path: Path) -> None:
    runtime = yaml.safe_load((make_artifact(tmp_path) / "runtime.yaml").read_text())
    environment = SETTINGS.serving.conda_environment
    assert runtime["MODEL_ARTIFACT_VERSION"] == "3.0"
    assert runtime["MODEL_DEPLOYMENT"]["INFERENCE_CONDA_ENV"] == {
        "INFERENCE_ENV_SLUG": environment.slug,
        "INFERENCE_ENV_TYPE": environment.type,
        "INFERENCE_ENV_PATH": environment.path,
        "INFERENCE_PYTHON_VERSION": environment.python_version,
    }


ODD_IDS = [
    "00420",
    "420",
    "1e5",
    "100000.0",
    "NaN",
    "nan",
    "null",
    "None",
    "True",
    " ",
    " 7 ",
    'say "hi"',
    "a,b",
    "two\nlines",
    "two\r\nlines",
    "ユーザー7",
    "😀",
    "e\u0301",
    "é",
    "x" * 1024,
    "0205616461",
    "5f2c1d3e-8a4b-4c6d-9e7f-0a1b2c3d4e5f",
    "nul\0inside",
    "'; DROP TABLE lists; --",
    "\u202eabc",
]


def test_ids_of_every_kind_survive_from_the_csv_to_the_answer(tmp_path: Path) -> None:
    lists = {user: [(ODD_IDS[-number], 1 / 3 + number)] for number, user in enumerate(ODD_IDS)}
    with loaded_score(build_from_lists(tmp_path, lists)) as score:
        answers = {user: score.predict({"user_id": user}) for user in lists}
    for user, [(item, rating)] in lists.items():
        assert answers[user]["user_id"] == user
        assert answers[user]["recommendations"] == [{"product_id": item, "rating": rating}]
        assert answers[user]["message"] == "Recommendations for known user"


@settings(max_examples=25, deadline=None)
@given(
    data=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\r")),
        st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r")), st.floats(-1e300, 1e300))),
        min_size=1,
        max_size=5,
    ).filter(lambda lists: any(lists.values()))
)
def test_every_list_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    database = build_from_lists(tmp_path_factory.mktemp("bits"), data) / "recommendations.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        products = [row[0] for row in connection.execute("SELECT product_id FROM products ORDER BY position")]
        stored = {row[0]: row[1:] for row in connection.execute("SELECT * FROM lists")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    expected = {user: ranking for user, ranking in data.items() if ranking}
    assert list(stored) == sorted(expected)
    for user, ranking in expected.items():
        positions, ratings = (memoryview(blob) for blob in stored[user])
        assert [products[position] for position in positions.cast("I")] == [item for item, _ in ranking]
        assert [rating.hex() for rating in ratings.cast("d")] == [float(rating).hex() for _, rating in ranking]


def test_lists_that_span_blocks_of_the_file_stay_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = {f"user-{n}": [(f"item-{(n + rank) % 50}", 9.0 - rank) for rank in range(1 + n % 9)] for n in range(300)}
    whole = hashes(build_from_lists(tmp_path / "whole", lists))
    monkeypatch.setattr(recdeploy_ops.training.recommendations, "BLOCK_BYTES", 100)
    assert hashes(build_from_lists(tmp_path / "blocks", lists)) == whole


def test_only_a_user_who_rated_every_item_gets_an_empty_list(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", {"u1": [("p1", 1.0)]})
    rated = [("full", item, 1.0) for item in ["p1", "p2", "p3"]] + [("missing", "p1", 1.0), ("missing", "old", 1.0)]
    extract = write_extract(
        tmp_path / "extract", rated, users=["u1", "full", "missing", "new"], items=["p1", "p2", "p3"]
    )
    with closing(sqlite3.connect(build(tmp_path, results, extract) / "recommendations.sqlite")) as connection:
        stored = dict(connection.execute("SELECT user_id, length(positions) FROM lists").fetchall())
    assert stored == {"u1": 4, "full": 0}


def test_a_user_who_is_listed_twice_needs_no_list_twice(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", {"u1": [("p1", 1.0)], "u2": [("p1", 1.0)]})
    extract = write_extract(tmp_path / "extract", [("u1", "p2", 1.0)], users=["u1", "u2", "u2"], items=["p1", "p2"])
    with closing(sqlite3.connect(build(tmp_path, results, extract) / "recommendations.sqlite")) as connection:
        assert connection.execute("SELECT user_id FROM lists ORDER BY user_id").fetchall() == [("u1",), ("u2",)]


def test_two_lists_of_one_user_are_rejected(tmp_path: Path) -> None:
    results, extract = write_inputs(tmp_path)
    (results / "recommendations.csv").write_text("user_id,product_id,rating\nu1,p1,2\nu2,p1,2\nu1,p2,1\n")
    with pytest.raises(TrainingFailedError, match="more than one list for user 'u1'"):
        build(tmp_path, results, extract)


def test_list_for_new_users_stays_in_the_operators_order(tmp_path: Path) -> None:
    odd = [("00420", 1.0), ("NaN", 5.0), ("a,b", 3.0), ("more", 2.0)]
    assert read_fallback(make_artifact(tmp_path, new_users=odd)) == odd[:3]


def test_popular_items_replace_a_missing_list_for_new_users(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path, new_users=None)
    assert read_fallback(folder) == [("p3", (4.25 + 5.0) / 2), ("p2", (4.5 + 3.3333333333333335) / 2), ("p5", 2.75)]
    assert json.loads((folder / "manifest.json").read_bytes())["fallback"] == "popularity"


def test_the_most_rated_items_fill_a_fallback_that_is_too_short(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path, new_users=None, lists={"u1": [("p5", 4.0)]})
    assert read_fallback(folder) == [("p5", 4.0), ("p0", 13 / 4), ("p1", 4 / 3)]


@pytest.mark.parametrize("rating", [None, float("nan"), float("inf")])
def test_ratings_that_are_not_finite_do_not_make_an_item_popular(tmp_path: Path, rating: float | None) -> None:
    results = write_results(tmp_path / "results", {"u1": [("p5", 4.0)]}, None)
    rated = [("u1", "p0", rating), ("u2", "p0", rating), ("u1", "p1", 3.0)]
    extract = write_extract(tmp_path / "extract", rated, items=["p0", "p1", "p5"])
    assert read_fallback(build(tmp_path, results, extract)) == [("p5", 4.0), ("p1", 3.0)]


@given(st.permutations([Popularity(item, count, rating) for item in "abc" for count in (1, 2) for rating in (3, 4)]))
def test_popularity_does_not_depend_on_the_order_of_its_input(items: list[Popularity]) -> None:
    assert rank_by_popularity(items, 5) == [("a", 4), ("b", 4), ("c", 4), ("a", 3), ("b", 3)]


def test_folder_with_other_files_is_rejected(tmp_path: Path) -> None:
    make_artifact(tmp_path)
    with pytest.raises(StorageError, match="not empty"):
        build(tmp_path, *write_inputs(tmp_path))


def test_zip_has_plain_files_at_its_top(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    zip_artifact(folder, tmp_path / "artifact.zip")
    with zipfile.ZipFile(tmp_path / "artifact.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(path.name for path in folder.iterdir())
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == 0o100644
            assert archive.read(entry) == (folder / entry.filename).read_bytes()


def test_artifact_answers_in_a_clean_process_without_anything_installed(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    before = hashes(folder)
    answers = load_in_clean_process(folder, [{"user_id": "u1", "top_k": 1}, {"user_id": "ユーザー\ud800"}, None])
    assert answers[0]["recommendations"] == [{"product_id": "p2", "rating": 4.5}]
    assert [answer["error"]["code"] for answer in answers[1:]] == ["InvalidUserId", "MalformedRequest"]
    assert hashes(folder) == before


def test_artifact_moved_after_it_was_built_still_answers(tmp_path: Path) -> None:
    folder = shutil.move(make_artifact(tmp_path), tmp_path / "a folder # with? odd %20 name")
    assert load_in_clean_process(folder, [{"user_id": "u3"}])[0]["count"] == 1


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that writes a ``score.py`` as if this project had shipped it: no other is run."""

    def ship(source: str) -> None:
        (tmp_path / "score.py").write_text(source)
        monkeypatch.setattr(templates, "SHIPPED", (hashlib.sha256(source.encode()).hexdigest(),))

    return ship


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('cannot load')", "RuntimeError: cannot load"),
        ("import numpy", "No module named 'numpy'"),
        ("def predict(data):\n    raise RuntimeError('cannot answer')", "RuntimeError: cannot answer"),
        ("def predict(data):\n    return float('nan')", "ValueError"),
        ("import os; os.kill(os.getpid(), 9)", "does not work"),
        ("lists = bytearray(2 << 30)", "MemoryError"),
        ("def predict(data):\n    return 'x' * (3 << 20)", "File too large"),
        ("print('x' * (3 << 20))", "File too large|does not work"),
    ],
)
def test_broken_score_is_reported_with_its_traceback(tmp_path: Path, ship: Any, source: str, message: str) -> None:
    ship(source)
    with pytest.raises(IntegrityError, match=message):
        load_in_clean_process(tmp_path, [{}])


def test_score_that_never_answers_is_stopped(tmp_path: Path, ship: Any) -> None:
    ship("while True: pass")
    with pytest.raises(IntegrityError, match=r"has not answered 1 requests in 0\.2 s"):
        load_in_clean_process(tmp_path, [{}], timeout_seconds=0.2)


def test_text_that_score_prints_is_not_an_answer(tmp_path: Path, ship: Any) -> None:
    ship("print('loaded')\ndef predict(data):\n    print(data)\n    return data")
    assert load_in_clean_process(tmp_path, ["ü", 1]) == ["ü", 1]


def shared_lists() -> bytes:
    """Return a few hundred bytes whose text would have more characters than fit into memory."""
    nested: list[Any] = []
    for _ in range(40):
        nested = [nested, nested]
    return pickle.dumps([(nested, 1.0)], protocol=4)


FALLBACKS = {
    "nothing": b"",
    "a call": b"cposix\nsystem\n(S'exit 1'\ntR.",
    "a number": b"\x80\x04K\x01.",
    "an attribute of a number": b"\x80\x04K\x01}b.",
    "shared lists": shared_lists(),
    "a NaN": pickle.dumps([("p", float("nan"))]),
    "an infinity": pickle.dumps([("p", float("-inf"))]),
    "a truth": pickle.dumps([("p", True)]),
    "bytes": pickle.dumps([(b"ab", 1.0)], protocol=4),
    "a number as an id": pickle.dumps([(7, 1.0)]),
    "an id of half a surrogate pair": pickle.dumps([("\ud800", 1.0)]),
    "a rating as text": pickle.dumps([("p", "1.0")]),
    "a rating of 400 digits": pickle.dumps([("p", 10**400)]),
    "a frame of exabytes": b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b".",
    "bytes of exabytes": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b".",
    "a memo that is not there": b"\x80\x04h\x05.",
    "a stack that is empty": b"\x80\x04a.",
}


@pytest.mark.parametrize("content", FALLBACKS.values(), ids=FALLBACKS.keys())
def test_fallback_that_is_not_a_plain_list_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "new_user_fallback.pkl").write_bytes(content)
    with pytest.raises(IntegrityError, match="not a list"):
        read_fallback(tmp_path)


def test_written_fallback_reads_back(tmp_path: Path) -> None:
    write_fallback(tmp_path, [("p1", 0.1), ("ü", -2.0)])
    assert read_fallback(tmp_path) == [("p1", 0.1), ("ü", -2.0)]


@pytest.mark.parametrize("manifest", [b"{", b"[]", b"{}", b'{"files": []}'])
def test_a_zip_without_a_valid_manifest_is_rejected(tmp_path: Path, manifest: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("score.py", b"x")
        archive.writestr("manifest.json", manifest)

    with pytest.raises(IntegrityError, match="not a manifest"):
        unzip_artifact(tmp_path / "a.zip", tmp_path / "out")
