import base64
import email.utils
import hashlib
import http.client
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from oci.data_science import DataScienceClient
from oci.exceptions import ServiceError

from oci_emulator.testing import EmulatorError, running_emulator
from tests.emulator.clouds import Cloud, refusal

BODY_HEADERS = ("content-length", "content-type", "x-content-sha256")


@dataclass(frozen=True)
class Signer:
    """Signs as the SDK does, and lets a test change each part."""

    host: str
    key_id: str
    key: rsa.RSAPrivateKey
    signed: tuple[str, ...] = ("date", "(request-target)", "host")

    def headers(self, method: str, target: str, body: bytes = b"", **changes: str) -> dict[str, str]:
        """Return the signed headers of a request."""
        headers = {"date": email.utils.formatdate(usegmt=True), "host": self.host}
        signed = list(self.signed)
        if method in ("POST", "PUT"):
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            headers |= {"content-length": str(len(body)), "content-type": "application/json"}
            headers |= {"x-content-sha256": digest}
            signed += BODY_HEADERS
        headers |= changes
        lines = [f"{name}: {headers.get(name, method.lower() + ' ' + target)}" for name in signed]
        signature = self.key.sign("\n".join(lines).encode(), padding.PKCS1v15(), hashes.SHA256())
        fields = {"algorithm": "rsa-sha256", "headers": " ".join(signed), "keyId": self.key_id}
        fields["signature"] = base64.b64encode(signature).decode()
        text = ",".join(f'{name}="{value}"' for name, value in fields.items())
        return {**headers, "authorization": f'Signature version="1",{text}'}

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer."""
        connection = http.client.HTTPConnection(self.host, timeout=10)
        try:
            connection.request(method, target, body or None, dict(headers))
            response = connection.getresponse()
            assert response.headers["opc-request-id"]
            return response.status, response.read()
        finally:
            connection.close()


@pytest.fixture
def signer(cloud: Cloud) -> Signer:
    config = cloud.emulator.config
    key = serialization.load_pem_private_key(Path(config["key_file"]).read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    key_id = f"{config['tenancy']}/{config['user']}/{config['fingerprint']}"
    return Signer(cloud.emulator.url.removeprefix("http://"), key_id, key)


@pytest.fixture
def projects(cloud: Cloud) -> str:
    return f"/20190101/projects?compartmentId={cloud.compartment}"


def test_a_signed_request_is_answered(signer: Signer, projects: str) -> None:
    assert signer.send("GET", projects, signer.headers("GET", projects)) == (200, b"[]")


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def in_seconds(seconds: float) -> str:
    """Return the HTTP date in so many seconds."""
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


# What a client sends instead of the headers of a signed GET.
WRONG_HEADERS: dict[str, Callable[[Signer, str], dict[str, str]]] = {
    "no signature": lambda _, __: {"date": in_seconds(0)},
    "the signature of another key": lambda signer, target: replace(signer, key=new_key()).headers("GET", target),
    "the signature of another path": lambda signer, target: signer.headers("GET", target.replace("projects", "models")),
    "the signature of another query": lambda signer, target: signer.headers("GET", f"{target}&limit=1"),
    "the signature of another method": lambda signer, target: signer.headers("HEAD", target),
    "the signature of another date": lambda signer, target: signer.headers("GET", target) | {"date": in_seconds(-5)},
    "a date in the past": lambda signer, target: signer.headers("GET", target, date=in_seconds(-301)),
    "a date in the future": lambda signer, target: signer.headers("GET", target, date=in_seconds(310)),
    "a date that is not one": lambda signer, target: signer.headers("GET", target, date="yesterday"),
}


def assert_not_authenticated(signer: Signer, target: str, headers: dict[str, str]) -> None:
    status, body = signer.send("GET", target, headers)
    assert status == 401
    assert b'"code": "NotAuthenticated"' in body


@pytest.mark.parametrize("wrong_headers", WRONG_HEADERS.values(), ids=WRONG_HEADERS)
def test_a_wrongly_signed_request_is_refused(
    wrong_headers: Callable[[Signer, str], dict[str, str]], signer: Signer, projects: str
) -> None:
    assert_not_authenticated(signer, projects, wrong_headers(signer, projects))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(":", ";", id="an unknown fingerprint"),
        pytest.param("ocid1.user.", "ocid1.user.other.", id="another user"),
        pytest.param("ocid1.tenancy.", "ocid1.tenancy.other.", id="another tenancy"),
        pytest.param("rsa-sha256", "hmac-sha256", id="another algorithm"),
        pytest.param('signature="', 'signature="!', id="a signature that is not base64"),
        pytest.param('signature="', 'signature="é', id="a signature that is not ASCII"),
    ],
)
def test_an_altered_authorization_is_refused(old: str, new: str, signer: Signer, projects: str) -> None:
    headers = signer.headers("GET", projects)
    assert old in headers["authorization"]
    headers["authorization"] = headers["authorization"].replace(old, new)
    assert_not_authenticated(signer, projects, headers)


@pytest.mark.parametrize("unsigned", ["date", "(request-target)", "host"])
def test_a_signature_must_cover_date_target_and_host(unsigned: str, signer: Signer, projects: str) -> None:
    signed = tuple(name for name in signer.signed if name != unsigned)
    assert_not_authenticated(signer, projects, replace(signer, signed=signed).headers("GET", projects))


def test_a_body_that_was_changed_after_signing_is_refused(signer: Signer) -> None:
    signed, sent = b'{"displayName": "a"}', b'{"displayName": "b"}'
    status, body = signer.send("POST", "/20190101/projects", signer.headers("POST", "/20190101/projects", signed), sent)
    assert status == 401
    assert b"x-content-sha256" in body


@pytest.mark.parametrize("body", [b'{"displayName": "\\ud800"}', b'{"displayName": "\xed\xa0\x80"}'])
def test_a_lone_surrogate_in_a_body_is_refused(signer: Signer, body: bytes) -> None:
    status, answer = signer.send("POST", "/20190101/projects", signer.headers("POST", "/20190101/projects", body), body)
    assert status == 400
    assert b"is not JSON" in answer


def test_a_body_that_is_not_signed_is_refused(signer: Signer) -> None:
    headers = signer.headers("GET", "/20190101/projects")
    status, body = signer.send("POST", "/20190101/projects", headers, b"{}")
    assert status == 401
    assert b"does not cover content-length" in body


def test_predict_is_refused_without_a_signature(signer: Signer, cloud: Cloud) -> None:
    deployment = cloud.deployment()
    status, _ = signer.send("POST", f"/{deployment}/predict", {"content-type": "application/json"}, b"{}")
    assert status == 401


def test_a_streamed_upload_is_signed_without_its_body(signer: Signer, cloud: Cloud) -> None:
    target = f"/n/{cloud.emulator.namespace}/b/{cloud.bucket.name}/o/free"
    headers = signer.headers("GET", target)  # signs date, target and host alone
    assert signer.send("PUT", target, headers, b"content")[0] == 401  # the target has the method GET
    cloud.bucket.put_object("free", b"content")


def test_the_sdk_reports_a_wrong_key(cloud: Cloud) -> None:
    pem = new_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    config = {name: value for name, value in cloud.emulator.config.items() if name != "key_file"}
    client = cloud.client(DataScienceClient, config={**config, "key_content": pem.decode()})
    assert refusal(client.list_projects, cloud.compartment) == (401, "NotAuthenticated")


def test_names_that_need_escaping_are_verified_as_sent(cloud: Cloud) -> None:
    for name in ("a b+c", "ключ/ユーザー7", "per%20cent", "que?stion#hash", "~tilde'quote"):
        cloud.bucket.put_object(name, name.encode())
        assert cloud.bucket.read(name) == name.encode()
    assert cloud.bucket.names(prefix="ключ/") == ["ключ/ユーザー7"]


def test_a_renewed_key_replaces_the_former_one(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:  # of its own: the other tests keep their key
        cloud = Cloud(emulator)
        former = cloud.client(DataScienceClient)
        assert former.list_projects(cloud.compartment).data == []

        emulator.renew("key")
        assert refusal(former.list_projects, cloud.compartment) == (401, "NotAuthenticated")
        assert cloud.client(DataScienceClient).list_projects(cloud.compartment).data == []
        with pytest.raises(EmulatorError, match="'key' or 'token'"):
            emulator.renew("password")


@pytest.mark.parametrize("ahead", [-301, 301])
def test_a_wrong_clock_is_refused_in_the_words_of_oci(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    real = email.utils.formatdate
    monkeypatch.setattr(email.utils, "formatdate", lambda **how: real(time.time() + ahead, **how))

    with pytest.raises(ServiceError) as caught:
        cloud.science.list_projects(cloud.compartment)
    assert (caught.value.status, caught.value.code) == (401, "NotAuthenticated")
    date = r"'\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d UTC'"
    words = rf"Date {date} is not within allowed clock skew\. Current {date}, valid datetime range: \[{date}, {date}\]"
    assert re.fullmatch(words, caught.value.message)
