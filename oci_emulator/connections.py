"""Connections that can be cut without an answer: ASGI has no message for that."""

import asyncio
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.auto import AutoHTTPProtocol


class Connections:
    """The open connections by client address."""

    def __init__(self) -> None:
        """Begin without connections."""
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """Return a subclass of uvicorn's HTTP protocol that registers each connection here."""
        connections = self._open

        # uvicorn chooses the base class at import, depending on the installed packages.
        class RegisteringProtocol(AutoHTTPProtocol):  # type: ignore[valid-type, misc]  # chosen at run time
            def connection_made(self, transport: Any) -> None:
                connections[transport.get_extra_info("peername")[:2]] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                connections.pop(self.client, None)
                super().connection_lost(exc)

        return RegisteringProtocol

    async def cut(self, scope: Scope) -> None:
        """Close the connection of a request without an answer."""
        if transport := self._open.get(tuple(scope["client"])):
            transport.abort()
        # Let the server notice, so that it does not answer itself.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
