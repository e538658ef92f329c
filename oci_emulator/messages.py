"""Requests to the services, and their responses."""

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

from oci_emulator.errors import CannotParseRequestError, MissingParameterError, NoEtagMatchError, OciError
from oci_emulator.faults import Fault
from oci_emulator.operations import Operation
from oci_emulator.store import Json, Resource


@dataclass(frozen=True)
class Upload:
    """A body that was streamed to a temporary file."""

    path: Path
    size: int
    md5: str
    sha256: str

    def keep(self, path: Path) -> None:
        """Move the file to `path` atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(path)


@dataclass(frozen=True)
class OciRequest:
    """One authenticated request for one operation.

    `path` has the parameters of the path, `nth` is its number among the calls, `fault` the fault ordered for it.
    """

    operation: Operation
    path: Mapping[str, str]
    query: QueryParams
    headers: Headers
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex.upper())
    body: bytes = b""
    nth: int = 0
    fault: Fault | None = None

    def json(self) -> Json:
        """Return the body as a JSON object."""
        try:
            body = json.loads(self.body or b"{}")
            json.dumps(body, ensure_ascii=False).encode()  # a lone surrogate could not be encoded in an answer
        except (ValueError, RecursionError) as err:
            raise CannotParseRequestError(f"The body of {self.operation.name} is not JSON: {err}") from err
        if not isinstance(body, dict):
            raise CannotParseRequestError(f"The body of {self.operation.name} is not a JSON object.")
        return body

    def required_query(self, name: str) -> str:
        """Return a required query parameter."""
        value = self.query.get(name)
        if not value:
            raise MissingParameterError(f"{self.operation.name} needs the query parameter {name}.")
        return value

    def check_etag(self, resource: Resource) -> None:
        """Refuse if `if-match` is not the etag of the resource."""
        expected = self.headers.get("if-match")
        if expected not in (None, "*", resource.etag):
            raise NoEtagMatchError(f"The etag of {resource.id} is {resource.etag}, not {expected}.")


@dataclass(frozen=True)
class Plain:
    """An endpoint that runs in one transaction."""

    run: Callable[[OciRequest], Response]


@dataclass(frozen=True)
class Uploading:
    """An endpoint whose body is written to a file: `admit` may refuse it before, `run` is one transaction."""

    admit: Callable[[OciRequest], object]
    run: Callable[[OciRequest, Upload], Response]


@dataclass(frozen=True)
class Proxied:
    """An endpoint that passes the request on and changes no state."""

    run: Callable[[OciRequest], Awaitable[Response]]


Endpoint: TypeAlias = Plain | Uploading | Proxied


def document(body: Any, resource: Resource | None = None, *, status: int = 200, **headers: str) -> Response:
    """Return a JSON response with the etag of `resource`; in header names `_` stands for `-`."""
    content = json.dumps(body, ensure_ascii=False).encode()
    return Response(content, status, _headers(resource, headers), "application/json")


def empty(resource: Resource | None = None, *, status: int = 204, **headers: str) -> Response:
    """Return a response without a body."""
    return Response(b"", status, _headers(resource, headers))


def failure(error: OciError) -> Response:
    """Return OCI's form of an error."""
    return document({"code": error.code, "message": error.message}, status=error.status)


def _headers(resource: Resource | None, headers: Mapping[str, str]) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"etag": resource.etag, **named} if resource else named
