"""The answers of ``score.py`` to any request, and the artifacts that it rejects."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import pickle
import sqlite3
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from artifacts import LISTS, NEW_USERS, OTHER_SCHEMAS, close_connection, load_score, loaded_score, make_artifact
from hypothesis import given, settings
from hypothesis import strategies as st

from recdeploy_ops.artifacts import readers
from recdeploy_ops.artifacts.artifact import TEMPLATE
from recdeploy_ops.domain.texts import LONGEST_ID
from recdeploy_ops.storage.bundles import write_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

NEW_USER = "Recommendations for new user (popular items)"
NOTHING_LEFT = "No recommendations: the user has rated every item"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("score"))


@pytest.fixture(scope="module")
def score(artifact: Path) -> Iterator[ModuleType]:
    with loaded_score(artifact) as score:
        yield score


def rows(ranking: Any) -> list[dict[str, Any]]:
    return [{"product_id": item, "rating": rating} for item, rating in ranking]


def test_answer_to_a_known_user_has_every_field_of_the_contract(score: ModuleType, artifact: Path) -> None:
    assert score.predict({"user_id": "u2", "top_k": 2}) == {
        "user_id": "u2",
        "recommendations": rows(LISTS["u2"][:2]),
        "count": 2,
        "message": "Recommendations for known user",
        "model_version": 7,
        "digest": hashlib.sha256((artifact / "manifest.json").read_bytes()).hexdigest(),
    }


@pytest.mark.parametrize(
    ("request_", "ranking", "message"),
    [
        ({"user_id": "u1"}, LISTS["u1"], "Recommendations for known user"),
        ({"user_id": "u1", "top_k": 1}, LISTS["u1"][:1], "Recommendations for known user"),
        ({"user_id": "u1", "top_k": 10**30}, LISTS["u1"], "Recommendations for known user"),
        ({"user_id": "u3", "top_k": 3}, LISTS["u3"], "Recommendations for known user"),
        ({"user_id": "full"}, [], NOTHING_LEFT),
        ({"user_id": "nobody"}, NEW_USERS, NEW_USER),
        ({"user_id": "nobody", "top_k": 2}, NEW_USERS[:2], NEW_USER),
        *(({"user_id": "u1", "top_k": k}, LISTS["u1"][:2], "Recommendations for known user") for k in (2, 2.0, "2")),
        ({"user_id": "u1", "top_k": None}, LISTS["u1"], "Recommendations for known user"),
        ({"user_id": "u1", "top_k": 1e300}, LISTS["u1"], "Recommendations for known user"),
        ({"user_id": "U1"}, NEW_USERS, NEW_USER),
        ({"user_id": "u1 "}, NEW_USERS, NEW_USER),
        ({"user_id": "u1\0"}, NEW_USERS, NEW_USER),
        ({"user_id": "x" * 10_000_000}, NEW_USERS, NEW_USER),
        ({"user_id": "' OR 1=1 --"}, NEW_USERS, NEW_USER),
        ({"user_id": "u1", "colour": "red"}, LISTS["u1"], "Recommendations for known user"),
        ('{"user_id": "u1"}', LISTS["u1"], "Recommendations for known user"),
        (b'{"user_id": "u1"}', LISTS["u1"], "Recommendations for known user"),
        (bytearray(b'{"user_id": "u1"}'), LISTS["u1"], "Recommendations for known user"),
        ('{"user_id": "u1"}'.encode("utf-16"), LISTS["u1"], "Recommendations for known user"),
        ([{"user_id": "u1"}], LISTS["u1"], "Recommendations for known user"),
        (['{"user_id": "u1"}'], LISTS["u1"], "Recommendations for known user"),
        (b'["{\\"user_id\\": \\"u1\\"}"]', LISTS["u1"], "Recommendations for known user"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_users_get_their_list_or_the_one_for_new_users(
    score: ModuleType, request_: Any, ranking: Any, message: str
) -> None:
    answer = score.predict(request_)
    assert (answer["recommendations"], answer["message"]) == (rows(ranking), message)
    assert answer["count"] == len(ranking)


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (None, "MalformedRequest"),
        (1, "MalformedRequest"),
        ([], "MalformedRequest"),
        ([[]], "MalformedRequest"),
        (CYCLE, "MalformedRequest"),
        ({}, "MissingUserId"),
        ({"USER_ID": "u1"}, "MissingUserId"),
        ("", "MalformedJson"),
        ("{", "MalformedJson"),
        ('\ufeff{"user_id": "u1"}', "MalformedJson"),
        (b"\xff\xfe\xfd", "MalformedJson"),
        ("[" * 1_000_000, "MalformedJson"),
        ('{"user_id": ' + "1" * 5000 + "}", "MalformedJson"),
        *(({"user_id": user}, "InvalidUserId") for user in (None, True, 1.0, float("nan"), [], ["u1"], {}, b"u1")),
        ({"user_id": 10**5000}, "InvalidUserId"),
        ({"user_id": "\ud800"}, "InvalidUserId"),
        ('{"user_id": "\\udfff"}', "InvalidUserId"),
        ('{"user_id": NaN}', "InvalidUserId"),
        *(({"user_id": "u1", "top_k": k}, "InvalidTopK") for k in (0, -1, True, 2.5, [2], float("inf"))),
        *(({"user_id": "u1", "top_k": k}, "InvalidTopK") for k in ("", "0", "-1", "2.0", "two", "٢", "9" * 5000)),
        ({"user_id": ""}, "InvalidUserId"),
        ([{"user_id": "u1"}] * 101, "TooManyRequests"),
        (json.dumps([{"user_id": "u1"}] * 101), "TooManyRequests"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_malformed_request_gets_an_error_object(score: ModuleType, request_: Any, code: str) -> None:
    answer = score.predict(request_)
    assert answer["error"]["code"] == code
    assert answer["error"]["message"].endswith(".")
    assert set(answer) == {"error", "recommendations", "count", "message", "model_version", "digest"}
    assert (answer["recommendations"], answer["count"], answer["message"]) == ([], 0, answer["error"]["message"])


WRAPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda data: data,
    "text": json.dumps,
    "bytes": lambda data: json.dumps(data).encode(),
    "list in a list": lambda data: [data],
    "text in a list": lambda data: [json.dumps(data)],
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_a_list_of_requests_gets_a_list_of_answers_in_its_order(score: ModuleType, wrap: Any) -> None:
    requests = [{"user_id": "u2"}, {"user_id": ""}, {"user_id": "nobody"}, '{"user_id": "u1", "top_k": 1}', 7, []]
    answers = score.predict(wrap(requests))
    assert answers == [score.predict(request) for request in requests]
    assert [answer["count"] for answer in answers] == [len(LISTS["u2"]), 0, len(NEW_USERS), 1, 0, 0]


def test_each_request_of_a_list_is_answered_with_its_own_top_k(tmp_path: Path) -> None:
    lists = {"420": [("p1", 3.0), ("p2", 2.0)], "00420": [("p3", 5.0), ("p4", 4.0)]}
    with loaded_score(make_artifact(tmp_path, lists=lists)) as score:
        answers = score.predict('[{"user_id":"420","top_k":1},{"user_id":"00420","top_k":1}]')
    assert [(answer["user_id"], answer["recommendations"]) for answer in answers] == [
        ("420", rows([("p1", 3.0)])),
        ("00420", rows([("p3", 5.0)])),
    ]


def test_a_hundred_requests_are_answered_and_lists_in_lists_are_not(score: ModuleType) -> None:
    assert len(score.predict([{"user_id": "u1"}] * 100)) == 100
    first, second = score.predict([[{"user_id": "u1"}, {"user_id": "u2"}], [{"user_id": "u2"}]])
    assert first["error"]["code"] == "MalformedRequest"
    assert second == score.predict({"user_id": "u2"})


def test_a_very_long_id_is_a_new_user_and_is_not_repeated(tmp_path: Path) -> None:
    ids = {"x" * 1024: [("p1", 1.0)], "y" * 1025: [("p2", 1.0)]}
    with loaded_score(make_artifact(tmp_path, lists=ids)) as score:
        known, unknown = (score.predict({"user_id": user}) for user in ids)
    assert (known["user_id"], known["recommendations"]) == ("x" * 1024, rows([("p1", 1.0)]))
    assert (unknown["user_id"], unknown["message"]) == (None, NEW_USER)


def test_integer_user_id_is_its_decimal_text(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path, lists={"-42": [("p1", 1.0)], "042": [("p2", 2.0)], "42": [("p3", 3.0)]})
    with loaded_score(folder) as score:
        answers = [score.predict({"user_id": user}) for user in (-42, 42, "042")]
    assert [answer["user_id"] for answer in answers] == ["-42", "42", "042"]
    assert [answer["recommendations"][0]["product_id"] for answer in answers] == ["p1", "p3", "p2"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "user_id": st.sampled_from(sorted(LISTS)) | st.text(st.characters(codec=None)) | json_values,
        "top_k": st.integers(1, 5) | json_values,
    },
)


@settings(max_examples=150, deadline=None)
@given(data=json_values | requests | st.lists(requests) | st.binary() | st.text() | requests.map(json.dumps))
def test_any_value_gets_an_answer_that_is_strict_json(score: ModuleType, data: Any) -> None:
    answered = score.predict(data)
    json.dumps(answered, allow_nan=False, ensure_ascii=False).encode()
    for answer in answered if isinstance(answered, list) else [answered]:
        assert answer["count"] == len(answer["recommendations"]) <= 3
        assert ("error" in answer) != ("user_id" in answer)


@pytest.mark.parametrize(("user", "ranking"), [("nobody", NEW_USERS), ("u1", LISTS["u1"])])
def test_an_answer_may_be_changed_without_changing_the_next(score: ModuleType, user: str, ranking: Any) -> None:
    first = score.predict({"user_id": user})
    first["recommendations"][0]["rating"] = -1
    first["recommendations"].pop()
    assert score.predict({"user_id": user})["recommendations"] == rows(ranking)


def counts_in_threads(score: ModuleType, threads: int, requests: int) -> list[int]:
    """Send requests from threads; return how many recommendations each answer has."""
    counts: list[int] = []

    def send() -> None:
        counts.extend(score.predict({"user_id": "u1"})["count"] for _ in range(requests))
        close_connection(score)

    started = [threading.Thread(target=send) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return counts


def test_database_is_read_without_locks(score: ModuleType, artifact: Path) -> None:
    with closing(sqlite3.connect(artifact / "recommendations.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert counts_in_threads(score, threads=1, requests=1) == [3]
        other.execute("ROLLBACK")


def test_threads_and_forks_have_their_own_connections(score: ModuleType) -> None:
    score.predict({"user_id": "u1"})  # opens this thread's connection before the fork
    assert counts_in_threads(score, threads=8, requests=50) == [3] * 400
    child = os.fork()
    if not child:
        right = score.predict({"user_id": "u1"})["count"] == 3 and len(score.load_model()._database.connections) == 2
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert score.predict({"user_id": "u1"})["count"] == 3


@pytest.mark.parametrize(
    "name", ["recommendations.sqlite", "new_user_fallback.pkl", "score.py", "runtime.yaml", "README.md"]
)
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_damaged_file_keeps_the_artifact_from_loading(tmp_path: Path, name: str, damage: str) -> None:
    folder = make_artifact(tmp_path)
    if damage == "gone":
        (folder / name).unlink()
    else:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
    with pytest.raises(Exception, match=f"^{name}") as caught:
        load_score(folder)
    assert type(caught.value).__name__ == "ArtifactError"


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "cannot be read"),
        (b"{", "cannot be read"),
        (b"[]", "not of format"),
        (b'{"format": 2}', "not of format"),
        (b'{"format": 1, "files": {"new_user_fallback.pkl": ""}}', "does not list recommendations.sqlite"),
        (b'{"format": 1}', "does not list"),
        (b'{"format": 1, "files": null}', "does not list"),
        (b'{"format": 1, "files": ["recommendations.sqlite", "new_user_fallback.pkl"]}', "does not list"),
        (b"[" * 200_000, "cannot be read"),
        (b"\xff", "cannot be read"),
    ],
)
def test_unusable_manifest_keeps_the_artifact_from_loading(
    tmp_path: Path, manifest: bytes | None, message: str
) -> None:
    folder = make_artifact(tmp_path)
    (folder / "manifest.json").unlink()
    if manifest is not None:
        (folder / "manifest.json").write_bytes(manifest)
    with pytest.raises(Exception, match=message):
        load_score(folder)


MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "a path that leads out": ({"files": {"../../../etc/hostname": ""}}, "'../../../etc/hostname', which is not a file"),
    "a path that leads out later": ({"files": {"a/../../x": ""}}, "which is not a file"),
    "an absolute path": ({"files": {"/etc/hostname": ""}}, "'/etc/hostname', which is not a file"),
    "an endless device": ({"files": {"/dev/zero": ""}}, "'/dev/zero', which is not a file"),
    "the folder itself": ({"files": {".": ""}}, "it is not a file"),
    "an empty name": ({"files": {"": ""}}, "it is not a file"),
    "a name with a NUL": ({"files": {"a\0b": ""}}, "cannot be read"),
    "half a surrogate pair as a name": ({"files": {"\ud800": ""}}, "cannot be read"),
    "a name of 5,000 characters": ({"files": {"x" * 5_000: ""}}, "cannot be read"),
    "a hash that is a number": ({"files": {"score.py": 7}}, r"score\.py has the sha256"),
    "no version": ({"version": None}, "does not give version and top_k"),
    "a version in words": ({"version": {"a": 1}}, "does not give version and top_k"),
    "a true version": ({"version": True}, "does not give version and top_k"),
    "a negative top_k": ({"top_k": -1}, "does not give version and top_k"),
    "a fraction as top_k": ({"top_k": 2.5}, "does not give version and top_k"),
}


@pytest.mark.parametrize(("changes", "message"), MANIFESTS.values(), ids=MANIFESTS.keys())
def test_crafted_manifest_is_refused_without_reading_other_files(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = make_artifact(tmp_path)
    facts = json.loads((folder / "manifest.json").read_bytes())
    files = {**facts["files"], **changes.get("files", {})}
    (folder / "manifest.json").write_text(json.dumps({**facts, **changes, "files": files}))

    with pytest.raises(Exception, match=message) as caught:
        load_score(folder)
    assert type(caught.value).__name__ == "ArtifactError"


def test_manifest_that_names_a_pipe_is_refused(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")

    with pytest.raises(Exception, match=r"README\.md cannot be read: it is not a file"):
        load_score(folder)


@pytest.mark.parametrize("schema", OTHER_SCHEMAS.values(), ids=OTHER_SCHEMAS.keys())
def test_database_with_other_tables_keeps_the_artifact_from_loading(tmp_path: Path, schema: str) -> None:
    folder = make_artifact(tmp_path)
    with closing(sqlite3.connect(folder / "recommendations.sqlite")) as database:
        database.executescript(schema)
    forge(folder, "README.md", b"")

    with pytest.raises(Exception, match=r"recommendations\.sqlite has other tables"):
        load_score(folder)


def test_the_template_and_the_readers_know_the_same_tables(score: ModuleType) -> None:
    assert {(readers.LISTS,), (readers.PRODUCTS,)} == score.TABLES


def shared_lists() -> bytes:
    """Return a few hundred bytes whose text would have more characters than fit into memory."""
    nested: list[Any] = []
    for _ in range(40):
        nested = [nested, nested]
    return pickle.dumps([(nested, 1.0)], protocol=4)


def forge(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and update the manifest, as a person with write access could."""
    (folder / name).write_bytes(content)
    facts = json.loads((folder / "manifest.json").read_bytes())
    write_manifest(folder, {key: value for key, value in facts.items() if key != "files"})


