"""Starts, watches and stops the processes that serve deployed models."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from oci_emulator.serving.unpacking import ArtifactError, ArtifactLimits, unpack

START_SECONDS = 300.0
STOP_SECONDS = 2.0
RESTART_SECONDS = 0.5
DEFAULT_WORKERS = 2
MAX_WORKERS = 16
THREADS = 16
# Bytes of the folder of a Unix socket: Linux takes 107 for the whole path, macOS 103.
LONGEST_FOLDER = 103 - len("/oci-emulator-1234567890-1234567890.sock")
SHORT_FOLDER = Path("/tmp")  # noqa: S108 - the names of our sockets have this process's id
_CHILD = Path(__file__).with_name("confined.py")
_MAX_REPORT_BYTES = 16 * 1024 * 1024
# The only variables of the emulator's environment that score.py gets.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
log = logging.getLogger(__name__)


class ServerStartError(Exception):
    """A model could not be served; `traceback` is that of score.py, or empty."""

    def __init__(self, message: str, traceback: str = "") -> None:
        """Set the message and the traceback."""
        super().__init__(message)
        self.traceback = traceback


@dataclass(frozen=True)
class ServerSpec:
    """What to serve: the archive, the folder to unpack it in, and the environment variables."""

    archive: Path
    folder: Path
    environment: Mapping[str, str]

    @property
    def workers(self) -> int:
        """Return the number of worker processes, from WEB_CONCURRENCY."""
        try:
            return min(max(int(self.environment.get("WEB_CONCURRENCY", DEFAULT_WORKERS)), 1), MAX_WORKERS)
        except ValueError:
            return DEFAULT_WORKERS


@dataclass
class ModelServer:
    """A running server: its socket, and the number of requests in flight."""

    spec: ServerSpec
    socket: Path
    process: asyncio.subprocess.Process
    stopping: bool = False
    in_flight: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Count a request while it lasts."""
        self.in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Wait until no request is in flight, but no longer than `seconds`."""
        if self.in_flight:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()


class Supervisor:
    """Starts and stops model servers; none outlives the emulator."""

    def __init__(self, limits: ArtifactLimits | None = None) -> None:
        """Begin without servers."""
        self._limits = limits or ArtifactLimits()
        self._servers: list[ModelServer] = []
        self._watchers: set[asyncio.Task[None]] = set()
        self._spare: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._numbers = count(1)
        self._sockets = find_socket_folder()
        self._unconfined: list[str] = []

    async def start(self, spec: ServerSpec) -> ModelServer:
        """Unpack the artifact, start its server and return once every worker has loaded the model.

        Raises ServerStartError, with the traceback if score.py failed.
        """
        try:
            await asyncio.to_thread(unpack, spec.archive, spec.folder / "artifact", self._limits)
            server = ModelServer(spec, *await self._launch(spec))
        except ArtifactError as err:
            await asyncio.to_thread(shutil.rmtree, spec.folder, ignore_errors=True)
            raise ServerStartError(str(err)) from err
        except ServerStartError:
            await asyncio.to_thread(shutil.rmtree, spec.folder, ignore_errors=True)
            raise
        self._servers.append(server)
        watcher = asyncio.create_task(self._watch(server))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return server

    async def stop(self, server: ModelServer) -> None:
        """Stop a server and remove its folder."""
        server.stopping = True
        await _end(server.process)
        server.socket.unlink(missing_ok=True)
        if server in self._servers:
            self._servers.remove(server)
        await asyncio.to_thread(shutil.rmtree, server.spec.folder, ignore_errors=True)

    async def stop_all(self) -> None:
        """Stop every server."""
        await asyncio.gather(*(self.stop(server) for server in list(self._servers)))

    async def close(self) -> None:
        """Stop every server, and the spare process."""
        await self.stop_all()
        if self._spare is not None:
            await _end(await self._spare)

    async def _watch(self, server: ModelServer) -> None:
        """Replace the server's process when it ends unexpectedly."""
        while True:
            await server.process.wait()
            _kill_group(server.process)
            if server.stopping:
                return
            log.warning("The model server of %s ended unexpectedly; restarting it", server.spec.folder)
            server.socket.unlink(missing_ok=True)
            await asyncio.sleep(RESTART_SECONDS)
            try:
                server.socket, server.process = await self._launch(server.spec)
            except ServerStartError as err:
                log.warning("The model server of %s did not start: %s", server.spec.folder, err)
            if server.stopping:
                await _end(server.process)

    async def _launch(self, spec: ServerSpec) -> tuple[Path, asyncio.subprocess.Process]:
        path = self._sockets / f"oci-emulator-{os.getpid()}-{next(self._numbers)}.sock"
        process = await self._take_process()
        try:
            async with asyncio.timeout(START_SECONDS):  # wait_for() can lose a cancellation, before Python 3.12
                self._warn(await _await_ready(process, spec, path))
        except BaseException as err:
            await _end(process)
            _kill_group(process)  # it may have ended itself just now
            if isinstance(err, TimeoutError):
                raise ServerStartError(f"score.py was not loaded within {START_SECONDS:.0f} s.") from err
            raise
        return path, process

    def _warn(self, unconfined: list[str]) -> None:
        """Log once what this platform does not confine."""
        if unconfined != self._unconfined:
            self._unconfined = unconfined
            log.warning("Not confined on this platform, for deployed models: %s", ", ".join(unconfined))

    async def _take_process(self) -> asyncio.subprocess.Process:
        """Return a process that waits for its order, and start the next one ahead, because Python starts slowly."""
        spare, self._spare = self._spare or asyncio.create_task(_spawn()), asyncio.create_task(_spawn())
        process = await spare
        return process if process.returncode is None else await _spawn()


async def _spawn() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-u",
        str(_CHILD),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _INHERITED if name in os.environ},
        start_new_session=True,
        limit=_MAX_REPORT_BYTES,
    )


def find_socket_folder() -> Path:
    """Return a folder for Unix sockets, whose paths must be short: that of temporary files, or ``/tmp``."""
    folder = Path(tempfile.gettempdir())
    return folder if len(os.fsencode(folder)) <= LONGEST_FOLDER else SHORT_FOLDER


async def _await_ready(process: asyncio.subprocess.Process, spec: ServerSpec, socket: Path) -> list[str]:
    """Give a server its order and return what is not confined, once it serves."""
    pipe_in, pipe_out = process.stdin, process.stdout
    if pipe_in is None or pipe_out is None:
        raise ServerStartError("The model server has no pipes.")
    order = {
        "folder": str(spec.folder / "artifact"),
        "socket": str(socket),
        "workers": spec.workers,
        "threads": THREADS,
        "environment": dict(spec.environment),
        "log": str(spec.folder / "server.log"),
    }
    with contextlib.suppress(ConnectionError):  # it has ended; the missing report shows it below
        pipe_in.write(json.dumps(order).encode() + b"\n")
        await pipe_in.drain()
    line = await pipe_out.readline()
    report: dict[str, Any] = json.loads(line) if line else {"event": "failed"}
    if report["event"] != "ready":
        message = report.get("message") or f"The model server ended with code {await process.wait()}."
        raise ServerStartError(message, report.get("traceback", ""))
    unconfined: list[str] = report["unconfined"]
    return unconfined


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a server that still runs by closing its stdin, or else with SIGKILL, and then all that it has started."""
    if process.returncode is not None:
        return  # `_watch` has ended what it had started; its id may be another process's by now
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    _kill_group(process)
    await process.wait()


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill what a server has started; call it as soon as the server has ended, before its id is used again."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
