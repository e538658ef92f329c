"""Connections that can be cut, which ASGI has no word for."""

import asyncio
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.auto import AutoHTTPProtocol


class Connections:
    """The open connections, by the client's address."""

    def __init__(self) -> None:
        """Know no connection yet."""
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """Return uvicorn's HTTP protocol, which also tells this object of each connection."""
        known = self._open

        # uvicorn chooses the class, by what is installed, when it is imported.
        class KnownProtocol(AutoHTTPProtocol):  # type: ignore[valid-type, misc]  # chosen at run time
            def connection_made(self, transport: Any) -> None:
                known[transport.get_extra_info("peername")[:2]] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                known.pop(self.client, None)
                super().connection_lost(exc)

        return KnownProtocol

    async def cut(self, scope: Scope) -> None:
        """Close the connection of a request without an answer."""
        if transport := self._open.get(tuple(scope["client"])):
            transport.abort()
        # Let the server notice, so that it does not answer in our place.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
