"""The application: the control plane below `/_emulator`, everything else is OCI."""

from collections.abc import Collection

from fastapi import FastAPI

from oci_emulator.control import ControlPlane, explain_bad_control_input
from oci_emulator.emulator import Emulator
from oci_emulator.guards import Guard


def create_app(emulator: Emulator, names: Collection[str]) -> FastAPI:
    """Return the application for uvicorn; `names` are hosts that it may be addressed by, besides this machine's."""
    app = FastAPI(title="OCI emulator", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, names=names, token=emulator.credentials.control_token)
    explain_bad_control_input(app)
    app.include_router(ControlPlane(emulator).routes())
    # All other paths. Not mounted, because signatures cover the path as sent.
    app.router.redirect_slashes = False
    app.router.default = emulator.gateway()
    return app
