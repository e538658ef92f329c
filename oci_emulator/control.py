"""The control plane at `/_emulator/`: unsigned JSON for tests and the demo."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oci_emulator.emulator import Emulator
from oci_emulator.errors import OciError
from oci_emulator.faults import ANY_OPERATION, KINDS, Fault, operations_of
from oci_emulator.operations import read_real_operations
from oci_emulator.store import KEEP_VERSIONS_SECONDS
from oci_emulator.timings import Timings

# OCI's code for each status; https://docs.oracle.com/en-us/iaas/Content/API/References/apierrors.htm
_CODES = {
    400: "InvalidParameter",
    401: "NotAuthenticated",
    404: "NotAuthorizedOrNotFound",
    409: "IncorrectState",
    412: "NoEtagMatch",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}

# Method, path below `/_emulator`, and the endpoint of `ControlPlane`.
ORDERS = (
    ("GET", "/health", "health"),
    ("GET", "/timings", "get_timings"),
    ("PUT", "/timings", "put_timings"),
    ("POST", "/faults", "post_fault"),
    ("GET", "/faults", "get_faults"),
    ("DELETE", "/faults", "delete_faults"),
    ("GET", "/calls", "get_calls"),
    ("DELETE", "/calls", "delete_calls"),
    ("POST", "/neighbours", "post_neighbour"),
    ("POST", "/archive", "post_archive"),
    ("POST", "/end-retention", "post_end_retention"),
    ("PUT", "/offers", "put_offers"),
    ("POST", "/renew", "post_renew"),
    ("GET", "/messages", "get_messages"),
    ("POST", "/reset", "reset"),
    ("GET", "/idle", "idle"),
    ("POST", "/snapshot", "snapshot"),
    ("POST", "/restore", "restore"),
)


class FaultOrder(BaseModel):
    """An order for a fault; `operation` is an SDK operation in CamelCase, or `*`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    operation: str
    kind: str
    status: int = Field(500, ge=400, le=599)
    code: str = ""
    message: str = "This fault was ordered from the emulator."
    seconds: float = Field(0.0, ge=0)
    times: int | None = Field(1, ge=1)
    after: int = Field(0, ge=0)
    nth: int | None = Field(None, ge=1)
    state: str = Field("PONDERING", min_length=1)
    probability: float = Field(0.25, ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def any_operation_at_nth(cls, values: Any) -> Any:
        """Default the operation to `*` if the order names its call."""
        if isinstance(values, dict) and "nth" in values:
            return {"operation": ANY_OPERATION, **values}
        return values

    def fault(self) -> Fault:
        """Return the fault; its code defaults to OCI's code for the status."""
        return Fault(**{**self.model_dump(), "code": self.code or _CODES.get(self.status, "InternalServerError")})


class SnapshotOrder(BaseModel):
    """The name of a snapshot, which is also the name of its folder."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")


class NeighbourOrder(BaseModel):
    """A resource of another team: its collection in OCI's path, and its document."""

    model_config = ConfigDict(extra="forbid")

    collection: str
    document: dict[str, Any]


class ArchiveOrder(BaseModel):
    """The OCID of a model whose artifact is to be archived."""

    model_config = ConfigDict(extra="forbid")

    model: str


class OffersOrder(BaseModel):
    """What the region and the tenancy offer; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    withdrawn_shapes: list[str] | None = None
    required_tags: list[Annotated[str, Field(pattern=r"^[^.]+\.[^.]+$")]] | None = None
    limits: dict[Annotated[str, Field(pattern="^[^/]+/[^/]+$")], int] | None = None


class RenewalOrder(BaseModel):
    """What is renewed: the API key, or the session token."""

    model_config = ConfigDict(extra="forbid")

    what: Literal["key", "token"]


class RetentionOrder(BaseModel):
    """The OCID of a secret that is pending deletion."""

    model_config = ConfigDict(extra="forbid")

    secret: str


class ControlPlane:
    """The control plane of an emulator: orders and queries."""

    def __init__(self, emulator: Emulator) -> None:
        """Control `emulator`."""
        self.emulator = emulator
        self.operations = {operation.name for operation in read_real_operations()} | {ANY_OPERATION}

    def routes(self) -> APIRouter:
        """Return the routes below `/_emulator`."""
        router = APIRouter(prefix="/_emulator")
        for method, path, name in ORDERS:
            router.add_api_route(path, getattr(self, name), methods=[method], response_model=None)
        router.add_api_route("/{rest:path}", self.unknown, methods=["GET", "PUT", "POST", "DELETE"])
        return router

    async def health(self) -> dict[str, Any]:
        """Return that the emulator runs; the only request that needs no token."""
        return {"status": "ok"}

    async def get_timings(self) -> dict[str, float]:
        """Return the duration of each transition in seconds."""
        return self.emulator.timings.model_dump()

    async def put_timings(self, changes: Annotated[dict[str, Any], Body()]) -> dict[str, float]:
        """Change some timings; an invalid value changes nothing."""
        checked = Timings.model_validate({**self.emulator.timings.model_dump(), **changes})
        self.emulator.set_timings(checked)
        return checked.model_dump()

    async def post_fault(self, order: FaultOrder) -> dict[str, Any] | JSONResponse:
        """Order a fault."""
        if order.operation not in self.operations:
            return _refused(f"operation: {order.operation!r} is not an operation of OCI in CamelCase, or '*'")
        if order.kind not in KINDS:
            return _refused(f"kind: {order.kind!r} is not one of {', '.join(sorted(KINDS))}")
        if refusal := self._refusal(order):
            return _refused(refusal)
        return asdict(self.emulator.faults.add(order.fault()))

    async def get_faults(self) -> list[dict[str, Any]]:
        """Return the pending faults."""
        return [asdict(fault) for fault in self.emulator.faults.pending]

    async def delete_faults(self) -> dict[str, Any]:
        """Clear the pending faults."""
        self.emulator.faults.clear()
        return {}

    async def get_calls(self, operation: str | None = None) -> list[dict[str, Any]]:
        """Return the calls received, in order; those of one operation, if given."""
        return [call.shown() for call in self.emulator.calls.received(operation)]

    async def delete_calls(self) -> dict[str, Any]:
        """Clear the calls received."""
        self.emulator.calls.clear()
        return {}

    async def post_neighbour(self, order: NeighbourOrder) -> dict[str, Any] | JSONResponse:
        """Add a resource of another team."""
        try:
            return {"id": self.emulator.neighbours.add(order.collection, order.document)}
        except OciError as err:
            return _refused(str(err))

    async def post_archive(self, order: ArchiveOrder) -> dict[str, Any] | JSONResponse:
        """Archive a model's artifact, as a retention policy does."""
        try:
            self.emulator.models.archive(order.model)
        except OciError as err:
            return _refused(str(err))
        return {}

    async def post_end_retention(self, order: RetentionOrder) -> dict[str, Any] | JSONResponse:
        """Delete a secret that is pending deletion."""
        try:
            self.emulator.secrets.end_retention(order.secret)
        except OciError as err:
            return _refused(str(err))
        return {}

    async def put_offers(self, order: OffersOrder) -> dict[str, Any]:
        """Change what the region and the tenancy offer."""
        self.emulator.offers.change(**order.model_dump(exclude_none=True))
        return {}

    async def post_renew(self, order: RenewalOrder) -> dict[str, Any]:
        """Renew a credential."""
        self.emulator.renew(order.what)
        return {}

    async def get_messages(self) -> list[dict[str, Any]]:
        """Return the messages that were published, in order."""
        return self.emulator.topics.messages()

    async def reset(self) -> dict[str, Any]:
        """Remove everything except the credentials."""
        await self.emulator.reset()
        return {}

    async def idle(self) -> dict[str, Any]:
        """Answer when every work request has ended."""
        await self.emulator.rollouts.until_idle()
        return {}

    async def snapshot(self, order: SnapshotOrder) -> dict[str, Any]:
        """Save the state under a name when every work request has ended."""
        await self.emulator.snapshot(order.name)
        return {}

    async def restore(self, order: SnapshotOrder) -> dict[str, Any] | JSONResponse:
        """Restore the state of a snapshot."""
        try:
            await self.emulator.restore(order.name)
        except KeyError:
            return _refused(f"name: no snapshot is called {order.name!r}")
        return {}

    def _refusal(self, order: FaultOrder) -> str | None:
        """Return why a well-formed order is invalid, or None."""
        admitted, count = operations_of(order.kind), self.emulator.calls.count
        names = {*(admitted or self.operations), ANY_OPERATION} if order.nth else admitted
        if names is not None and order.operation not in names:
            return f"operation: {order.kind} is a fault of {', '.join(sorted(admitted or ()))} only"
        if order.nth and order.after:
            return "after: not allowed together with nth"
        if order.nth and order.nth <= count:
            return f"nth: call {order.nth} has passed; {count} calls have come since DELETE calls"
        if order.kind == "stale_read" and not 0 < order.seconds <= KEEP_VERSIONS_SECONDS:
            return f"seconds: how old the answer is, more than 0 and at most {KEEP_VERSIONS_SECONDS:.0f}"
        return None

    async def unknown(self, rest: str, request: Request) -> JSONResponse:
        """Answer a mistyped path with 404, instead of OCI's 401."""
        return JSONResponse({"error": f"The control plane has no {request.method} /_emulator/{rest}."}, 404)


def explain_bad_control_input(app: FastAPI) -> None:
    """Answer invalid input to the control plane with 400 and the reason."""

    async def explain(_: Request, err: Exception) -> JSONResponse:
        if not isinstance(err, RequestValidationError | ValidationError):
            raise err
        return _refused("; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in err.errors()))

    app.add_exception_handler(RequestValidationError, explain)
    app.add_exception_handler(ValidationError, explain)


def _refused(reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, 400)
