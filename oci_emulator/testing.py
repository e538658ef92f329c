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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from oci_emulator.control_client import ControlClient, EmulatorError

# Generous: an ended process is noticed at once, and on a busy machine everything is late.
START_SECONDS = 300.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01
_PACKAGE_PARENT = Path(__file__).resolve().parent.parent


class RunningEmulator(ControlClient):
    """An emulator process, its addresses, and the orders to its control plane."""

    def __init__(self, process: "subprocess.Popen[str]", data_dir: Path, facts: dict[str, Any]) -> None:
        """Take the process, its data folder, and the contents of its ready file."""
        super().__init__(facts["url"], facts["token"])
        self.process = process
        self.data_dir = data_dir
        self.pid: int = facts["pid"]
        self.config_file: str = facts["config_file"]
        self.compartment_id: str = facts["compartment_id"]
        self.namespace: str = facts["namespace"]

    @property
    def config(self) -> dict[str, str]:
        """Return the configuration that the SDK's clients take as their first argument."""
        parser = configparser.ConfigParser()
        parser.read(self.config_file)
        return dict(parser["DEFAULT"])

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
