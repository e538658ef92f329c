"""Handles every OCI request: its operation, faults, signature, retry token and errors."""

import logging
import time
import uuid
from collections.abc import Callable, Mapping
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
    """The ASGI application of all OCI services.

    The keys of `endpoints` are service and operation; `observe` is told each answered call and its seconds.
    """

    endpoints: Endpoints
    operations: OperationTable
    signatures: SignatureVerifier
    retry_tokens: RetryTokens
    store: Store
    faults: Faults
    calls: Calls
    connections: Connections
    incoming: Path
    observe: Callable[[Call, float], None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        request_id = request.headers.get("opc-request-id") or uuid.uuid4().hex.upper()
        call = self.calls.add(request.method, _raw_path(scope), scope["query_string"].decode("latin-1"), request_id)
        start = time.monotonic()
        try:
            response = await self._answer(request, call)
        except (ConnectionDroppedError, ClientDisconnect):
            call.dropped = True
            self.calls.save(call)
            await self.connections.cut(scope)
            return
        except OciError as err:
            response = failure(err)
        except Exception:  # a mistake in the emulator is an error response, not a closed connection
            log.exception("%s %s failed", request.method, call.path)
            response = failure(InternalServerError("The emulator failed; its log has the traceback."))
        call.status = response.status_code
        self.calls.save(call)
        self.observe(call, time.monotonic() - start)
        MutableHeaders(raw=response.raw_headers)["opc-request-id"] = request_id
        await response(scope, receive, send)

    async def _answer(self, request: Request, call: Call) -> Response:
        match = self.operations.match(request.method, call.path)
        call.operation = match.operation.name
        self.calls.save(call)
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
        oci_request = OciRequest(*parts, nth=call.nth, fault=fault)
        if isinstance(endpoint, Proxied):
            return await endpoint.run(oci_request)
        async with self.retry_tokens.alone(oci_request):
            if isinstance(endpoint, Plain):
                return self.retry_tokens.replay(oci_request) or self._change(oci_request, endpoint)
            return await self._receive(request, oci_request, endpoint, digest)

    def _change(self, oci_request: OciRequest, endpoint: Plain) -> Response:
        """Run an endpoint and remember its retry token in one transaction."""
        with self._seen_by(oci_request), self.store.transaction(commit=_is_committed(oci_request)):
            response = endpoint.run(oci_request)
            self.retry_tokens.remember(oci_request, response)
        return response

    async def _receive(
        self, request: Request, oci_request: OciRequest, endpoint: Uploading, digest: str | None
    ) -> Response:
        """Run an endpoint that takes a file. A replay reads the file too, to check that it is the same one."""
        if not self.retry_tokens.knows(oci_request):
            endpoint.admit(oci_request)
        async with received(request, self.incoming) as upload:
            _check_digest(digest, upload.sha256)
            replayed = self.retry_tokens.replay(oci_request, upload.sha256)
            if replayed:
                return replayed
            with self.store.transaction(commit=_is_committed(oci_request)):
                response = endpoint.run(oci_request, upload)
                self.retry_tokens.remember(oci_request, response, upload.sha256)
        return response

    def _seen_by(self, oci_request: OciRequest) -> AbstractContextManager[None]:
        """Return the context in which the request sees the present state, or an earlier one for a stale read."""
        if oci_request.fault is None or oci_request.fault.kind != "stale_read":
            return nullcontext()
        return self.store.as_of(time.time() - oci_request.fault.seconds)


def _is_committed(oci_request: OciRequest) -> bool:
    return oci_request.fault is None or oci_request.fault.kind != "not_done"


def _check_length(request: Request, endpoint: Endpoint | None) -> None:
    """Refuse too large a body by its header, before the signature is verified."""
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
            raise PayloadTooLargeError(f"The body is larger than {MAX_BODY_BYTES} bytes.")
    return bytes(body)


def _check_digest(signed: str | None, actual: str) -> None:
    if signed is not None and signed != actual:
        raise NotAuthenticatedError("x-content-sha256 is not the digest of the body")


def _signed(request: Request, call: Call, *, streams_body: bool) -> SignedRequest:
    target = f"{call.path}?{call.query}" if call.query else call.path
    headers = {name.lower(): value for name, value in request.headers.items()}
    return SignedRequest(request.method, target, headers, streams_body)


def _raw_path(scope: Scope) -> str:
    """Return the path as sent and signed by the client."""
    raw: bytes = scope["raw_path"]
    return raw.partition(b"?")[0].decode("latin-1")
