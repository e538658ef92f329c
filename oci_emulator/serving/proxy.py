"""The way of a predict request to the server of its deployment."""

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
    """What a model server answered."""

    status: int
    content_type: str
    body: bytes


@dataclass
class Route:
    """Who answers for a deployment.

    A stale server, which an ordered fault leaves behind, gives one answer in four, or each answer with a probability.
    """

    server: ModelServer
    stale: ModelServer | None = None
    probability: float | None = None
    asked: int = 0

    def next_server(self) -> ModelServer:
        """Return the server of the next request."""
        self.asked += 1
        if self.stale is None:
            return self.server
        if self.probability is None:
            return self.server if self.asked % STALE_TURN else self.stale
        return self.stale if _CHANCE.random() < self.probability else self.server

    def servers(self) -> list[ModelServer]:
        """Return the server, and the stale one if there is one."""
        return [self.server] if self.stale is None else [self.server, self.stale]


@dataclass
class Proxy:
    """Knows which server answers for which deployment, and switches from one to the next without a gap."""

    supervisor: Supervisor
    predict_seconds: float = PREDICT_SECONDS
    _routes: dict[str, Route] = field(default_factory=dict)
    _kept: list[ModelServer] = field(default_factory=list)

    def server_of(self, deployment: str) -> ModelServer | None:
        """Return the server that answers for the deployment, not the stale one; None when there is none."""
        route = self._routes.get(deployment)
        return route.server if route else None

    async def predict(self, deployment: str, content_type: str, body: bytes) -> Prediction:
        """Pass a request to the deployment's server and return its answer.

        Raises ResourceNotFoundError when nothing is served there, InternalServerError when the server gives
        no answer or takes more than a minute.
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
        """Send requests to `server` from now on; return when the one before is idle and stopped.

        A `stale` one is not stopped: see `Route`.
        """
        before = self._routes.get(deployment)
        route = self._routes[deployment] = Route(server, stale, probability)
        for old in before.servers() if before else ():
            if old not in route.servers():
                await self._retire(old)

    async def remove(self, deployment: str) -> None:
        """Serve the deployment no longer; return when its last request is answered and the server stopped."""
        if route := self._routes.pop(deployment, None):
            for server in route.servers():
                await self._retire(server)

    def routes(self) -> dict[str, Route]:
        """Return who answers for each deployment now."""
        return {deployment: replace(route, asked=0) for deployment, route in self._routes.items()}

    def keep(self, servers: Iterable[ModelServer]) -> None:
        """Let these, and no others, run on when they answer for no deployment any more."""
        self._kept = list(servers)

    async def restore(self, routes: Mapping[str, Route]) -> None:
        """Let these servers answer, which were kept; return when all others but the kept ones are stopped."""
        before = [server for route in self._routes.values() for server in route.servers()]
        self._routes = {deployment: replace(route, asked=0) for deployment, route in routes.items()}
        for server in before:
            await self._retire(server)

    async def clear(self) -> None:
        """Stop serving anything, at once."""
        self._routes.clear()
        self._kept.clear()
        await self.supervisor.stop_all()

    async def _retire(self, server: ModelServer) -> None:
        await server.drain(self.predict_seconds)
        if server not in self._kept:
            await self.supervisor.stop(server)


async def _exchange(server: ModelServer, content_type: str, body: bytes) -> Prediction:
    """Send one request on a connection of its own: nothing is ever sent on one that the server is closing."""
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
