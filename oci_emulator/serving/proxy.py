"""Passes predict requests to the servers of their deployments."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import SystemRandom

from oci_emulator.errors import InternalServerError, ResourceNotFoundError
from oci_emulator.serving.supervisor import ModelServer, Supervisor

PREDICT_SECONDS = 60.0
STALE_TURN = 4
_HEAD_END = b"\r\n\r\n"
_CHANCE = SystemRandom()


@dataclass(frozen=True)
class Prediction:
    """The answer of a model server."""

    status: int
    content_type: str
    body: bytes


@dataclass
class Route:
    """The servers of a deployment.

    A stale server, which an ordered fault leaves running, gives every fourth answer, or each answer with a probability.
    """

    server: ModelServer
    stale: ModelServer | None = None
    probability: float | None = None
    requests: int = 0

    def next_server(self) -> ModelServer:
        """Return the server for the next request."""
        self.requests += 1
        if self.stale is None:
            return self.server
        if self.probability is None:
            return self.server if self.requests % STALE_TURN else self.stale
        return self.stale if _CHANCE.random() < self.probability else self.server

    def servers(self) -> list[ModelServer]:
        """Return the server, and the stale server if there is one."""
        return [self.server] if self.stale is None else [self.server, self.stale]


@dataclass
class Proxy:
    """Knows the servers of each deployment, and switches between servers without a gap."""

    supervisor: Supervisor
    predict_seconds: float = PREDICT_SECONDS
    _routes: dict[str, Route] = field(default_factory=dict)
    _kept: list[ModelServer] = field(default_factory=list)

    def server_of(self, deployment: str) -> ModelServer | None:
        """Return the deployment's server, not the stale one, or None."""
        route = self._routes.get(deployment)
        return route.server if route else None

    async def predict(self, deployment: str, content_type: str, body: bytes) -> Prediction:
        """Pass a request to the deployment's server and return the answer.

        Raises ResourceNotFoundError if nothing is served, InternalServerError without an answer in time.
        """
        route = self._routes.get(deployment)
        if route is None:
            raise ResourceNotFoundError(f"model deployment {deployment} serves no model")
        server = route.next_server()
        with server.answering():
            try:
                async with asyncio.timeout(self.predict_seconds):
                    return await _exchange(server, content_type, body)
            except TimeoutError as err:
                raise InternalServerError(
                    f"The model gave no answer within {self.predict_seconds:.0f} seconds."
                ) from err
            except (OSError, asyncio.IncompleteReadError) as err:
                raise InternalServerError(f"The model server gave no answer: {err}") from err

    async def switch(
        self,
        deployment: str,
        server: ModelServer,
        *,
        stale: ModelServer | None = None,
        probability: float | None = None,
    ) -> None:
        """Send requests to `server` from now on; return when the previous server is idle and stopped.

        A `stale` server is not stopped: see `Route`.
        """
        before = self._routes.get(deployment)
        route = self._routes[deployment] = Route(server, stale, probability)
        for old in before.servers() if before else ():
            if old not in route.servers():
                await self._retire(old)

    async def remove(self, deployment: str) -> None:
        """Stop serving the deployment; return when its last request is answered and its servers are stopped."""
        if route := self._routes.pop(deployment, None):
            for server in route.servers():
                await self._retire(server)

    def routes(self) -> dict[str, Route]:
        """Return the present servers of each deployment."""
        return {deployment: replace(route, requests=0) for deployment, route in self._routes.items()}

    def keep(self, servers: Iterable[ModelServer]) -> None:
        """Let only these servers keep running without a deployment."""
        self._kept = list(servers)

    async def restore(self, routes: Mapping[str, Route]) -> None:
        """Serve with these kept servers again; return when the present ones are stopped, unless they are kept."""
        before = [server for route in self._routes.values() for server in route.servers()]
        self._routes = {deployment: replace(route, requests=0) for deployment, route in routes.items()}
        for server in before:
            await self._retire(server)

    async def clear(self) -> None:
        """Stop all servers at once."""
        self._routes.clear()
        self._kept.clear()
        await self.supervisor.stop_all()

    async def _retire(self, server: ModelServer) -> None:
        await server.drain(self.predict_seconds)
        if server not in self._kept:
            await self.supervisor.stop(server)


async def _exchange(server: ModelServer, content_type: str, body: bytes) -> Prediction:
    """Send one request on a new connection, so that none is sent on a connection that is being closed."""
    reader, writer = await asyncio.open_unix_connection(str(server.socket))
    try:
        head = f"POST /predict HTTP/1.1\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode("latin-1") + body)
        status_line, *lines = (await reader.readuntil(_HEAD_END)).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        answer = await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()
    return Prediction(int(status_line.split(" ")[1]), headers["content-type"], answer)
