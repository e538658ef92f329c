"""Applies an ordered fault to a request, before or after the work."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping

from oci_emulator.calls import Call
from oci_emulator.errors import OciError
from oci_emulator.faults import Fault

# A test's client sets it to its own process id, for `kill_client_before` and `kill_client_after` to kill.
PID_HEADER = "x-recdeploy-test-pid"
_DROPS = frozenset({"drop", "kill_client"})
_DELAYS = frozenset({"status", "status_after", "slow"})
log = logging.getLogger(__name__)


class ConnectionDroppedError(Exception):
    """An ordered fault: the connection closes without an answer."""


async def before_work(fault: Fault | None, headers: Mapping[str, str], call: Call) -> None:
    """Apply a fault before the work. Raises ConnectionDroppedError and OciError."""
    if fault is None:
        return
    effect, _, moment = fault.kind.rpartition("_")
    if fault.seconds and (fault.kind in _DELAYS or effect in _DROPS):
        await asyncio.sleep(fault.seconds)
    if effect in _DROPS and moment == "before":
        _drop(effect, headers, call)
    if fault.kind == "status":
        raise _error(fault)


def after_work(fault: Fault | None, headers: Mapping[str, str], call: Call) -> None:
    """Apply a fault after the work, also after an error response. Raises like `before_work`."""
    if fault is None:
        return
    effect, _, moment = fault.kind.rpartition("_")
    if effect in _DROPS and moment == "after":
        _drop(effect, headers, call)
    if fault.kind == "status_after":
        raise _error(fault)


def client_pid(headers: Mapping[str, str]) -> int | None:
    """Return the client's process id from its header; None if it is absent or must not be killed."""
    text = headers.get(PID_HEADER, "")
    pid = int(text) if text.isascii() and text.isdecimal() else 0
    return pid if pid > 1 and pid != os.getpid() else None


def _drop(effect: str, headers: Mapping[str, str], call: Call) -> None:
    """Drop the connection; for `kill_client`, first kill the client if its header names a process."""
    if effect == "kill_client":
        if pid := client_pid(headers):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                call.killed = pid
        else:
            log.warning("%s %s: %s names no process to kill", call.method, call.path, PID_HEADER)
    raise ConnectionDroppedError


def _error(fault: Fault) -> OciError:
    return OciError(fault.message, code=fault.code, status=fault.status)
