"""Verification of the RSA signature on each request (draft-cavage-http-signatures, as OCI uses it)."""

import base64
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from oci_emulator.errors import ClockSkewError, NotAuthenticatedError

MAX_SKEW_SECONDS = 300
DIGEST_HEADER = "x-content-sha256"
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_BODY_HEADERS = frozenset({"content-length", "content-type", DIGEST_HEADER})


@dataclass(frozen=True)
class SignedRequest:
    """The signed parts of a request: method, raw target (path and query as sent), headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    streams_body: bool = False


@dataclass(frozen=True)
class SignatureVerifier:
    """Verifies requests with the known keys, whose ids are `tenancy/user/fingerprint`."""

    keys: Mapping[str, RSAPublicKey]
    now: Callable[[], float] = time.time

    def verify(self, request: SignedRequest) -> str | None:
        """Return the base64 SHA-256 that the body must have, or None if the signature does not cover the body.

        Raises NotAuthenticatedError. A streamed upload needs only date, target and host signed, as the SDK does it.
        """
        parameters = _authorization(request.headers.get("authorization", ""))
        signed = parameters.get("headers", "date").lower().split()
        self._check_coverage(request, signed)
        self._check_date(request.headers, signed)
        self._check_signature(request, parameters, signed)
        return request.headers[DIGEST_HEADER] if DIGEST_HEADER in signed else None

    def _check_coverage(self, request: SignedRequest, signed: list[str]) -> None:
        required = {"(request-target)", "host"}
        if request.method in _BODY_METHODS and not request.streams_body:
            required |= _BODY_HEADERS
        if missing := sorted(required - set(signed)):
            raise NotAuthenticatedError(f"the signature does not cover {', '.join(missing)}")
        if absent := [name for name in signed if name != "(request-target)" and name not in request.headers]:
            raise NotAuthenticatedError(f"the signed header {absent[0]} is not in the request")

    def _check_date(self, headers: Mapping[str, str], signed: list[str]) -> None:
        name = "x-date" if "x-date" in signed else "date"
        if name not in signed:
            raise NotAuthenticatedError("the signature does not cover date")
        try:
            sent = parsedate_to_datetime(headers[name]).timestamp()
        except ValueError as err:
            raise NotAuthenticatedError(f"{name} {headers[name]!r} is not an HTTP date") from err
        now = self.now()
        if abs(now - sent) > MAX_SKEW_SECONDS:
            # As clients report it: https://github.com/oracle/terraform-provider-oci/issues/474
            low, high = _date(now - MAX_SKEW_SECONDS), _date(now + MAX_SKEW_SECONDS + 1)
            raise ClockSkewError(
                f"Date '{_date(sent)}' is not within allowed clock skew. Current '{_date(now)}', valid datetime range:"
                f" ['{low}', '{high}']"
            )

    def _check_signature(self, request: SignedRequest, parameters: Mapping[str, str], signed: list[str]) -> None:
        if parameters.get("algorithm", "").lower() != "rsa-sha256":
            raise NotAuthenticatedError(f"the algorithm is {parameters.get('algorithm')!r}, not 'rsa-sha256'")
        key = self.keys.get(parameters.get("keyId", ""))
        if key is None:
            raise NotAuthenticatedError(f"no key is known as {parameters.get('keyId')!r}")
        text = "\n".join(_signing_line(request, name) for name in signed)
        try:
            signature = base64.b64decode(parameters.get("signature", ""), validate=True)
            key.verify(signature, text.encode("latin-1"), padding.PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError) as err:  # ValueError: not base64, or not ASCII
            raise NotAuthenticatedError("the signature does not match the request") from err


def body_digest(body: bytes) -> str:
    """Return the value of x-content-sha256 for this body."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def _date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True).replace("GMT", "UTC")


def _authorization(header: str) -> dict[str, str]:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "signature":
        raise NotAuthenticatedError("the request has no Signature authorization header")
    return dict(re.findall(r'(\w+)="([^"]*)"', rest))


def _signing_line(request: SignedRequest, name: str) -> str:
    if name == "(request-target)":
        return f"{name}: {request.method.lower()} {request.target}"
    return f"{name}: {request.headers[name]}"
