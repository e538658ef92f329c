"""A local directory as a store."""

import errno
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from events import backed_up, chain, opened
from stores import StoreContract, folder, sweep  # noqa: F401 - a fixture of the contract

from recdeploy_ops.domain.errors import IntegrityError, SettingsError, StorageError
from recdeploy_ops.storage.backups import list_backups, require_recorded
from recdeploy_ops.storage.directories import DirectoryStore
from recdeploy_ops.storage.roots import open_store


@pytest.fixture
def store(tmp_path):
    return DirectoryStore((tmp_path / "root with space").as_uri())


def in_an_hour():
    return datetime.now(UTC) + timedelta(hours=1)


class TestDirectoryStore(StoreContract):
    """The contract, on a local directory."""


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b"])
def test_a_key_cannot_leave_the_root(store, key):
    with pytest.raises(StorageError, match="not a key"):
        store.create(key, b"x")


def test_a_root_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = DirectoryStore((tmp_path / "file" / "root").as_uri())

    with pytest.raises(StorageError, match=r"storage root file:///.*Set 'storage' in include/recommender.yaml"):
        store.check_writable()


def test_a_failed_upload_leaves_no_file(store, tmp_path):
    with pytest.raises(StorageError):
        store.upload("big", tmp_path / "missing", "0" * 64)

    assert list(store.list("")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_local_copy_is_a_link(store):
    store.create("one", b"1")

    assert store.copy("one", "two") is False
    assert store._path("one").samefile(store._path("two"))
    assert store.copy("one", "two") is False  # again, as after a kill


def test_a_copy_to_another_file_system_is_written_again(store, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    store.create("one", b"1")
    link = os.link
    calls = iter([refuse, link])
    monkeypatch.setattr("recdeploy_ops.storage.directories.os.link", lambda *paths: next(calls)(*paths))

    assert store.copy("one", "two") is True
    assert store.read("two") == b"1"
    assert not store._path("one").samefile(store._path("two"))


def test_stored_files_are_read_only_and_can_be_replaced_and_deleted(store, tmp_path):
    (tmp_path / "file").write_bytes(b"2")
    store.create("one", b"1")
    store.upload("two", tmp_path / "file", hashlib.sha256(b"2").hexdigest())
    store.copy("two", "three")

    assert [store._path(key).stat().st_mode & 0o222 for key in ("one", "two", "three")] == [0, 0, 0]
    store.replace("one", b"new")
    store.replace("one", b"newer")
    for key in ("one", "two", "three"):
        store.delete(key)
    assert list(store.list("")) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_stored_files_and_their_folders_are_for_their_user_alone(tmp_path, monkeypatch, umask):
    store = DirectoryStore(f"file://{tmp_path}/a/storage")
    (tmp_path / "file").write_bytes(b"2")
    link, before = os.link, os.umask(umask)
    try:
        store.create("releases/r/one", b"1")
        store.upload("releases/r/two", tmp_path / "file", hashlib.sha256(b"2").hexdigest())
        store.copy("releases/r/two", "backups/b/linked")
        calls = iter([OSError(errno.EXDEV, "Invalid cross-device link"), link])

        def refuse_once(*paths):
            call = next(calls, link)
            if isinstance(call, OSError):
                raise call
            call(*paths)

        monkeypatch.setattr("recdeploy_ops.storage.directories.os.link", refuse_once)
        store.copy("releases/r/two", "backups/c/copied")
        store.replace("current/manifest.json", b"new")
    finally:
        os.umask(before)

    modes = {path.relative_to(tmp_path / "a"): path.stat().st_mode & 0o777 for path in (tmp_path / "a").rglob("*")}
    files = {str(path): mode for path, mode in modes.items() if (tmp_path / "a" / path).is_file()}
    assert files == {
        "storage/releases/r/one": 0o400,
        "storage/releases/r/two": 0o400,
        "storage/backups/b/linked": 0o400,
        "storage/backups/c/copied": 0o400,
        "storage/current/manifest.json": 0o600,
    }
    assert {mode for path, mode in modes.items() if str(path) not in files} == {0o700}


def test_a_root_that_exists_keeps_its_mode(tmp_path):
    root = tmp_path / "home"
    root.mkdir(0o755)
    root.chmod(0o755)

    DirectoryStore(f"file://{root}").create("releases/one", b"1")

    assert root.stat().st_mode & 0o777 == 0o755
    assert (root / "releases").stat().st_mode & 0o777 == 0o700


def test_old_partial_files_of_killed_writers_are_swept(store):
    store.create("folder/whole", b"1")
    partial = store._path("folder/.partial-abc")
    partial.write_bytes(b"half")

    assert sweep(store, datetime.now(UTC) - timedelta(hours=1)) == []
    assert sweep(store, in_an_hour()) == ["folder/.partial-abc"]
    assert not partial.exists()


def test_a_sweep_ignores_a_writer_that_finishes_meanwhile(store, monkeypatch):
    store.create("folder/whole", b"1")
    for name in ("running", "killed"):
        store._path(f"folder/.partial-{name}").write_bytes(b"half")
    lstat = Path.lstat

    def finish_and_lstat(path):
        if path.name == ".partial-running":
            path.unlink()
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", finish_and_lstat)
    assert sweep(store, in_an_hour()) == ["folder/.partial-killed"]


def test_a_sweep_that_may_not_delete_is_an_error_with_a_remedy(store, monkeypatch):
    store._path("folder").mkdir(parents=True)
    store._path("folder/.partial-abc").write_bytes(b"half")

    def refuse(path, *, missing_ok):
        raise PermissionError(errno.EACCES, "no", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageError, match=r"Cannot delete 'folder/.partial-abc'.*make the folder accessible"):
        sweep(store, in_an_hour())


def test_a_listing_ignores_symbolic_links_that_lead_nowhere(store, tmp_path):
    store.create("backups/one", b"1")
    for name, target in (("dangling", "/nonexistent"), ("circle", "circle")):
        (tmp_path / "root with space" / "backups" / name).symlink_to(target)

    assert [stored.key for stored in store.list("backups/")] == ["backups/one"]


MANIFEST = b'{"files": {}, "version": %s}'


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"files": 5}', b'{"files": {"../../x": "0"}}', MANIFEST % b'"x"']
)
def test_an_unreadable_backup_is_reported_and_does_not_hide_the_others(store, caplog, content):
    store.create("backups/v1_20260101_000000/manifest.json", MANIFEST % b"1")
    store.create("backups/v7_20200101_000000/manifest.json", content)

    assert [backup["version"] for backup in list_backups(store)] == [1]
    assert "v7_20200101_000000 cannot be used" in caplog.text


def test_a_backup_that_the_ledger_does_not_have_is_rejected(store):
    store.create("backups/v1_20260101_000000/manifest.json", MANIFEST % b"1")
    [backup] = list_backups(store)
    recorded = backed_up(1, prefix=backup["prefix"], digest=backup["digest"])
    entries = chain(opened(), backed_up(None, prefix=None, digest=None), recorded)

    require_recorded(backup, entries)
    with pytest.raises(IntegrityError, match=f"the ledger says {recorded.digest}: it was changed"):
        require_recorded({**backup, "digest": "other"}, entries)
    for other, history in (({**backup, "prefix": "backups/v2_20260101_000000"}, entries), (backup, chain(opened()))):
        with pytest.raises(IntegrityError, match="the ledger has no such backup"):
            require_recorded(other, history)


@pytest.mark.parametrize(
    ("uri", "message"), [("oci://b@n/p", "needs the OCI connection"), ("relative", "is not a storage root")]
)
def test_a_root_that_cannot_be_opened_is_rejected(uri, message):
    with pytest.raises(SettingsError, match=message):
        open_store(uri, None)
