"""The application: the control plane below `/_emulator`, everything else is OCI."""

from fastapi import FastAPI

from oci_emulator.control import ControlPlane, explain_bad_control_input
from oci_emulator.emulator import Emulator


def create_app(emulator: Emulator) -> FastAPI:
    """Return the application for uvicorn."""
    app = FastAPI(title="OCI emulator", docs_url=None, redoc_url=None, openapi_url=None)
    explain_bad_control_input(app)
    app.include_router(ControlPlane(emulator).routes())
    # All other paths. Not mounted, because signatures cover the path as sent.
    app.router.redirect_slashes = False
    app.router.default = emulator.gateway()
    return app
