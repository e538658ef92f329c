"""Processes that are found again and all stopped, stable ports, valid settings."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import psutil
import pytest
import yaml
from services import wait_for

from demo.errors import DemoError
from demo.homes import PROJECT, USERS, Home, airflow_environment, prepare_airflow, write_settings
from demo.ports import choose_ports, read_ports, require_free
from demo.processes import Service
from demo.releases import last_error
from demo.sessions import only_one
from recdeploy_ops.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A leader with a child that ignores SIGTERM, like a program that does not clean up.
STUBBORN = """
import signal, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); "
                  "print('child', flush=True); time.sleep(600)"])
print("leader", flush=True)
time.sleep(600)
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr("demo.processes.GRACE_SECONDS", 0.2)
    service = Service("thing", tmp_path)
    yield service
    service.stop()


def start(service: Service, program: str = STUBBORN, *, until: str = "child") -> None:
    service.start([sys.executable, "-S", "-c", program], env=dict(os.environ), cwd=service.home)
    wait_for(f"{until} in the log", lambda: until in service.log.read_text(encoding="utf-8").splitlines(), every=0.02)


def leader(service: Service) -> int:
    return int(json.loads(service.record.read_text(encoding="utf-8"))["pid"])


def test_a_stopped_service_leaves_no_process_even_if_one_ignores_sigterm(service: Service) -> None:
    start(service)
    family = service.processes()

    service.stop()

    assert len(family) == 2
    assert not service.processes()
    assert not service.is_running()


def test_children_of_a_killed_leader_are_found_and_ended(service: Service) -> None:
    start(service)
    os.kill(leader(service), signal.SIGKILL)
    psutil.Process(leader(service)).wait()

    assert not service.is_running()
    assert len(service.processes()) == 1

    service.stop()

    assert not service.processes()


def test_a_lost_record_does_not_hide_the_processes(service: Service) -> None:
    start(service)
    service.record.unlink()

    assert len(service.processes()) == 2


def test_a_reused_process_id_is_another_process(service: Service) -> None:
    other = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        service.record.parent.mkdir(parents=True)
        service.record.write_text(json.dumps({"pid": other.pid}), encoding="utf-8")

        assert not service.is_running()
        assert not service.processes()
        service.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("seconds", [-3600.0, -2.0, 2.0, 3600.0])
def test_a_clock_that_is_set_does_not_end_a_service(
    service: Service, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(service)
    boot = psutil.boot_time()
    # Setting the clock moves the time at which the system started, and with it that of each process's start.
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: boot + seconds)
    assert psutil.boot_time() == boot + seconds

    assert service.is_running()
    assert len(service.processes()) == 2
    service.stop()
    assert not service.processes()


def test_a_service_of_another_folder_is_not_touched(service: Service, tmp_path: Path) -> None:
    start(service)

    assert not Service("thing", tmp_path / "other").processes()


def test_the_tail_of_a_log_leaves_out_requests(service: Service) -> None:
    start(service, "print('GET / [http.access]'); print('the reason', flush=True)", until="the reason")

    assert service.tail().endswith("the reason")
    assert "http.access" not in service.tail()


def test_ports_are_remembered(tmp_path: Path) -> None:
    first = choose_ports(tmp_path / "ports.json", {"emulator": None, "airflow": None})

    assert len(set(first.values())) == 2
    assert choose_ports(tmp_path / "ports.json", {"emulator": None, "airflow": None}) == first
    assert read_ports(tmp_path / "ports.json") == first
    assert choose_ports(tmp_path / "ports.json", {"emulator": 18001, "airflow": None})["emulator"] == 18001


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]

        with pytest.raises(DemoError, match=rf"Port {port} on 127\.0\.0\.1.* in use.*make demo AIRFLOW_PORT=\d+"):
            require_free("airflow", port)


def test_two_demos_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with (
        only_one(Home(tmp_path)),
        pytest.raises(DemoError, match="Another make demo works in"),
        only_one(Home(tmp_path)),
    ):
        pass


@pytest.mark.parametrize("has_timestamps", [True, False])
def test_the_settings_of_the_demo_are_valid(tmp_path: Path, *, has_timestamps: bool) -> None:
    home = Home(tmp_path / "a folder")

    write_settings(home, has_timestamps=has_timestamps)
    settings = load_settings(home.settings)

    assert settings.schedule is None
    assert (settings.sql_folder / "interactions.sql").exists()
    assert settings.storage.startswith("file:///")
    assert (settings.source.timestamp_column is not None) == has_timestamps


@pytest.mark.parametrize(
    ("project", "demo", "written"),
    [(None, None, None), (None, "segment", "segment"), ("country", "segment", "country")],
)
def test_a_generated_store_changes_two_settings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: str | None, demo: str | None, written: str | None
) -> None:
    home, values = Home(tmp_path), yaml.safe_load((PROJECT / "include" / "recommender.yaml").read_text("utf-8"))
    values["source"]["segment_column"] = project
    monkeypatch.setattr("demo.homes._read_settings", lambda: copy.deepcopy(values))

    plain = write_settings(home, has_timestamps=True)
    generated = write_settings(home, has_timestamps=True, lag_hours=48, segment_column=demo)

    assert generated["gates"].pop("max_age_hours") == plain["gates"].pop("max_age_hours") + 48
    assert generated["source"].pop("segment_column") == written
    assert plain["source"].pop("segment_column") == project
    assert generated == plain


def test_the_callers_own_settings_do_not_reach_airflow(tmp_path: Path) -> None:
    foreign = {
        "AIRFLOW__API__HOST": "0.0.0.0",  # noqa: S104 - it must not come through
        "AIRFLOW_CONN_OTHER": "x",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OCI_CONFIG_FILE": "x",
        "LANG": "C.UTF-8",
    }

    environment = airflow_environment(Home(tmp_path), port=18001, oci={"region": "r"}, base=foreign)

    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["LANG"] == "C.UTF-8"
    assert not {"AIRFLOW_CONN_OTHER", "PYTHONDONTWRITEBYTECODE", "OCI_CONFIG_FILE"} & set(environment)
    assert json.loads(environment["AIRFLOW_CONN_OCI_DEFAULT"])["extra"] == {"region": "r"}


def test_files_with_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path)

    prepare_airflow(home, airflow_environment(home, port=18001, oci={}))

    assert json.loads((home.airflow / "passwords.json").read_text(encoding="utf-8")) == {user: user for user in USERS}
    for path in (home.airflow / "passwords.json", home.airflow / "jwt_secret", home.environment):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], None),
        ([{"event": "fine", "level": "info"}], None),
        ([{"event": "bad", "level": "error"}, {"event": "bye", "level": "info"}], "bad"),
        (
            [
                {
                    "event": "Task failed",
                    "level": "error",
                    "error_detail": [{"exc_type": "GateFailedError", "exc_value": "x"}],
                }
            ],
            "GateFailedError: x",
        ),
    ],
)
def test_the_last_error_of_a_log_is_returned(events: list[dict[str, object]], message: str | None) -> None:
    assert last_error(events) == message
