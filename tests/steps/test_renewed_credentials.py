"""Credentials that change while a process lives, and what OCI says of clocks and of too many failures."""

import configparser
import email.utils
import time
from pathlib import Path

import pytest
from steps.factories import create_project, extra_of

from oci_emulator.testing import running_emulator
from recdeploy_ops.domain.errors import CloudRefusedError, CloudUnavailableError
from recdeploy_ops.oci_clients.profiles import OciProfile
from recdeploy_ops.oci_clients.sessions import OciSession

FIVE_MINUTES = 300


@pytest.fixture(scope="module")
def own_emulator(tmp_path_factory):
    """An emulator of these tests alone: others keep their keys."""
    with running_emulator(tmp_path_factory.mktemp("renewals")) as emulator:
        yield emulator


@pytest.fixture
def key_fields(own_emulator):
    return extra_of(own_emulator, create_project(own_emulator))


@pytest.fixture
def token_fields(own_emulator, key_fields):
    config = configparser.ConfigParser()
    config.read(own_emulator.config_file)
    token = config["SESSION"]["security_token_file"]
    return {**key_fields, "auth": "security_token", "security_token_file": token}


def open_session(fields):
    return OciSession(OciProfile.from_fields(fields, source="the test's connection"))


@pytest.mark.parametrize("what", ["token", "key"])
def test_a_renewed_session_is_read_again_by_a_process_that_has_used_the_former_one(own_emulator, token_fields, what):
    session = open_session(token_fields)
    assert session.project_name() == "shop"
    own_emulator.renew(what)

    assert session.project_name() == "shop"


def test_a_renewed_api_key_is_read_again_with_its_own_fingerprint(own_emulator, key_fields):
    session = open_session(key_fields)
    assert session.project_name() == "shop"
    own_emulator.renew("key")

    assert session.project_name() == "shop"
    session.object_storage.get_namespace()  # a client that was made afterwards


@pytest.mark.parametrize("half", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_half_written_key_leaves_the_former_one_in_use_until_it_is_whole(own_emulator, key_fields, tmp_path, half):
    file = tmp_path / "key.pem"
    file.write_bytes(Path(key_fields["key_file"]).read_bytes())
    session = open_session({**key_fields, "key_file": str(file)})
    assert session.project_name() == "shop"
    file.write_text(half)
    assert session.project_name() == "shop"

    own_emulator.renew("key")
    with pytest.raises(CloudRefusedError, match="401"):
        session.project_name()
    file.write_bytes(Path(key_fields["key_file"]).read_bytes())
    assert session.project_name() == "shop"


def test_a_removed_token_leaves_the_former_one_in_use(token_fields, tmp_path):
    token = tmp_path / "token"
    token.write_text(Path(token_fields["security_token_file"]).read_text())
    session = open_session({**token_fields, "security_token_file": str(token)})
    assert session.project_name() == "shop"
    token.unlink()

    assert session.project_name() == "shop"


def test_a_token_that_was_not_renewed_is_named_with_what_to_do(own_emulator, token_fields, tmp_path):
    token = tmp_path / "token"
    token.write_text(Path(token_fields["security_token_file"]).read_text())
    session = open_session({**token_fields, "security_token_file": str(token)})
    own_emulator.renew("token")

    with pytest.raises(CloudRefusedError, match=r"401 NotAuthenticated.*renew its session token .*without a restart"):
        session.project_name()


@pytest.mark.parametrize("ahead", [-2 * FIVE_MINUTES, 2 * FIVE_MINUTES])
def test_a_clock_that_is_wrong_is_named(key_fields, monkeypatch, ahead):
    session = open_session(key_fields)
    real = email.utils.formatdate
    monkeypatch.setattr(email.utils, "formatdate", lambda **how: real(time.time() + ahead, **how))

    with pytest.raises(CloudRefusedError) as refused:
        session.project_name()
    assert "is not within allowed clock skew. Current '" in str(refused.value)
    assert str(refused.value).endswith(
        "Correct the clock of the machine that sent this (chronyc tracking, timedatectl): OCI accepts five minutes."
    )


def test_an_open_circuit_breaker_says_how_long_and_what_failed_last_and_no_dump(no_retries, own_emulator, key_fields):
    session = open_session(key_fields)
    own_emulator.fail_next("GetProject", status=503, message="The service is down.", times=None)
    try:
        for _ in range(10):
            with pytest.raises(CloudUnavailableError, match="OCI refused to read the project"):
                session.project_name()
        with pytest.raises(CloudUnavailableError) as held:
            session.project_name()
    finally:
        own_emulator.clear_faults()

    start, _, end = str(held.value).partition(" for another ")
    assert start == f"OCI failed too often; not sending the request to read the project {key_fields['project_id']}"
    seconds, _, last = end.partition(" s. ")
    assert 0 < int(seconds) <= 30
    assert last == "The last failure was 503 ServiceUnavailable: The service is down."
    assert held.value.__cause__ is None
    assert held.value.__suppress_context__
