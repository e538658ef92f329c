"""What an ordered fault does to a request, before and after the work."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping

from oci_emulator.calls import Call
from oci_emulator.errors import OciError
from oci_emulator.faults import Fault

# Set by a test's client to its own process id, which `kill_client_before` and `kill_client_after` then end.
PID_HEADER = "x-recdeploy-test-pid"
_DROPS = frozenset({"drop", "kill_client"})
_DELAYS = frozenset({"status", "status_after", "slow"})
log = logging.getLogger(__name__)


class ConnectionDroppedError(Exception):
    """An ordered fault: the connection closes without an answer."""


async def before_work(fault: Fault | None, headers: Mapping[str, str], call: Call) -> None:
    """Do what the fault does before the work. Raises ConnectionDroppedError and OciError."""
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
    """Do what the fault does after the work, whatever the response was. Raises as `before_work` does."""
    if fault is None:
        return
    effect, _, moment = fault.kind.rpartition("_")
    if effect in _DROPS and moment == "after":
        _drop(effect, headers, call)
    if fault.kind == "status_after":
        raise _error(fault)


def client_pid(headers: Mapping[str, str]) -> int | None:
    """Return the process that the client says it is, unless that is none that may be killed."""
    text = headers.get(PID_HEADER, "")
    pid = int(text) if text.isascii() and text.isdecimal() else 0
    return pid if pid > 1 and pid != os.getpid() else None


def _drop(effect: str, headers: Mapping[str, str], call: Call) -> None:
    """Drop the connection; end the client first, if that is the fault and the client has named itself."""
    if effect == "kill_client":
        if pid := client_pid(headers):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                call.killed = pid
        else:
            log.warning("%s %s names no process in %s: dropped only", call.method, call.path, PID_HEADER)
    raise ConnectionDroppedError


def _error(fault: Fault) -> OciError:
    return OciError(fault.message, code=fault.code, status=fault.status)
