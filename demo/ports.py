"""The ports of the demo: chosen once among the free ones and remembered in a file."""

from __future__ import annotations

import json
import socket
import zlib
from typing import TYPE_CHECKING

from demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOST = "127.0.0.1"
# The variables of ``make demo`` that set them.
OPTIONS = {"emulator": "PORT", "airflow": "AIRFLOW_PORT"}
# Below the ephemeral ports, which systems give to outgoing connections.
FIRST, COUNT = 18_000, 10_000


def choose_ports(path: Path, wanted: Mapping[str, int | None]) -> dict[str, int]:
    """Return a port for each service and remember it in ``path``.

    A production URL contains the emulator's port, so it changes only on request.

    Args:
        path: the JSON file of ports by service.
        wanted: by service, a port, or None for the remembered one or else any free one.
    """
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    ports: dict[str, int] = {}
    for service, port in wanted.items():
        ports[service] = port or known.get(service) or _find_free_port(f"{service}@{path}", set(ports.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ports), encoding="utf-8")
    return ports


def read_ports(path: Path) -> dict[str, int]:
    """Return the remembered ports by service.

    Raises:
        DemoError: the file is missing or damaged.
    """
    try:
        ports: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise DemoError(f"{path}, which names the demo's ports, cannot be read. Run make stop first.") from err
    return ports


def require_free(service: str, port: int) -> None:
    """Require that a port is free.

    Raises:
        DemoError: another program listens on it.
    """
    if not _is_free(port):
        other = _find_free_port(f"{service}:{port}", {port})
        raise DemoError(
            f"Port {port} on {HOST}, where the demo's {service} would listen, is in use by another program. "
            f"Stop that program, or choose another port: make demo {OPTIONS[service]}={other}"
        )


def _find_free_port(name: str, taken: set[int]) -> int:
    """Return a free port; the search begins at a hash of the name, so that two demos rarely collide."""
    start = zlib.crc32(name.encode())
    candidates = (FIRST + (start + step) % COUNT for step in range(COUNT))
    return next(port for port in candidates if port not in taken and _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
