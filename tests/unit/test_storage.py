"""A local directory as a store."""

import errno
import os
from datetime import UTC, datetime, timedelta

import pytest
from stores import StoreContract, folder  # noqa: F401 - a fixture of the contract

from recdeploy_ops.domain.errors import StorageError
from recdeploy_ops.storage.directories import DirectoryStore


@pytest.fixture
def store(tmp_path):
    return DirectoryStore((tmp_path / "root with space").as_uri())


class TestDirectoryStore(StoreContract):
    """The contract, on a local directory."""


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b"])
def test_a_key_cannot_leave_the_root(store, key):
    with pytest.raises(StorageError, match="not a key"):
        store.create(key, b"x")


def test_a_root_that_cannot_be_written_names_it_and_the_fix(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = DirectoryStore((tmp_path / "file" / "root").as_uri())

    with pytest.raises(StorageError, match=r"storage root file:///.*Set 'storage' in include/recommender.yaml"):
        store.check_writable()


def test_nothing_half_written_is_left_after_a_failure(store, tmp_path):
    with pytest.raises(StorageError):
        store.upload("big", tmp_path / "missing", "0" * 64)

    assert list(store.list("")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_local_copy_is_a_link(store):
    store.create("one", b"1")

    assert store.copy("one", "two") is False
    assert store._path("one").samefile(store._path("two"))
    assert store.copy("one", "two") is False  # again, as after a kill


def test_a_copy_across_file_systems_is_written_again(store, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    store.create("one", b"1")
    link = os.link
    calls = iter([refuse, link])
    monkeypatch.setattr("recdeploy_ops.storage.directories.os.link", lambda *paths: next(calls)(*paths))

    assert store.copy("one", "two") is True
    assert store.read("two") == b"1"
    assert not store._path("one").samefile(store._path("two"))


def test_what_killed_writers_left_is_swept_once_it_is_old(store):
    store.create("folder/whole", b"1")
    left = store._path("folder/.partial-abc")
    left.write_bytes(b"half")
    now = datetime.now(UTC)

    assert list(store.sweep(now - timedelta(hours=1))) == []
    assert list(store.sweep(now + timedelta(hours=1))) == ["folder/.partial-abc"]
    assert not left.exists()
