"""Object Storage as a store, through the real SDK."""

import oci
import pytest
from steps.factories import Run
from stores import StoreContract, folder  # noqa: F401 - a fixture of the contract

from recdeploy_ops.domain.errors import StorageError
from recdeploy_ops.oci_clients.sessions import OciProfile, OciSession
from recdeploy_ops.storage.stores import open_store


@pytest.fixture
def session(profile_fields):
    return OciSession(OciProfile.from_fields(profile_fields, source="the test's connection"))


@pytest.fixture
def bucket(emulator, session):
    details = oci.object_storage.models.CreateBucketDetails(name="shop", compartment_id=emulator.compartment_id)
    session.object_storage.create_bucket(emulator.namespace, details)
    return f"oci://shop@{emulator.namespace}"


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


def test_a_bucket_that_is_not_there_names_the_setting(session, emulator):
    store = open_store(f"oci://nobody@{emulator.namespace}/x", session)

    with pytest.raises(StorageError, match=r"BucketNotFound(?s:.)*Set 'storage' in include/recommender.yaml"):
        store.check_writable()


def test_a_whole_release_lives_in_object_storage(releases, store, tmp_path):
    releases.store = releases.ledger._store = store
    Run(releases, "run-1", tmp_path).release_fully()
    Run(releases, "run-2", tmp_path, shift=1).release_fully()

    assert releases.ledger.book().production.version == 2
    assert any(found.key.endswith("metadata.json") for found in store.list("backups/v1_"))