class Malice:
    def __reduce__(self) -> Any:
        return os.system, ("exit 1",)


FORGED_FALLBACKS = {
    "a call": (pickle.dumps(Malice()), "names posix.system"),
    "a call in a list": (pickle.dumps([[Malice(), 1.0]]), "names posix.system"),
    "a class": (pickle.dumps([["p1", complex(1)]]), "names builtins.complex"),
    "no bytes": (b"", "not a list of products"),
    "not a pickle": (b"garbage", "not a list of products"),
    "a number": (pickle.dumps(7), "not a list of products"),
    "no rating": (pickle.dumps([["p1"]]), "not a list of products"),
    "a rating as text": (pickle.dumps([["p1", "5"]]), "something else"),
    "a number as an id": (pickle.dumps([[1, 5.0]]), "something else"),
    "a bool as a rating": (pickle.dumps([["p1", True]]), "something else"),
    "a NaN": (pickle.dumps([["p1", float("nan")]]), "something else"),
    "shared lists": (shared_lists(), "something else"),
    "a rating of 400 digits": (pickle.dumps([["p1", 10**400]]), "not a list of products"),
    "half a surrogate pair": (pickle.dumps([["\ud800", 1.0]]), "not a list of products"),
    "an attribute of a number": (b"\x80\x04K\x01}b.", "not a list of products"),
    "a frame of exabytes": (b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b".", "not a list of products"),
    "bytes of exabytes": (b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b".", "not a list of products"),
    "a memo that is not there": (b"\x80\x04h\x05.", "not a list of products"),
}


