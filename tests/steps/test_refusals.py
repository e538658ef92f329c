"""What OCI refuses or fails to answer, and what is said of it before anything is begun."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from steps.factories import Run

from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import CloudRefusedError, CloudUnavailableError, SettingsError, StorageError
from recdeploy_ops.oci_clients.sessions import OciProfile, OciSession
from recdeploy_ops.storage.roots import open_store


@pytest.fixture
def context_as(settings, profile_fields):
    """Makes the context of a connection with other fields."""

    def make(**changes):
        profile = OciProfile.from_fields({**profile_fields, **changes}, source="The connection 'oci_default'")
        session = OciSession(profile)
        return open_context(settings, open_store(settings.storage, session), session, "test")

    return make


def test_a_wrong_key_is_named_with_the_fix_and_nothing_is_begun(context_as, tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = context_as(key_file=None, key_content=pem.decode())

    with pytest.raises(CloudRefusedError, match=r"401(?s:.)*Check tenancy, user, fingerprint and key"):
        Run(context, "run-1", tmp_path).plan()
    assert context.ledger.entries() == ()


def test_a_key_may_stand_in_the_connection_itself(context_as, profile_fields, tmp_path):
    content = Path(profile_fields["key_file"]).read_text()
    context = context_as(key_file=None, key_content=content)
    Run(context, "run-1", tmp_path).plan()

    assert context.ledger.read().holder == "run-1"


@pytest.mark.parametrize("content", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
def test_a_key_that_cannot_be_read_names_the_connection(context_as, tmp_path, content):
    key_file = tmp_path / "key.pem"
    key_file.write_text(content)

    with pytest.raises(SettingsError, match="The connection 'oci_default'"):
        Run(context_as(key_file=str(key_file)), "run-1", tmp_path).plan()


def test_a_key_file_that_is_not_there_names_the_connection(context_as, tmp_path):
    with pytest.raises(SettingsError, match=r"The connection 'oci_default'.*key"):
        Run(context_as(key_file=str(tmp_path / "missing.pem")), "run-1", tmp_path).plan()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("compartment_id", "ocid1.compartment.oc1..nobody"),
        ("project_id", "ocid1.datascienceproject.oc1.iad.nobody"),
    ],
)
def test_an_unknown_compartment_or_project_is_named_and_nothing_is_begun(context_as, tmp_path, field, value):
    context = context_as(**{field: value})

    with pytest.raises(CloudRefusedError, match=f"{value}(?s:.)*Correct the OCID in the OCI connection"):
        Run(context, "run-1", tmp_path).plan()
    assert context.ledger.entries() == ()


@pytest.mark.parametrize("field", ["compartment_id", "project_id", "tenancy", "user", "fingerprint", "region"])
def test_a_missing_field_of_the_connection_is_named(profile_fields, field):
    with pytest.raises(SettingsError, match=rf"lacks {field}.*extra.*AIRFLOW_CONN_"):
        OciProfile.from_fields({**profile_fields, field: ""}, source="The connection 'oci_default'")


def test_an_unknown_kind_of_authentication_is_named():
    with pytest.raises(SettingsError, match="'auth' is 'magic', must be one of api_key"):
        OciProfile.from_fields({"auth": "magic"}, source="x")


def test_a_profile_never_shows_its_key(profile_fields):
    profile = OciProfile.from_fields({**profile_fields, "key_content": "SECRET"}, source="x")

    assert "SECRET" not in repr(profile)


def test_a_storage_root_that_cannot_be_written_stops_before_the_lock(context, tmp_path):
    (tmp_path / "storage").write_text("a file")

    with pytest.raises(StorageError, match="storage root"):
        Run(context, "run-1", tmp_path).plan()


def test_passing_failures_of_reads_are_tried_again(context, emulator, tmp_path):
    emulator.fail_next("GetProject", status=503, times=2)
    Run(context, "run-1", tmp_path).plan()

    assert context.ledger.read().holder == "run-1"


def test_a_service_that_stays_away_is_worth_a_retry_by_airflow(context, emulator, tmp_path, monkeypatch):
    monkeypatch.setattr("recdeploy_ops.oci_clients.sessions.ATTEMPTS", 1)
    emulator.fail_next("GetProject", status=503, times=50)

    with pytest.raises(CloudUnavailableError, match="503"):
        Run(context, "run-1", tmp_path).plan()
    emulator.clear_faults()


def test_nobody_listening_is_worth_a_retry_by_airflow(context_as, tmp_path, monkeypatch):
    monkeypatch.setattr("recdeploy_ops.oci_clients.sessions.ATTEMPTS", 1)

    with pytest.raises(CloudUnavailableError, match="did not answer"):
        Run(context_as(service_endpoint="http://127.0.0.1:9"), "run-1", tmp_path).plan()
