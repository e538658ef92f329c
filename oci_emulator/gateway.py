"""What every OCI request goes through: the operation, ordered faults, the signature, retry tokens, errors."""

import logging
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from oci_emulator.calls import Call, Calls
from oci_emulator.connections import Connections
from oci_emulator.disturbances import ConnectionDroppedError, after_work, before_work
from oci_emulator.errors import (
    InternalServerError,
    LengthRequiredError,
    NotAuthenticatedError,
    NotImplementedByEmulatorError,
    OciError,
    PayloadTooLargeError,
)
from oci_emulator.faults import REQUEST_KINDS, Fault, Faults
from oci_emulator.messages import Endpoint, OciRequest, Plain, Proxied, Uploading, failure
from oci_emulator.operations import Match, OperationTable
from oci_emulator.retry_tokens import RetryTokens
from oci_emulator.signatures import SignatureVerifier, SignedRequest, body_digest
from oci_emulator.store import Store
from oci_emulator.uploads import received

MAX_BODY_BYTES = 10 * 1024 * 1024
log = logging.getLogger(__name__)

Endpoints = Mapping[tuple[str, str], Endpoint]


@dataclass(frozen=True)
class Gateway:
    """The ASGI application of all OCI services; `endpoints` are by service and operation name."""

    endpoints: Endpoints
    operations: OperationTable
    signatures: SignatureVerifier
    retry_tokens: RetryTokens
    store: Store
    faults: Faults
    calls: Calls
    connections: Connections
    incoming: Path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        request_id = request.headers.get("opc-request-id") or uuid.uuid4().hex.upper()
        call = self.calls.add(request.method, _raw_path(scope), scope["query_string"].decode("latin-1"), request_id)
        try:
            response = await self._answer(request, call)
        except (ConnectionDroppedError, ClientDisconnect):
            call.dropped = True
            self.calls.note(call)
            await self.connections.cut(scope)
            return
        except OciError as err:
            response = failure(err)
        except Exception:  # whatever is wrong in the emulator, a client gets OCI's error, not a closed connection
            log.exception("%s %s failed", request.method, call.path)
            response = failure(InternalServerError("The emulator failed; its log has the traceback."))
        call.status = response.status_code
        self.calls.note(call)
        MutableHeaders(raw=response.raw_headers)["opc-request-id"] = request_id
        await response(scope, receive, send)

    async def _answer(self, request: Request, call: Call) -> Response:
        match = self.operations.match(request.method, call.path)
        call.operation = match.operation.name
        self.calls.note(call)
        fault = self.faults.take(match.operation.name, REQUEST_KINDS, call.nth)
        await before_work(fault, request.headers, call)
        try:
            return await self._perform(request, match, call, fault)
        finally:
            after_work(fault, request.headers, call)

    async def _perform(self, request: Request, match: Match, call: Call, fault: Fault | None) -> Response:
        operation = match.operation
        endpoint = self.endpoints.get((operation.service, operation.name))
        _check_length(request, endpoint)
        digest = self.signatures.verify(_signed(request, call, streams_body=operation.streams_body))
        if endpoint is None:
            raise NotImplementedByEmulatorError(
                f"{operation.name} ({operation.service}) is an operation of OCI, but not of this emulator."
            )
        body = b"" if isinstance(endpoint, Uploading) else await _read_body(request)
        if not isinstance(endpoint, Uploading):
            _check_digest(digest, body_digest(body))
        parts = (operation, match.parameters, request.query_params, request.headers, call.request_id, body)
        asked = OciRequest(*parts, nth=call.nth, fault=fault)
        if isinstance(endpoint, Proxied):
            return await endpoint.run(asked)
        async with self.retry_tokens.alone(asked):
            if isinstance(endpoint, Plain):
                return self.retry_tokens.replay(asked) or self._change(asked, endpoint)
            return await self._take(request, asked, endpoint, digest)

    def _change(self, asked: OciRequest, endpoint: Plain) -> Response:
        """Run an endpoint in one transaction, together with the memory of its retry token."""
        with self._seen_by(asked), self.store.transaction(keep=_is_kept(asked)):
            response = endpoint.run(asked)
            self.retry_tokens.remember(asked, response)
        return response

    async def _take(self, request: Request, asked: OciRequest, endpoint: Uploading, digest: str | None) -> Response:
        """Run an endpoint that takes a file; it is read before a replay too, which is for the same file only."""
        if not self.retry_tokens.knows(asked):
            endpoint.admit(asked)
        async with received(request, self.incoming) as upload:
            _check_digest(digest, upload.sha256)
            replayed = self.retry_tokens.replay(asked, upload.sha256)
            if replayed:
                return replayed
            with self.store.transaction(keep=_is_kept(asked)):
                response = endpoint.run(asked, upload)
                self.retry_tokens.remember(asked, response, upload.sha256)
        return response

    def _seen_by(self, asked: OciRequest) -> AbstractContextManager[None]:
        """Return the state that the request sees: the present one, or that of a while ago."""
        if asked.fault is None or asked.fault.kind != "stale_read":
            return nullcontext()
        return self.store.as_of(time.time() - asked.fault.seconds)


def _is_kept(asked: OciRequest) -> bool:
    return asked.fault is None or asked.fault.kind != "not_done"


def _check_length(request: Request, endpoint: Endpoint | None) -> None:
    """Refuse by its header a body that would be too large to read, before the signature, as a gateway does."""
    length = request.headers.get("content-length")
    if isinstance(endpoint, Proxied) and length is None:
        raise LengthRequiredError("The request has no content-length.")
    if not isinstance(endpoint, Uploading) and int(length or 0) > MAX_BODY_BYTES:
        raise PayloadTooLargeError(f"The body has {length} bytes; at most {MAX_BODY_BYTES} are accepted.")


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise PayloadTooLargeError(f"The body is larger than the {MAX_BODY_BYTES} bytes that are accepted.")
    return bytes(body)


def _check_digest(signed: str | None, actual: str) -> None:
    if signed is not None and signed != actual:
        raise NotAuthenticatedError("x-content-sha256 is not the digest of the body")


def _signed(request: Request, call: Call, *, streams_body: bool) -> SignedRequest:
    target = f"{call.path}?{call.query}" if call.query else call.path
    headers = {name.lower(): value for name, value in request.headers.items()}
    return SignedRequest(request.method, target, headers, streams_body)


def _raw_path(scope: Scope) -> str:
    """Return the path as the client sent and signed it."""
    raw: bytes = scope["raw_path"]
    return raw.partition(b"?")[0].decode("latin-1")
