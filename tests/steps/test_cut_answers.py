"""A truncated answer is an outage: the request is tried again, and no raw error of the HTTP library is raised."""

from __future__ import annotations

import pytest
from web_servers import SilentHandler, serving

from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import CloudRefusedError, CloudUnavailableError
from recdeploy_ops.oci_clients.models import ModelCatalog
from recdeploy_ops.oci_clients.profiles import OciProfile
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.storage.roots import open_store


class CutAnswers(SilentHandler):
    """Promises a hundred bytes, sends ten, and hangs up."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "100")
        self.end_headers()
        self.wfile.write(b"0123456789")
        self.close_connection = True


@pytest.fixture
def session(profile_fields):
    with serving(CutAnswers) as port:
        fields = {**profile_fields, "service_endpoint": f"http://127.0.0.1:{port}"}
        yield OciSession(OciProfile.from_fields(fields, source="the test's connection"))


@pytest.fixture
def store(session):
    return open_store("oci://shop@namespace/recommender", session)


def copy(store):
    store.copy("a", "b")


def read_in_chunks(store):
    with store.open("a") as stream:
        while stream.read(4):
            pass


READS = {"read": lambda store: store.read("a"), "copy": copy, "open": read_in_chunks}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_an_object_that_is_cut_is_an_outage(store, read):
    with pytest.raises(CloudUnavailableError, match="OCI did not answer the request to read oci://shop@namespace/"):
        read(store)


def test_a_ledger_that_is_cut_is_an_outage(settings, session, store):
    with pytest.raises(CloudUnavailableError, match=r"recommender/ledger/snapshot\.jsonl"):
        open_context(settings, store, session, "run-1").refresh()


def test_an_artifact_that_is_cut_is_an_outage(session, tmp_path):
    with pytest.raises(CloudUnavailableError, match="OCI did not answer the request to download the artifact of"):
        ModelCatalog(session).download_artifact("ocid1.datasciencemodel.oc1..x", tmp_path / "artifact.zip")


@pytest.mark.parametrize(
    "error", [OSError("disk full"), CloudRefusedError("no", status=404, code="ObjectNotFound")], ids=lambda e: e.args[0]
)
def test_an_error_raised_while_an_object_is_open_is_passed_on(store, error):
    with pytest.raises(type(error)) as raised, store.open("a"):
        raise error
    assert raised.value is error
