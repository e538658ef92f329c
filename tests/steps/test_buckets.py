"""Object Storage as a store, through the real SDK."""

import hashlib
from datetime import UTC, datetime, timedelta

import oci
import pytest
from steps.conftest import open_session
from steps.factories import Run, reopen
from stores import StoreContract, folder, sweep  # noqa: F401 - a fixture of the contract

from recdeploy_ops.domain.errors import StorageError
from recdeploy_ops.storage.roots import open_store


@pytest.fixture
def session(profile_fields):
    return open_session(profile_fields)


@pytest.fixture
def bucket(make_bucket):
    return make_bucket()


@pytest.fixture
def store(bucket, session):
    return open_store(f"{bucket}/pre fix/x", session)


class TestBucketStore(StoreContract):
    """The contract, on Object Storage."""

    def test_many_objects_are_listed_page_by_page(self, store, monkeypatch):
        monkeypatch.setattr("recdeploy_ops.storage.buckets.PAGE", 3)
        keys = [f"many/{number:02d}" for number in range(10)]
        for key in keys:
            store.create(key, b"x")

        assert [found.key for found in store.list("many/")] == keys
        assert [found.key for found in store.list("many/", start="many/07")] == keys[7:]


class TestBucketStoreInParts(StoreContract):
    """The contract, where every file is uploaded in parts of one byte."""

    @pytest.fixture(autouse=True)
    def _in_parts(self, monkeypatch):
        monkeypatch.setattr("recdeploy_ops.storage.uploads.SINGLE_BYTES", 0)
        monkeypatch.setattr("recdeploy_ops.storage.uploads.PART_BYTES", 1)

    def test_a_failed_upload_leaves_no_parts_behind(self, emulator, session, store, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"123")
        emulator.fail_next("CommitMultipartUpload", status=400)

        with pytest.raises(StorageError):
            store.upload("file", path, hashlib.sha256(b"123").hexdigest())
        assert session.object_storage.list_multipart_uploads(emulator.namespace, "shop").data == []
        assert list(store.list("")) == []

    def test_a_commit_whose_answer_was_lost_is_success(self, emulator, store, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"123")
        emulator.fail_next("CommitMultipartUpload", kind="drop_after")

        store.upload("file", path, hashlib.sha256(b"123").hexdigest())
        assert store.read("file") == b"123"

    @pytest.mark.parametrize("prefix", ["pre fix/x/", ""], ids=["below a prefix", "in the bucket itself"])
    def test_parts_of_a_killed_writer_are_swept_once_they_are_old(self, emulator, session, bucket, prefix):
        store = open_store(f"{bucket}/{prefix}", session)
        client, details = session.object_storage, oci.object_storage.models.CreateMultipartUploadDetails
        ours, others = f"{prefix}releases/ours", ["another-team/backup.tar", "of another team"]
        for name in (ours, *others):
            client.create_multipart_upload(emulator.namespace, "shop", details(object=name))
        now = datetime.now(UTC)

        assert sweep(store, now - timedelta(hours=1)) == []
        assert sweep(store, now + timedelta(hours=1)) == [ours]
        left = client.list_multipart_uploads(emulator.namespace, "shop").data
        assert sorted(upload.object for upload in left) == others

    def test_a_sweep_whose_answer_was_lost_is_success(self, emulator, session, store):
        details = oci.object_storage.models.CreateMultipartUploadDetails(object="pre fix/x/releases/ours")
        session.object_storage.create_multipart_upload(emulator.namespace, "shop", details)
        emulator.fail_next("AbortMultipartUpload", kind="drop_after")

        assert sweep(store, datetime.now(UTC) + timedelta(hours=1)) == ["pre fix/x/releases/ours"]
        assert session.object_storage.list_multipart_uploads(emulator.namespace, "shop").data == []


def test_a_bucket_that_is_not_there_names_the_setting(session, emulator):
    store = open_store(f"oci://nobody@{emulator.namespace}/x", session)

    with pytest.raises(StorageError, match=r"BucketNotFound(?s:.)*Set 'storage' in include/recommender.yaml"):
        store.check_writable()


def test_whole_releases_are_stored_in_object_storage(context, store, tmp_path):
    context = reopen(context, storage=store.uri)
    Run(context, "run-1", tmp_path).release_fully()
    Run(context, "run-2", tmp_path, shift=1).release_fully()

    assert context.ledger.read().production.version == 2
    assert any(found.key.endswith("metadata.json") for found in store.list("backups/v1_"))
