import base64
import email.utils
import hashlib
import http.client
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from oci.data_science import DataScienceClient

from tests.emulator.clouds import Cloud, refusal

BODY_HEADERS = ("content-length", "content-type", "x-content-sha256")


class Signer:
    """Signs as the SDK does, but lets a test get each part wrong."""

    def __init__(self, cloud: Cloud) -> None:
        config = cloud.emulator.config
        self.url = urlsplit(cloud.emulator.url)
        self.key_id = f"{config['tenancy']}/{config['user']}/{config['fingerprint']}"
        self.key = serialization.load_pem_private_key(Path(config["key_file"]).read_bytes(), password=None)
        self.signed = ["date", "(request-target)", "host"]
        self.algorithm = "rsa-sha256"

    def headers(self, method: str, target: str, body: bytes = b"", **changes: str) -> dict[str, str]:
        headers = {"date": email.utils.formatdate(usegmt=True), "host": self.url.netloc}
        signed = list(self.signed)
        if method in ("POST", "PUT"):
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            headers |= {"content-length": str(len(body)), "content-type": "application/json"}
            headers |= {"x-content-sha256": digest}
            signed += BODY_HEADERS
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        lines = [f"{name}: {headers.get(name, method.lower() + ' ' + target)}" for name in signed]
        assert isinstance(self.key, rsa.RSAPrivateKey)
        signature = self.key.sign("\n".join(lines).encode(), padding.PKCS1v15(), hashes.SHA256())
        fields = {"algorithm": self.algorithm, "headers": " ".join(signed), "keyId": self.key_id}
        fields["signature"] = base64.b64encode(signature).decode()
        text = ",".join(f'{name}="{value}"' for name, value in fields.items())
        return {**headers, "authorization": f'Signature version="1",{text}'}

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.url.netloc, timeout=10)
        try:
            connection.request(method, target, body or None, dict(headers))
            response = connection.getresponse()
            assert response.headers["opc-request-id"]
            return response.status, response.read()
        finally:
            connection.close()


@pytest.fixture
def signer(cloud: Cloud) -> Signer:
    return Signer(cloud)


@pytest.fixture
def projects(cloud: Cloud) -> str:
    return f"/20190101/projects?compartmentId={cloud.compartment}"


def test_a_signed_request_is_answered(signer: Signer, projects: str) -> None:
    assert signer.send("GET", projects, signer.headers("GET", projects)) == (200, b"[]")


def with_another_key(signer: Signer, target: str) -> dict[str, str]:
    signer.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return signer.headers("GET", target)


def with_unknown_key_id(signer: Signer, target: str) -> dict[str, str]:
    signer.key_id = signer.key_id[:-2] + "zz"
    return signer.headers("GET", target)


def as_another_user(signer: Signer, target: str) -> dict[str, str]:
    signer.key_id = signer.key_id.replace("ocid1.user.", "ocid1.user.other.")
    return signer.headers("GET", target)


def in_another_tenancy(signer: Signer, target: str) -> dict[str, str]:
    signer.key_id = signer.key_id.replace("ocid1.tenancy.", "ocid1.tenancy.other.")
    return signer.headers("GET", target)


def without_signature(signer: Signer, target: str) -> dict[str, str]:
    headers = signer.headers("GET", target)
    del headers["authorization"]
    return headers


def for_another_path(signer: Signer, target: str) -> dict[str, str]:
    return signer.headers("GET", target.replace("projects", "models"))


def for_another_query(signer: Signer, target: str) -> dict[str, str]:
    return signer.headers("GET", f"{target}&limit=1")


def for_another_method(signer: Signer, target: str) -> dict[str, str]:
    return signer.headers("HEAD", target)


def from_the_past(signer: Signer, target: str) -> dict[str, str]:
    return signer.headers("GET", target, date=email.utils.formatdate(time.time() - 301, usegmt=True))


def from_the_future(signer: Signer, target: str) -> dict[str, str]:
    return signer.headers("GET", target, date=email.utils.formatdate(time.time() + 310, usegmt=True))


def with_another_date_sent(signer: Signer, target: str) -> dict[str, str]:
    date = email.utils.formatdate(time.time() - 5, usegmt=True)
    return {**signer.headers("GET", target), "date": date}


def with_no_date(signer: Signer, target: str) -> dict[str, str]:
    return signer.headers("GET", target, date="yesterday")


def without_signing_date(signer: Signer, target: str) -> dict[str, str]:
    signer.signed.remove("date")
    return signer.headers("GET", target)


