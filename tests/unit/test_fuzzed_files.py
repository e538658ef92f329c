"""Files that others may write, damaged at random: a reader answers or raises an error of its own, in bounded time."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from artifacts import make_artifact
from events import chain, opened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oci_emulator.serving.unpacking import ArtifactError, unpack
from recdeploy_ops.artifacts import readers
from recdeploy_ops.artifacts.archives import unzip_artifact, zip_artifact
from recdeploy_ops.artifacts.artifact import DATABASE, FALLBACK
from recdeploy_ops.artifacts.clean_process import Job, Limits, call_in_clean_process
from recdeploy_ops.deployment_manager.backup_lists import print_backups, read_backups
from recdeploy_ops.domain.entries import decode
from recdeploy_ops.domain.errors import IntegrityError, SettingsError
from recdeploy_ops.evaluation.champions import read_source
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.ledger.foreign_state_file import find_foreign_state_file
from recdeploy_ops.rollout.current import CURRENT, read_current
from recdeploy_ops.settings import DEFAULT_PATH, load_settings
from recdeploy_ops.storage.bundles import MANIFEST, parse_manifest
from recdeploy_ops.storage.directories import DirectoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FUZZ = settings(
    derandomize=True, database=None, deadline=None, max_examples=60, suppress_health_check=list(HealthCheck)
)
BATCHES = settings(FUZZ, max_examples=4)
BATCH = 60  # files that one process reads
# What breaks parsers: ends of structures, numbers at a limit, other encodings.
PIECES = [
    b"",
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x80",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b"\n",
    b"null",
    b"1e999",
    b"-1",
]


@st.composite
def damage(draw: st.DrawFn, content: bytes) -> bytes:
    """Return the content with pieces replaced, inserted or cut out."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.sampled_from([0, 1, 1, 2, 8, len(content)]))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=12))
        content = content[:start] + piece + content[start + length :]
    return content


# Any JSON at all: it is what a reader of an object's fields is least prepared for.
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["files", "version", "seq", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)
ANY_JSON = VALUES.map(lambda value: json.dumps(value).encode())


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("artifact"))


@contextlib.contextmanager
def file_of(content: bytes, name: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / name).write_bytes(content)
        yield folder / name
    finally:
        shutil.rmtree(folder)


@FUZZ
@given(st.data())
def test_a_damaged_archive_is_unpacked_or_refused(artifact: Path, data: st.DataObject) -> None:
    with file_of(b"", "a.zip") as path:
        zip_artifact(artifact, path)
        path.write_bytes(data.draw(damage(path.read_bytes())))
        with contextlib.suppress(IntegrityError):
            unzip_artifact(path, path.parent / "product")
        with contextlib.suppress(ArtifactError):
            unpack(path, path.parent / "emulator")


@FUZZ
@given(st.data())
def test_a_damaged_manifest_is_read_or_refused(artifact: Path, data: st.DataObject) -> None:
    content = data.draw(damage((artifact / MANIFEST).read_bytes()) | ANY_JSON | st.binary(max_size=50))
    with contextlib.suppress(IntegrityError):
        bundle = parse_manifest("a", content)
        assert all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in bundle.files)


READ_ALL = """
def read_all(function, *paths):
    for path in paths:
        try:
            answer = globals()[function](path, *ARGUMENTS[function])
            list(answer)
            yield "read"
        except UnreadableError:
            yield "refused"

ARGUMENTS = {"read_fallback": [], "read_products": [], "read_rankings": [], "sample_users": [5], "sample_lists": [5, 0]}
"""


@pytest.mark.parametrize(
    ("name", "function"),
    [
        (FALLBACK, "read_fallback"),
        (DATABASE, "read_products"),
        (DATABASE, "read_rankings"),
        (DATABASE, "sample_users"),
        (DATABASE, "sample_lists"),
    ],
)
def test_a_damaged_file_of_an_artifact_is_read_or_refused(artifact: Path, name: str, function: str) -> None:
    source = Path(readers.__file__).read_text(encoding="utf-8") + READ_ALL
    whole = (artifact / name).read_bytes()

    @BATCHES
    @given(st.lists(damage(whole), min_size=BATCH, max_size=BATCH))
    def read(contents: list[bytes]) -> None:
        with file_of(b"", "first") as first:
            paths = [first.with_name(str(number)) for number in range(len(contents))]
            for path, content in zip(paths, contents, strict=True):
                path.write_bytes(content)
            job = Job(name, "fails", source, first, [("read_all", (function, *map(str, paths)))])
            answers = call_in_clean_process(job, Limits(memory=1 << 30, output=1 << 20, seconds=60))
        assert len(answers) == len(contents)

    read()


@FUZZ
@given(st.data())
def test_a_damaged_settings_file_is_read_or_refused_in_a_short_text(data: st.DataObject) -> None:
    with file_of(data.draw(damage(DEFAULT_PATH.read_bytes())), "recommender.yaml") as path:
        messages = []
        try:
            load_settings(path)
        except SettingsError as err:
            messages.append(err.message)
        assert all(len(message) < 5_000 for message in messages)


def read_source_of(store: DirectoryStore, key: str) -> object:
    return dict(read_source(SimpleNamespace(store=store), key))


@FUZZ
@given(st.data())
def test_a_damaged_entry_of_the_ledger_is_read_or_refused(data: st.DataObject) -> None:
    entry = chain(opened())[-1]
    content = data.draw(damage(entry.encode()) | ANY_JSON | st.binary(max_size=50))
    with contextlib.suppress(IntegrityError):
        assert decode(content).encode() == content


def list_stored_backups(store: DirectoryStore) -> object:
    manifest = json.dumps({"version": 1, "files": {"metadata.json": "0"}}).encode()
    store.replace("backups/v1_20260302_030000/manifest.json", manifest)
    print_backups(backups := read_backups(store, ()))
    return backups


FINDING = {"gate": "churn", "verdict": "PASS", "value": 0.5, "message": "as before"}
REPORT = {"verdict": "PASS", "findings": [FINDING], "details": {"twins": {"floor": 0.25}}}
STATE = {"project": "q", "version": 3, "production": {"url": "x", "version": 2}}


@pytest.mark.parametrize(
    ("key", "whole", "read"),
    [
        (CURRENT, STATE, read_current),
        ("backups/deployment_state.json", STATE, lambda store: find_foreign_state_file(store, "p")),
        ("backups/v1_20260302_030000/metadata.json", {"model_id": "m", "version": 1}, list_stored_backups),
        ("report.json", REPORT, lambda store: read_report(store, SimpleNamespace(report="report.json"))),
        ("settings.json", {"source": {"user_column": "u"}}, lambda store: read_source_of(store, "settings.json")),
    ],
)
def test_a_damaged_file_of_the_storage_is_read_or_refused(
    key: str, whole: dict[str, Any], read: Callable[[DirectoryStore], object]
) -> None:
    content = json.dumps(whole).encode()

    @FUZZ
    @given(damage(content) | ANY_JSON | st.binary(max_size=50))
    def check(content: bytes) -> None:
        with file_of(b"", "x") as path:
            store = DirectoryStore(path.parent.as_uri())
            store.replace(key, content)
            with contextlib.suppress(IntegrityError):
                read(store)

    check()
