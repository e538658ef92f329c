"""The control plane at `/_emulator/`: unsigned JSON for tests and the demo."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oci_emulator.emulator import Emulator
from oci_emulator.faults import ANY_OPERATION, KINDS, UPDATE_KINDS, UPDATE_OPERATION, Fault
from oci_emulator.operations import read_real_operations
from oci_emulator.timings import Timings


class FaultOrder(BaseModel):
    """A fault as it is ordered; `operation` is an SDK operation in CamelCase, or `*`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    operation: str
    kind: str
    status: int = Field(500, ge=400, le=599)
    code: str = "InternalServerError"
    message: str = "This fault was ordered from the emulator."
    seconds: float = Field(0.0, ge=0)
    times: int = Field(1, ge=1)
    after: int = Field(0, ge=0)


class ControlPlane:
    """What can be ordered from an emulator, and asked about it."""

    def __init__(self, emulator: Emulator) -> None:
        """Control `emulator`."""
        self.emulator = emulator
        self.operations = {operation.name for operation in read_real_operations()} | {ANY_OPERATION}

    def routes(self) -> APIRouter:
        """Return the routes below `/_emulator`."""
        router = APIRouter(prefix="/_emulator")
        for method, path, endpoint in (
            ("GET", "/health", self.health),
            ("GET", "/timings", self.get_timings),
            ("PUT", "/timings", self.put_timings),
            ("POST", "/faults", self.post_fault),
            ("GET", "/faults", self.get_faults),
            ("DELETE", "/faults", self.delete_faults),
            ("GET", "/calls", self.get_calls),
            ("DELETE", "/calls", self.delete_calls),
            ("POST", "/reset", self.reset),
        ):
            router.add_api_route(path, endpoint, methods=[method], response_model=None)
        router.add_api_route("/{rest:path}", self.unknown, methods=["GET", "PUT", "POST", "DELETE"])
        return router

    async def health(self) -> dict[str, Any]:
        """Say that the emulator runs, and whom it emulates."""
        return {
            "status": "ok",
            "compartments": list(self.emulator.tenancy.compartments),
            "namespace": self.emulator.tenancy.namespace,
            "config_file": str(self.emulator.credentials.config_file),
        }

    async def get_timings(self) -> dict[str, float]:
        """Return the seconds that each transition takes."""
        return self.emulator.timings.model_dump()

    async def put_timings(self, changes: Annotated[dict[str, Any], Body()]) -> dict[str, float]:
        """Change some timings; one wrong value changes nothing."""
        checked = Timings.model_validate({**self.emulator.timings.model_dump(), **changes})
        for name, value in checked:
            setattr(self.emulator.timings, name, value)
        return checked.model_dump()

    async def post_fault(self, order: FaultOrder) -> dict[str, Any] | JSONResponse:
        """Order a fault."""
        if order.operation not in self.operations:
            return _refused(f"operation: {order.operation!r} is not an operation of OCI in CamelCase, or '*'")
        if order.kind not in KINDS:
            return _refused(f"kind: {order.kind!r} is not one of {', '.join(sorted(KINDS))}")
        if order.kind in UPDATE_KINDS and order.operation != UPDATE_OPERATION:
            return _refused(f"operation: {order.kind} is a fault of {UPDATE_OPERATION} only")
        return asdict(self.emulator.faults.add(Fault(**order.model_dump())))

    async def get_faults(self) -> list[dict[str, Any]]:
        """Return the faults that are still to come."""
        return [asdict(fault) for fault in self.emulator.faults.pending]

    async def delete_faults(self) -> dict[str, Any]:
        """Forget the faults that are still to come."""
        self.emulator.faults.clear()
        return {}

    async def get_calls(self, operation: str | None = None) -> list[dict[str, Any]]:
        """Return the calls received, in order; those of one operation, if given."""
        calls = self.emulator.calls.received
        return [call.shown() for call in calls if operation in (None, call.operation)]

    async def delete_calls(self) -> dict[str, Any]:
        """Forget the calls received."""
        self.emulator.calls.clear()
        return {}

    async def reset(self) -> dict[str, Any]:
        """Forget everything but the credentials."""
        await self.emulator.reset()
        return {}

    async def unknown(self, rest: str) -> JSONResponse:
        """Keep what is mistyped here from OCI's 401."""
        return JSONResponse({"error": f"The control plane has nothing at /_emulator/{rest} for this method."}, 404)


def explain_bad_control_input(app: FastAPI) -> None:
    """Answer input that the control plane does not understand with 400 and the reason."""

    async def explain(_: Request, err: Exception) -> JSONResponse:
        if not isinstance(err, RequestValidationError | ValidationError):
            raise err
        return _refused("; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in err.errors()))

    app.add_exception_handler(RequestValidationError, explain)
    app.add_exception_handler(ValidationError, explain)


def _refused(reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, 400)