def without_signing_target(signer: Signer, target: str) -> dict[str, str]:
    signer.signed.remove("(request-target)")
    return signer.headers("GET", target)


def without_signing_host(signer: Signer, target: str) -> dict[str, str]:
    signer.signed.remove("host")
    return signer.headers("GET", target)


def with_another_algorithm(signer: Signer, target: str) -> dict[str, str]:
    signer.algorithm = "hmac-sha256"
    return signer.headers("GET", target)


def with_no_base64(signer: Signer, target: str) -> dict[str, str]:
    headers = signer.headers("GET", target)
    return {**headers, "authorization": headers["authorization"].replace('signature="', 'signature="!')}


def with_no_ascii(signer: Signer, target: str) -> dict[str, str]:
    headers = signer.headers("GET", target)
    return {**headers, "authorization": headers["authorization"].replace('signature="', 'signature="é')}


@pytest.mark.parametrize(
    "spoil",
    [
        with_another_key,
        with_unknown_key_id,
        as_another_user,
        in_another_tenancy,
        without_signature,
        for_another_path,
        for_another_query,
        for_another_method,
        from_the_past,
        from_the_future,
        with_another_date_sent,
        with_no_date,
        without_signing_date,
        without_signing_target,
        without_signing_host,
        with_another_algorithm,
        with_no_base64,
        with_no_ascii,
    ],
)
def test_a_wrongly_signed_request_is_refused(
    spoil: Callable[[Signer, str], dict[str, str]], signer: Signer, projects: str
) -> None:
    status, body = signer.send("GET", projects, spoil(signer, projects))
    assert status == 401
    assert b'"code": "NotAuthenticated"' in body


def test_a_body_that_was_changed_after_signing_is_refused(signer: Signer, cloud: Cloud) -> None:
    signed, sent = b'{"displayName": "a"}', b'{"displayName": "b"}'
    status, body = signer.send("POST", "/20190101/projects", signer.headers("POST", "/20190101/projects", signed), sent)
    assert status == 401
    assert b"x-content-sha256" in body


@pytest.mark.parametrize("body", [b'{"displayName": "\\ud800"}', b'{"displayName": "\xed\xa0\x80"}'])
def test_half_of_a_surrogate_pair_in_a_body_is_refused(signer: Signer, body: bytes) -> None:
    status, said = signer.send("POST", "/20190101/projects", signer.headers("POST", "/20190101/projects", body), body)
    assert status == 400
    assert b"is not JSON" in said


def test_a_body_that_is_not_signed_is_refused(signer: Signer) -> None:
    headers = signer.headers("GET", "/20190101/projects")
    headers["authorization"] = signer.headers("GET", "/20190101/projects")["authorization"]
    status, body = signer.send("POST", "/20190101/projects", headers, b"{}")
    assert status == 401
    assert b"does not cover content-length" in body


def test_predict_is_refused_without_a_signature(signer: Signer, cloud: Cloud) -> None:
    deployment = cloud.deployment()
    status, _ = signer.send("POST", f"/{deployment}/predict", {"content-type": "application/json"}, b"{}")
    assert status == 401


def test_a_streamed_upload_signs_no_body(signer: Signer, cloud: Cloud) -> None:
    target = f"/n/{cloud.emulator.namespace}/b/{cloud.bucket}/o/free"
    signer_headers = signer.headers("GET", target)  # a signature of date, target and host alone
    assert signer.send("PUT", target, signer_headers, b"content")[0] == 401  # signed for GET
    cloud.storage.put_object(cloud.emulator.namespace, cloud.bucket, "free", b"content")


def test_the_sdk_reports_a_wrong_key(cloud: Cloud) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    config = {name: value for name, value in cloud.emulator.config.items() if name != "key_file"}
    client = cloud.client(DataScienceClient, config={**config, "key_content": pem.decode()})
    assert refusal(client.list_projects, cloud.compartment) == (401, "NotAuthenticated")


def test_names_that_need_escaping_are_verified_as_sent(cloud: Cloud) -> None:
    for name in ("a b+c", "ключ/ユーザー7", "per%20cent", "que?stion#hash", "~tilde'quote"):
        cloud.storage.put_object(cloud.emulator.namespace, cloud.bucket, name, name.encode())
        got = cloud.storage.get_object(cloud.emulator.namespace, cloud.bucket, name)
        assert got.data.content == name.encode()
    listed = cloud.storage.list_objects(cloud.emulator.namespace, cloud.bucket, prefix="ключ/").data
    assert [item.name for item in listed.objects] == ["ключ/ユーザー7"]
