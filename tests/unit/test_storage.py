"""A local directory as a store."""

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
        store.upload("big", tmp_path / "missing")

    assert list(store.list("")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
