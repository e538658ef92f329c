"""The control plane at `/_emulator/`: unsigned JSON for tests and the demo."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oci_emulator.emulator import Emulator
from oci_emulator.faults import ANY_OPERATION, Fault
from oci_emulator.operations import read_real_operations
from oci_emulator.timings import Timings


class FaultOrder(BaseModel):
    """A fault as it is ordered; `operation` is an SDK operation in CamelCase, or `*`."""

    model_config = ConfigDict(extra="forbid")

    operation: str
    kind: Literal["status", "slow", "drop_before", "drop_after", "work_request_failed", "needs_attention"]
    status: int = Field(500, ge=400, le=599)
    code: str = "InternalServerError"
    message: str = "This fault was ordered from the emulator."
    seconds: float = Field(0.0, ge=0)
    times: int = Field(1, ge=1)
    after: int = Field(0, ge=0)


def control_routes(emulator: Emulator) -> APIRouter:
    """Return the routes of the control plane."""
    router = APIRouter(prefix="/_emulator")
    known = {operation.name for operation in read_real_operations()} | {ANY_OPERATION}

    @router.get("/health")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "compartments": list(emulator.tenancy.compartments),
            "namespace": emulator.tenancy.namespace,
            "config_file": str(emulator.credentials.config_file),
        }

    @router.get("/timings")
    async def get_timings() -> Timings:
        return emulator.timings

    @router.put("/timings")
    async def put_timings(changes: Annotated[dict[str, Any], Body()]) -> Timings:
        # Checked as a whole first, so that one wrong value changes nothing.
        checked = Timings.model_validate({**emulator.timings.model_dump(), **changes})
        for name, value in checked:
            setattr(emulator.timings, name, value)
        return emulator.timings

    @router.post("/faults")
    async def post_fault(order: FaultOrder) -> Any:  # noqa: ANN401 - a fault, or an error
        if order.operation not in known:
            return _refused(f"operation: {order.operation!r} is not an operation of OCI's SDK in CamelCase, or '*'")
        return asdict(emulator.faults.add(Fault(**order.model_dump())))

    @router.get("/faults")
    async def get_faults() -> list[dict[str, Any]]:
        return [asdict(fault) for fault in emulator.faults.pending]

    @router.delete("/faults")
    async def delete_faults() -> dict[str, Any]:
        emulator.faults.clear()
        return {}

    @router.get("/calls")
    async def get_calls() -> list[dict[str, Any]]:
        return [call.shown() for call in emulator.calls.received]

    @router.delete("/calls")
    async def delete_calls() -> dict[str, Any]:
        emulator.calls.clear()
        return {}

    @router.post("/reset")
    async def reset() -> dict[str, Any]:
        await emulator.reset()
        return {}

    @router.api_route("/{rest:path}", methods=["GET", "PUT", "POST", "DELETE"], include_in_schema=False)
    async def unknown(rest: str) -> JSONResponse:
        return JSONResponse({"error": f"The control plane has nothing at /_emulator/{rest} for this method."}, 404)

    return router


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
