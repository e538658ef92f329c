"""A running emulator for tests and the demo.

with running_emulator(tmp_path) as emulator:
    client = oci.data_science.DataScienceClient(emulator.config, service_endpoint=emulator.url)
"""

import configparser
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from oci_emulator.guards import ORDER_HEADER

# Generous: an ended process is noticed at once, and on a busy machine everything is late.
START_SECONDS = 300.0
STOP_SECONDS = 10.0
ORDER_SECONDS = 300.0
_POLL_SECONDS = 0.01
_PACKAGE_PARENT = Path(__file__).resolve().parent.parent


class EmulatorError(Exception):
    """The emulator did not start, or refused an order; the message quotes it."""


class RunningEmulator:
    """An emulator process, its addresses and its control plane."""

    def __init__(self, process: "subprocess.Popen[str]", data_dir: Path, facts: dict[str, Any]) -> None:
        """Take the process, its data folder, and the contents of its ready file."""
        self.process = process
        self.data_dir = data_dir
        self.pid: int = facts["pid"]
        self.url: str = facts["url"]
        self.config_file: str = facts["config_file"]
        self.compartment_id: str = facts["compartment_id"]
        self.namespace: str = facts["namespace"]
        self.token: str = facts["token"]

    @property
    def config(self) -> dict[str, str]:
        """Return the configuration that the SDK's clients take as their first argument."""
        parser = configparser.ConfigParser()
        parser.read(self.config_file)
        return dict(parser["DEFAULT"])

    def set_timings(self, **seconds: float) -> dict[str, float]:
        """Set how long create, update, delete, activate and deactivate take; return all timings."""
        timings: dict[str, float] = self._control("PUT", "timings", seconds)
        return timings

    def fail_next(self, operation: str, kind: str = "status", **details: object) -> dict[str, Any]:
        """Order a fault for the next matching call.

        `operation` is the SDK's operation in CamelCase, or "*". The README lists the kinds and the `details` of
        each: status, code, message, seconds, state, probability; all have times and after.
        """
        fault: dict[str, Any] = self._control("POST", "faults", {"operation": operation, "kind": kind, **details})
        return fault

    def fail_at(self, nth: int, kind: str = "status", **details: object) -> dict[str, Any]:
        """Order a fault for the nth call since `clear_calls`, of any operation; see `fail_next`."""
        fault: dict[str, Any] = self._control("POST", "faults", {"nth": nth, "kind": kind, **details})
        return fault

    def faults(self) -> list[dict[str, Any]]:
        """Return the pending faults."""
        pending: list[dict[str, Any]] = self._control("GET", "faults")
        return pending

    def clear_faults(self) -> None:
        """Clear the pending faults, and release the work requests that are stuck."""
        self._control("DELETE", "faults")

    def add_neighbour(self, collection: str, document: dict[str, Any]) -> str:
        """Add a resource of another team, and return its OCID.

        `collection` is `models` or `modelDeployments`; the document is the resource as OCI would show it.
        """
        added: dict[str, str] = self._control("POST", "neighbours", {"collection": collection, "document": document})
        return added["id"]

    def archive(self, model_id: str) -> None:
        """Archive a model's artifact, as a retention policy does; its lifecycle state stays."""
        self._control("POST", "archive", {"model": model_id})

    def end_retention(self, secret_id: str) -> None:
        """Delete a secret that is pending deletion, without waiting for its time of deletion."""
        self._control("POST", "end-retention", {"secret": secret_id})

    def offer(self, **offers: object) -> None:
        """Change what the region and the tenancy offer: `withdrawn_shapes`, `limits`, `required_tags`."""
        self._control("PUT", "offers", offers)

    def renew(self, what: str) -> None:
        """Replace the `key` or the session `token` in its file; the former one is refused from now on."""
        self._control("POST", "renew", {"what": what})

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages published to topics, in order: topicId, title, body, messageId and timeStamp."""
        messages: list[dict[str, Any]] = self._control("GET", "messages")
        return messages

    def calls(self, operation: str | None = None) -> list[dict[str, Any]]:
        """Return the calls received so far, in order; those of one operation, if given."""
        calls: list[dict[str, Any]] = self._control("GET", f"calls?operation={operation}" if operation else "calls")
        return calls

    def clear_calls(self) -> None:
        """Clear the calls received so far; the next one is the first."""
        self._control("DELETE", "calls")

    def reset(self) -> None:
        """Remove everything except the credentials."""
        self._control("POST", "reset")

    def wait_until_idle(self) -> None:
        """Return once every work request has ended."""
        self._control("GET", "idle")

    def snapshot(self, name: str) -> None:
        """Save the state under this name when every work request has ended."""
        self._control("POST", "snapshot", {"name": name})

    def restore(self, name: str) -> None:
        """Restore the state of a snapshot; faults and calls are cleared."""
        self._control("POST", "restore", {"name": name})

    def stop(self) -> None:
        """Stop the emulator with SIGTERM, or with SIGKILL if that takes too long."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill the emulator, without a chance to clean up."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def _control(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - always http
            f"{self.url}/_emulator/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", ORDER_HEADER: self.token},
        )
        try:
            with urllib.request.urlopen(request, timeout=ORDER_SECONDS) as response:  # noqa: S310 - always http
                return json.load(response)
        except urllib.error.HTTPError as err:
            with err:
                raise EmulatorError(f"{method} {path} was refused: {err.read().decode()}") from err


@contextlib.contextmanager
def running_emulator(
    data_dir: Path | str,
    *,
    port: int = 0,
    compartments: Sequence[str] = (),
    log_file: Path | str | None = None,
) -> Iterator[RunningEmulator]:
    """Run an emulator on `data_dir` while the block lasts; it stops at the end with all its processes.

    `port` 0 takes any free port. `compartments` are further compartments; the first one becomes `compartment_id`.
    The emulator's output goes to `log_file` (default: `emulator.log` in the data folder). Raises EmulatorError.
    """
    folder = Path(data_dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    ready_file, log_path = folder / "ready.json", Path(log_file) if log_file else folder / "emulator.log"
    ready_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "oci_emulator", "--port", str(port), "--data-dir", str(folder)]
    command += ["--ready-file", str(ready_file), "--exit-with-parent"]
    for compartment in compartments:
        command += ["--compartment", compartment]
    with log_path.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
            cwd=_PACKAGE_PARENT,
            start_new_session=True,
        )
    emulator = None
    try:
        emulator = RunningEmulator(process, folder, _wait_until_ready(process, ready_file, log_path))
        yield emulator
    finally:
        (emulator or RunningEmulator(process, folder, _NO_FACTS)).stop()


_NO_FACTS = dict.fromkeys(("pid", "url", "config_file", "compartment_id", "namespace", "token"), "")


def _wait_until_ready(process: "subprocess.Popen[str]", ready_file: Path, log_path: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if ready_file.exists():
            facts: dict[str, Any] = json.loads(ready_file.read_text(encoding="utf-8"))
            return facts
        if process.poll() is not None:
            last = log_path.read_text(encoding="utf-8").strip().splitlines()[-1:]
            raise EmulatorError(f"The emulator ended with code {process.returncode}: {' '.join(last)}")
        time.sleep(_POLL_SECONDS)
    raise EmulatorError(f"The emulator was not ready within {START_SECONDS:.0f} s; see {log_path}.")
