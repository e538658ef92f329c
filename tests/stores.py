"""The contract of every store; `TestDirectoryStore` and `TestBucketStore` inherit it."""

import hashlib
import threading
from datetime import UTC, datetime, timedelta

import pytest

from recdeploy_ops.domain.errors import (
    IntegrityError,
    KeyExistsError,
    KeyNotFoundError,
    MissingInputError,
)
from recdeploy_ops.storage.bundles import (
    MANIFEST,
    fetch_bundle,
    open_bundle,
    store_bundle,
    verify_bundle,
    write_manifest,
)


def sweep(store, before):
    """Discard what writers left unfinished before a time, and return the names."""
    unfinished = store.find_unfinished(before)
    for one in unfinished:
        store.discard(one)
    return [one.name for one in unfinished]


@pytest.fixture
def folder(tmp_path):
    """Write a local folder with two files and their manifest."""
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "one.csv").write_text("1")
    (folder / "sub" / "two.csv").write_text("2")
    write_manifest(folder, {"rows": 2})
    return folder


class StoreContract:
    """Needs a fixture ``store``."""

    def test_a_created_object_is_read_and_listed(self, store):
        store.create("a/b.txt", b"one")
        store.create("a/c.txt", b"three")
        store.create("b.txt", b"x")

        assert store.read("a/b.txt") == b"one"
        assert [tuple(stored) for stored in store.list("a/")] == [("a/b.txt", 3), ("a/c.txt", 5)]
        assert [stored.key for stored in store.list("", start="a/c.txt")] == ["a/c.txt", "b.txt"]
        assert list(store.list("nothing/")) == []

    def test_a_key_is_written_once_and_writing_the_same_content_again_succeeds(self, store):
        store.create("key", b"one")
        store.create("key", b"one")

        with pytest.raises(KeyExistsError, match="never overwritten"):
            store.create("key", b"two")
        assert store.read("key") == b"one"

    def test_exactly_one_of_many_writers_wins(self, store):
        outcomes = []
        barrier = threading.Barrier(8)

        def write(number):
            barrier.wait()
            try:
                store.create("ledger/1", str(number).encode())
                outcomes.append(number)
            except KeyExistsError:
                pass

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(outcomes) == 1
        assert store.read("ledger/1") == str(outcomes[0]).encode()

    def test_an_object_is_replaced_and_deleted(self, store):
        store.replace("snapshot", b"one")
        store.replace("snapshot", b"two")
        assert store.read("snapshot") == b"two"

        store.delete("snapshot")
        store.delete("snapshot")
        with pytest.raises(KeyNotFoundError, match="'snapshot'"):
            store.read("snapshot")

    def test_a_copy_does_not_follow_its_source(self, store):
        store.create("one", b"1")
        store.copy("one", "two")
        store.delete("one")

        assert store.read("two") == b"1"
        with pytest.raises(KeyNotFoundError):
            store.copy("gone", "three")

    def test_a_file_is_uploaded_once_and_uploading_it_again_succeeds(self, store, tmp_path):
        path, digest = tmp_path / "file", hashlib.sha256(b"12").hexdigest()
        path.write_bytes(b"12")
        store.upload("file", path, digest)
        store.upload("file", path, digest)

        assert store.read("file") == b"12"
        path.write_bytes(b"34")
        with pytest.raises(KeyExistsError):
            store.upload("file", path, hashlib.sha256(b"34").hexdigest())

    def test_a_file_that_changed_after_its_manifest_is_not_stored(self, store, folder):
        (folder / "one.csv").write_text("changed")

        with pytest.raises(IntegrityError, match="changed after the manifest was written"):
            store_bundle(store, "x", folder)
        assert list(store.list("")) == []

    def test_sweeping_leaves_complete_bundles(self, store, folder):
        bundle = store_bundle(store, "x", folder)

        assert sweep(store, datetime.now(UTC) + timedelta(hours=1)) == []
        verify_bundle(store, bundle)

    def test_a_bundle_is_fetched_as_it_was_stored(self, store, folder, tmp_path):
        bundle = store_bundle(store, "releases/r/extract", folder)
        opened = open_bundle(store, bundle.prefix, digest=bundle.digest, made_by="extract")
        fetch_bundle(store, opened, tmp_path / "fetched")

        assert opened == bundle
        assert opened.facts == {"rows": 2}
        for name in ("one.csv", "sub/two.csv", MANIFEST):
            assert (tmp_path / "fetched" / name).read_bytes() == (folder / name).read_bytes()

    def test_a_bundle_without_its_manifest_does_not_exist(self, store, folder):
        bundle = store_bundle(store, "x", folder)
        store.delete(bundle.key(MANIFEST))

        with pytest.raises(MissingInputError, match=r"is gone\. Clear the task 'extract' of this run"):
            open_bundle(store, bundle.prefix, made_by="extract")

        assert store_bundle(store, "x", folder) == bundle  # a second try finishes it

    def test_different_content_gets_a_different_key(self, store, folder):
        one = store_bundle(store, "x", folder)
        (folder / "one.csv").write_text("other")
        write_manifest(folder, {"rows": 2})

        assert store_bundle(store, "x", folder).prefix != one.prefix

    @pytest.mark.parametrize("is_fetched", [True, False])
    def test_a_changed_or_removed_file_is_noticed(self, store, folder, tmp_path, is_fetched):
        def check(bundle):
            if is_fetched:
                fetch_bundle(store, bundle, tmp_path / "target")
            else:
                verify_bundle(store, bundle)

        bundle = store_bundle(store, "x", folder)
        store.replace(bundle.key("one.csv"), b"tampered")
        with pytest.raises(IntegrityError, match=r"one\.csv has the sha256"):
            check(bundle)

        store.delete(bundle.key("one.csv"))
        with pytest.raises(IntegrityError, match=r"one\.csv is listed in its manifest but is gone"):
            check(bundle)

    def test_an_exchanged_manifest_is_noticed(self, store, folder):
        bundle = store_bundle(store, "x", folder)

        with pytest.raises(IntegrityError, match="changed after it was written"):
            open_bundle(store, bundle.prefix, digest="0" * 64, made_by="extract")
