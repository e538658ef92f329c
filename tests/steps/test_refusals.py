"""What OCI refuses or fails to answer: the error names it before anything is begun."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from steps.factories import Run, reopen

from recdeploy_ops.domain.errors import CloudRefusedError, CloudUnavailableError, SettingsError, StorageError
from recdeploy_ops.oci_clients.profiles import OciProfile
from recdeploy_ops.oci_clients.sessions import OciSession


@pytest.fixture
def run_as(context, profile_fields, tmp_path):
    """Makes a run whose connection has other fields."""

    def make(**changes):
        profile = OciProfile.from_fields({**profile_fields, **changes}, source="The connection 'oci_default'")
        return Run(reopen(context, session=OciSession(profile)), "run-1", tmp_path)

    return make


def test_a_wrong_key_is_named_with_the_fix_and_nothing_is_begun(run_as):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    run = run_as(key_file=None, key_content=pem.decode())

    with pytest.raises(CloudRefusedError, match=r"401(?s:.)*Check tenancy, user, fingerprint and key"):
        run.plan()
    assert run.context.ledger.entries() == ()


def test_the_connection_itself_may_hold_the_key(run_as, profile_fields):
    run = run_as(key_file=None, key_content=Path(profile_fields["key_file"]).read_text())
    run.plan()

    assert run.context.ledger.read().holder == "run-1"


UNREADABLE = {
    "missing": None,
    "empty": "",
    "text": "no key",
    "damaged": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_key_file_that_cannot_be_read_names_the_connection(run_as, tmp_path, content):
    key_file = tmp_path / "key.pem"
    if content is not None:
        key_file.write_text(content)

    with pytest.raises(SettingsError, match=r"The connection 'oci_default'.*key"):
        run_as(key_file=str(key_file)).plan()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("compartment_id", "ocid1.compartment.oc1..nobody"),
        ("project_id", "ocid1.datascienceproject.oc1.iad.nobody"),
    ],
)
def test_an_unknown_compartment_or_project_is_named_and_nothing_is_begun(run_as, field, value):
    run = run_as(**{field: value})

    with pytest.raises(CloudRefusedError, match=f"{value}(?s:.)*Correct the OCID in the OCI connection"):
        run.plan()
    assert run.context.ledger.entries() == ()


@pytest.mark.parametrize("field", ["compartment_id", "project_id", "tenancy", "user", "fingerprint", "region"])
def test_a_missing_field_of_the_connection_is_named(profile_fields, field):
    with pytest.raises(SettingsError, match=rf"lacks {field}.*extra.*AIRFLOW_CONN_"):
        OciProfile.from_fields({**profile_fields, field: ""}, source="The connection 'oci_default'")


def test_an_unknown_kind_of_authentication_is_named():
    with pytest.raises(SettingsError, match="'auth' must be one of api_key"):
        OciProfile.from_fields({"auth": "magic"}, source="x")


def test_a_profile_never_shows_its_key(profile_fields):
    profile = OciProfile.from_fields({**profile_fields, "key_content": "SECRET"}, source="x")

    assert "SECRET" not in repr(profile)


def test_a_storage_root_that_cannot_be_written_stops_before_the_lock(run, tmp_path):
    (tmp_path / "storage").write_text("a file")

    with pytest.raises(StorageError, match="storage root"):
        run("run-1").plan()


def test_reads_that_fail_for_a_moment_are_tried_again(context, run, emulator):
    emulator.fail_next("GetProject", status=503, times=2)
    run("run-1").plan()

    assert context.ledger.read().holder == "run-1"


def test_an_outage_that_lasts_is_worth_a_retry_by_airflow(run, emulator, no_retries):
    emulator.fail_next("GetProject", status=503, times=50)

    with pytest.raises(CloudUnavailableError, match="503"):
        run("run-1").plan()


def test_a_refused_connection_is_worth_a_retry_by_airflow(run_as, no_retries):
    with pytest.raises(CloudUnavailableError, match="did not answer"):
        run_as(service_endpoint="http://127.0.0.1:9").plan()
