"""Refuses requests that a web page sends: the emulator runs on a machine where somebody also uses a browser.

A page of any site can make its reader's browser send requests to this machine, and read the answers where its name was
made to point here (DNS rebinding). Such a request has an `Origin`, or a `Host` that is not the emulator's; the SDK
sends neither. Orders to the control plane also need the token of the ready file, which no page can read.
"""

import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ORDER_HEADER = "x-emulator-token"
CONTROL = "/_emulator"
HEALTH = f"{CONTROL}/health"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Passes a request on, or answers 403."""

    def __init__(self, app: ASGIApp, *, names: Collection[str], token: str) -> None:
        """Guard `app`; `names` are hosts that it may be addressed by, `token` allows orders."""
        self._app = app
        self._names = {name.lower() for name in (*names, *LOCAL_NAMES)}
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        refusal = self._refusal(scope) if scope["type"] == "http" else ""
        if refusal:
            await JSONResponse({"error": refusal}, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        if "origin" in headers:
            return "The emulator answers no web page: the request has an Origin."
        hosts = headers.getlist("host")
        if [_name_of(host) in self._names for host in hosts] != [True]:
            return f"The emulator is not the host {', '.join(hosts)!r}."
        path = scope["path"]
        if path != HEALTH and (path == CONTROL or path.startswith(f"{CONTROL}/")):
            given = headers.get(ORDER_HEADER, "")
            if not secrets.compare_digest(given.encode(), self._token.encode()):
                return f"Orders need the header {ORDER_HEADER} with the token of the ready file."
        return ""


def _name_of(host: str) -> str:
    """Return the name or address in a `Host` header, without its port; empty if it cannot be read."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
