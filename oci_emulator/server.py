"""The process: its socket, its start and stop, and its ready file."""

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from oci_emulator.app import create_app
from oci_emulator.credentials import write_private
from oci_emulator.emulator import Emulator

_GRACE_SECONDS = 1
_KEEP_ALIVE_SECONDS = 120


class StartError(Exception):
    """The emulator cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class ServerSettings:
    """The settings from the command line."""

    host: str
    port: int
    data_dir: Path
    ready_file: Path | None
    compartments: Collection[str]
    public_url: str | None = None
    exit_with_parent: bool = False


def serve(settings: ServerSettings) -> None:
    """Run the emulator until it is stopped. Raises StartError."""
    settings.data_dir.mkdir(0o700, parents=True, exist_ok=True)  # it has customers' data, as the storage has
    with _exclusive(settings.data_dir), _listening(settings.host, settings.port) as listener:
        asyncio.run(_serve(settings, listener))


async def _serve(settings: ServerSettings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    url = settings.public_url or f"http://{host}:{port}"
    if settings.ready_file:
        settings.ready_file.unlink(missing_ok=True)  # left by a killed emulator
    emulator = Emulator(settings.data_dir.resolve(), url, settings.compartments)
    server = _AnnouncingServer(
        uvicorn.Config(
            create_app(emulator, _names_of(settings, host)),
            http=emulator.connections.protocol(),
            lifespan="off",
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            # Longer than clients pause between polls, so that none uses a connection that is being closed.
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        ),
        lambda: _announce(settings, emulator),
    )
    _stop_on_signals(server)
    if settings.exit_with_parent:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _stop_at_end_of_input, server)
    try:
        await emulator.start()
        await server.serve(sockets=[listener])
    finally:
        await emulator.stop()
        if settings.ready_file:
            settings.ready_file.unlink(missing_ok=True)


def _names_of(settings: ServerSettings, host: str) -> set[str]:
    """Return the hosts that requests may name: where it listens, as given and as an address, and its public one."""
    public = urlsplit(settings.public_url).hostname if settings.public_url else None
    return {settings.host, host, public or host}


class _AnnouncingServer(uvicorn.Server):
    """A server that announces when it accepts connections."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()


def _announce(settings: ServerSettings, emulator: Emulator) -> None:
    """Write the ready file and a line on standard output."""
    facts = {
        "url": emulator.url,
        "pid": os.getpid(),
        "config_file": str(emulator.credentials.config_file),
        "compartment_id": next(iter(emulator.tenancy.compartments)),
        "namespace": emulator.tenancy.namespace,
        "token": emulator.credentials.control_token,
    }
    if settings.ready_file:
        write_private(settings.ready_file, json.dumps(facts).encode())
    sys.stdout.write(f"OCI emulator at {emulator.url}, data in {emulator.data_dir}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio disables Nagle's delay only for sockets with an explicit protocol.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as err:
            if err.errno == errno.EADDRINUSE:
                raise StartError(f"Port {port} of {host} is in use. Choose another with --port, or 0 for any.") from err
            raise StartError(f"Cannot listen on {host}:{port}: {err.strerror}.") from err
        yield listener


@contextlib.contextmanager
def _exclusive(data_dir: Path) -> Iterator[None]:
    """Lock the data folder; the lock ends with the process."""
    with (data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise StartError(f"Another emulator is using {data_dir}. Stop it, or choose another --data-dir.") from err
        yield


def _stop_on_signals(server: uvicorn.Server) -> None:
    # uvicorn raises the signal again when it has stopped; the loop's handler makes that harmless.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _stop, server)


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True


def _stop_at_end_of_input(server: uvicorn.Server) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        _stop(server)