@pytest.mark.parametrize(("content", "message"), FORGED_FALLBACKS.values(), ids=FORGED_FALLBACKS.keys())
def test_fallback_is_never_unpickled_into_anything_but_plain_values(
    tmp_path: Path, content: bytes, message: str
) -> None:
    folder = make_artifact(tmp_path)
    forge(folder, "new_user_fallback.pkl", content)
    with pytest.raises(Exception, match=message):
        load_score(folder)


def test_file_that_is_not_a_database_keeps_the_artifact_from_loading(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    forge(folder, "recommendations.sqlite", b"not a database" * 100)
    with pytest.raises(Exception, match=r"recommendations\.sqlite cannot be read"):
        load_score(folder)


def test_database_lost_after_loading_is_a_server_error(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path)
    with loaded_score(folder) as score:
        (folder / "recommendations.sqlite").unlink()
        with pytest.raises(sqlite3.Error):
            score.predict({"user_id": "u1"})
        assert "error" in score.predict({})


def test_database_that_is_damaged_after_loading_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Connection(sqlite3.Connection):
        is_closed = False

        def close(self) -> None:
            self.is_closed = True
            super().close()

    folder, opened = make_artifact(tmp_path), list[Connection]()
    with loaded_score(folder) as score:
        (folder / "recommendations.sqlite").write_bytes(b"not a database" * 100)
        connect = partial(sqlite3.connect, factory=Connection)

        def connect_and_note(*args: Any, **options: Any) -> Connection:
            opened.append(connect(*args, **options))
            return opened[-1]

        monkeypatch.setattr(sqlite3, "connect", connect_and_note)
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            score.predict({"user_id": "u1"})
    assert [connection.is_closed for connection in opened] == [True]


def test_model_is_loaded_once(score: ModuleType) -> None:
    assert score.load_model() is score.load_model()


def test_source_follows_the_rules_of_the_data_science_server() -> None:
    tree = ast.parse((TEMPLATE / "score.py").read_text(encoding="utf-8"), feature_version=(3, 9))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    arguments = functions["predict"].args
    assert "load_model" in functions
    assert [argument.arg for argument in arguments.args] == ["data", "model"]
    assert len(arguments.defaults) == len(arguments.args) - 1
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"hashlib", "json", "math", "os", "pickle", "sqlite3", "struct", "threading"}


def test_pickled_fallback_has_no_class(artifact: Path) -> None:
    class Plain(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            raise AssertionError(f"{module}.{name}")

    content = (artifact / "new_user_fallback.pkl").read_bytes()
    assert Plain(io.BytesIO(content)).load() == [list(entry) for entry in NEW_USERS]


def test_the_extraction_and_score_know_the_same_longest_id(score: ModuleType) -> None:
    assert score.LONGEST_ID == LONGEST_ID
