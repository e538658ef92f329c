"""The two services of a demo, the OCI emulator and Airflow: start, attach, stop."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import httpx

from demo.airflow_api import AirflowApi
from demo.cloud import Cloud
from demo.errors import DemoError
from demo.homes import DAG_ID, PROJECT, Home, airflow_environment, prepare_airflow
from demo.patience import Patience
from demo.ports import HOST, choose_ports, read_ports, require_free
from demo.processes import Service
from demo.scheduler_log import SchedulerLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.console import Console
    from demo.options import Options

# How long each may make no progress before it is ready: see `demo.patience`.
EMULATOR_SECONDS, AIRFLOW_SECONDS, DAG_SECONDS = 60.0, 240.0, 60.0


@dataclass(frozen=True)
class Running:
    """The services, up and healthy.

    Attributes:
        cloud: the emulated tenancy.
        airflow_url: where Airflow is.
        attached: whether they were running before.
    """

    cloud: Cloud
    airflow_url: str
    attached: bool


class Services:
    """Both services of one demo folder.

    Args:
        home: the folder.
        console: for progress.
    """

    def __init__(self, home: Home, console: Console) -> None:
        self._home = home
        self._console = console
        self._emulator = Service("emulator", home.path)
        self._airflow = Service("airflow", home.path)
        self._kept = home.path / "run" / "kept"
        self._ready_file = home.path / "run" / "oci-ready.json"

    @property
    def are_kept(self) -> bool:
        """Say whether a ``KEEP=1`` left them running on purpose."""
        return self._kept.exists() and self._emulator.is_running() and self._airflow.is_running()

    @property
    def are_running(self) -> bool:
        """Say whether any of their processes is alive, of this demo or of a killed one."""
        return bool(self._airflow.processes() or self._emulator.processes())

    def keep(self) -> None:
        """Record that they are left running on purpose."""
        self._kept.touch()

    def start(self, options: Options, fill_store: Callable[[], None]) -> Running:
        """Attach to services that were kept running, else stop what a killed demo left behind and start both.

        Args:
            options: name the ports.
            fill_store: writes the store database and the settings; called before Airflow starts.

        Raises:
            DemoError: a port is taken, or a service does not become healthy.
        """
        wanted = {"emulator": options.emulator_port, "airflow": options.airflow_port}
        if self.are_kept:
            return self._attach(wanted, fill_store)
        if self.are_running:
            self._console.step("cleaning up what an earlier demo left running")
        self.stop()
        ports = choose_ports(self._home.ports, wanted)
        for service, port in ports.items():
            require_free(service, port)
        self._start_emulator(ports["emulator"])
        cloud = Cloud(self._await_emulator(ports["emulator"]))
        fill_store()
        self._start_airflow(cloud, ports["airflow"])
        url = f"http://{HOST}:{ports['airflow']}"
        self._await_airflow(url)
        return Running(cloud, url, attached=False)

    def stop(self) -> bool:
        """Stop both, Airflow first; return whether any of them was running."""
        were_running = self.are_running
        self._kept.unlink(missing_ok=True)
        self._airflow.stop()
        self._emulator.stop()
        return were_running

    def emulator_ready(self) -> dict[str, Any] | None:
        """Return the content of the emulator's ready file; None if it does not run."""
        if not self._emulator.is_running() or not self._ready_file.exists():
            return None
        ready: dict[str, Any] = json.loads(self._ready_file.read_text(encoding="utf-8"))
        return ready

    def require_alive(self) -> None:
        """Require that both run.

        Raises:
            DemoError: one has ended; the message quotes the end of its log.
        """
        for service in (self._emulator, self._airflow):
            if not service.is_running():
                raise DemoError(f"The demo's {service.name} has ended. Its log {service.log} ends:\n{service.tail()}")

    def patience(self, seconds: float) -> Patience:
        """Return the timeout for work of both."""
        return Patience(seconds, lambda: self._airflow.delayed_seconds() + self._emulator.delayed_seconds())

    @cached_property
    def scheduler_log(self) -> SchedulerLog:
        """Return the log of Airflow's scheduler."""
        return SchedulerLog(self._airflow.log)

    def _attach(self, wanted: dict[str, int | None], fill_store: Callable[[], None]) -> Running:
        ports = read_ports(self._home.ports)
        for service, port in wanted.items():
            if port not in {None, ports[service]}:
                raise DemoError(
                    f"The demo's {service} runs on port {ports[service]}, not on {port}. Run make stop first."
                )
        self._console.step("attaching to the services that are running")
        fill_store()
        cloud = Cloud(self._await_emulator(ports["emulator"]))
        url = f"http://{HOST}:{ports['airflow']}"
        self._await_airflow(url)
        return Running(cloud, url, attached=True)

    def _start_emulator(self, port: int) -> None:
        self._ready_file.unlink(missing_ok=True)
        self._console.step(f"starting the OCI emulator on http://{HOST}:{port}")
        command = [sys.executable, "-m", "oci_emulator", "--host", HOST, "--port", str(port)]
        command += ["--data-dir", str(self._home.emulator), "--ready-file", str(self._ready_file)]
        # It gets the same part of the caller's environment as Airflow.
        self._emulator.start(command, env=airflow_environment(self._home, port=0, oci={}), cwd=PROJECT)

    def _await_emulator(self, port: int) -> dict[str, Any]:
        url = f"http://{HOST}:{port}/_emulator/health"
        with httpx.Client(timeout=5, trust_env=False) as client:

            def missing() -> str:
                try:
                    healthy = self._ready_file.exists() and client.get(url).is_success
                except httpx.TransportError:
                    healthy = False
                return "" if healthy else f"{url} does not answer"

            self._wait(self._emulator, missing, EMULATOR_SECONDS)
        ready: dict[str, Any] = json.loads(self._ready_file.read_text(encoding="utf-8"))
        return ready

    def _start_airflow(self, cloud: Cloud, port: int) -> None:
        first = "" if (self._home.airflow / "airflow.db").exists() else " (the first start takes about a minute)"
        self._console.step(f"starting Airflow on http://{HOST}:{port}{first}")
        environment = airflow_environment(self._home, port=port, oci=cloud.connection())
        prepare_airflow(self._home, environment)
        self._airflow.start([sys.executable, "-m", "demo.standalone"], env=environment, cwd=PROJECT)

    def _await_airflow(self, url: str) -> None:
        with AirflowApi(url, "admin") as api:

            def describe_unhealthy() -> str:
                unhealthy = api.unhealthy()
                return f"not healthy: {', '.join(unhealthy)}" if unhealthy else ""

            self._wait(self._airflow, describe_unhealthy, AIRFLOW_SECONDS)
            self._wait(self._airflow, lambda: "" if api.has_dag() else _explain_missing_dag(api), DAG_SECONDS)
        self._console.step("Airflow is ready")

    @staticmethod
    def _wait(service: Service, missing: Callable[[], str], seconds: float) -> None:
        """Wait until ``missing`` returns an empty text.

        Raises:
            DemoError: the service ends, or ``missing`` has not changed for so many seconds.
        """
        patience = Patience(seconds, service.delayed_seconds)
        while problem := missing():
            if not service.is_running():
                raise DemoError(f"The demo's {service.name} ended early. {service.log} ends:\n{service.tail()}")
            if patience.is_over(problem):
                raise DemoError(f"The demo's {service.name} is not ready: {problem}. See {service.log}")
            time.sleep(0.5)


def _explain_missing_dag(api: AirflowApi) -> str:
    errors = api.import_errors()
    return f"the DAG {DAG_ID} did not appear" + "".join(f"\n{error}" for error in errors)
