"""The demo's folder: its paths, its settings file, and the environment of Airflow."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from demo.ports import HOST
from recdeploy_ops.extraction.statements import read_query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.extraction.statements import Query

PROJECT = Path(__file__).resolve().parents[1]
SQL = PROJECT / "include" / "sql"
DAG_ID = "recommender_retrain"
# Passwords equal names and are public: nothing listens beyond 127.0.0.1.
USERS = {"admin": "admin", "approver": "user", "viewer": "viewer"}
# The caller's variables that would change the demo.
FOREIGN = ("AIRFLOW", "OCI_", "RECDEPLOY_", "PYTHON", "PYTEST", "VIRTUAL_ENV")
# How long a writer of Airflow's database waits for another (SQLite admits one at a time; by default it gives up after
# 5 s, and the request or the scheduler fails), and a task or the demo for an answer, which may wait for a writer.
DATABASE_SECONDS, ANSWER_SECONDS = 60, 150


@dataclass(frozen=True)
class Home:
    """Paths below the demo's folder."""

    path: Path

    @property
    def airflow(self) -> Path:
        """Return Airflow's home."""
        return self.path / "airflow"

    @property
    def task_logs(self) -> Path:
        """Return the folder of the tasks' logs."""
        return self.path / "logs" / "tasks"

    @property
    def store(self) -> Path:
        """Return the shop's database."""
        return self.path / "store.db"

    @property
    def new_store(self) -> Path:
        """Return the file in which a new store is written before it replaces the store."""
        return self.path / "store.new.db"

    @property
    def summary(self) -> Path:
        """Return the file with the newest summary, JSON."""
        return self.path / "summary.json"

    @property
    def emulator(self) -> Path:
        """Return the emulator's data."""
        return self.path / "oci"

    @property
    def settings(self) -> Path:
        """Return the settings file."""
        return self.path / "recommender.yaml"

    @property
    def storage(self) -> Path:
        """Return the storage root."""
        return self.path / "storage"

    @property
    def ports(self) -> Path:
        """Return the file with the ports."""
        return self.path / "ports.json"

    @property
    def environment(self) -> Path:
        """Return the file with the variables that Airflow was started with, for ``make status``."""
        return self.path / "run" / "environment.json"

    def task_log(self, dag_id: str, run_id: str, task: str, attempt: int) -> Path:
        """Return the log file of one try of a task."""
        return self.task_logs / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task}" / f"attempt={attempt}.log"


def read_timestamp_column() -> str | None:
    """Return the name that ``include/recommender.yaml`` has for the time of an interaction."""
    source: dict[str, Any] = _read_settings()["source"]
    return source.get("timestamp_column")


def read_users_query() -> Query:
    """Return the project's own query for users."""
    return read_query(SQL / "users.sql")


def write_queries(home: Home, segment_column: str) -> Path:
    """Write the demo's copy of ``include/sql``, in which the users have a segment as well; return its folder."""
    user = _read_settings()["source"].get("user_column", "user_id")
    folder = home.path / "sql"
    folder.mkdir(parents=True, exist_ok=True)
    for path in SQL.glob("*.sql"):
        _replace(folder / path.name, path.read_text(encoding="utf-8"))
    users = read_users_query().text
    _replace(
        folder / "users.sql",
        "-- Written by make demo from include/sql/users.sql: edit that file. Only a generated store has segments.\n"
        f"SELECT shop.*, users.{segment_column} FROM (\n{users}\n) shop\n"
        f"JOIN users ON users.user_id = shop.{user}\n",
    )
    return folder


def write_settings(
    home: Home,
    *,
    has_timestamps: bool,
    lag_hours: int = 0,
    segment_column: str | None = None,
    sql_folder: Path | None = None,
) -> dict[str, Any]:
    """Write the demo's copy of ``include/recommender.yaml`` and return its content.

    Args:
        home: the demo's folder.
        has_timestamps: whether the store's interactions have timestamps.
        lag_hours: how long ago a generated shop was as the store has it: its newest order may be older by as much.
        segment_column: column of the users whose slices are judged, if ``include/recommender.yaml`` names none.
        sql_folder: with the queries; by default the project's own.
    """
    settings = _read_settings()
    settings["schedule"] = None
    settings["storage"] = home.storage.as_uri()
    settings["source"]["sql_folder"] = str(sql_folder or SQL)
    if not has_timestamps:
        settings["source"]["timestamp_column"] = None
        if settings["source"].get("repeated") == "latest":
            settings["source"]["repeated"] = None
    settings["gates"]["max_age_hours"] += lag_hours
    settings["source"]["segment_column"] = settings["source"].get("segment_column") or segment_column
    settings["release"].update(poll_seconds=1, deployment_timeout_minutes=10, bake_minutes=0)
    settings["watch"]["schedule"] = None
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    home.path.mkdir(parents=True, exist_ok=True)
    _replace(home.settings, f"# Written by make demo from include/recommender.yaml: edit that file.\n{text}")
    return settings


def airflow_environment(
    home: Home, *, port: int, oci: Mapping[str, str], base: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of Airflow and, with it, of every task.

    Args:
        home: the demo's folder.
        port: where the API server listens.
        oci: extra of the connection ``oci_default``.
        base: the caller's environment.
    """
    inherited = {name: value for name, value in base.items() if not name.startswith(FOREIGN)}
    api = f"http://{HOST}:{port}"
    return {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), base.get("PATH", os.defpath)]),
        "NO_PROXY": ",".join(filter(None, [base.get("NO_PROXY"), HOST, "localhost"])),
        "no_proxy": ",".join(filter(None, [base.get("no_proxy"), HOST, "localhost"])),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(PROJECT / "plugins"),  # for Airflow's form of a connection of type oci
        "AIRFLOW_HOME": str(home.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home.airflow / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home.airflow / 'airflow.db'}?timeout={DATABASE_SECONDS}",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": str(ANSWER_SECONDS),
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": api,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__EXPOSE_STACKTRACE": "True",  # names the database's error: see `airflow_api`
        "AIRFLOW__API_AUTH__JWT_SECRET": _jwt_secret(home),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home.task_logs),
        # A changed file is found within 15 s (default: 300 s). What has not changed is seldom parsed (default: each
        # 30 s): all DAGs together take two seconds of a core.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
        # Lets the scheduler notice the end of a task sooner (default: it sleeps 1 s).
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        # Lets the next demo adopt the tasks of a killed one sooner (default: 300 s).
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "RECDEPLOY_SETTINGS": str(home.settings),
        "AIRFLOW_CONN_OCI_DEFAULT": json.dumps({"conn_type": "oci", "extra": dict(oci)}),
        "AIRFLOW_CONN_RECOMMENDER_DB": json.dumps({"conn_type": "sqlite", "host": str(home.store)}),
    }


def prepare_airflow(home: Home, environment: Mapping[str, str]) -> None:
    """Write the passwords, and the environment for the command-line tools."""
    home.airflow.mkdir(parents=True, exist_ok=True)
    _replace(home.airflow / "passwords.json", json.dumps({user: user for user in USERS}))
    ours = {name: value for name, value in environment.items() if name.startswith(("AIRFLOW", "RECDEPLOY_"))}
    home.environment.parent.mkdir(parents=True, exist_ok=True)
    _replace(home.environment, json.dumps(ours))


def _read_settings() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((PROJECT / "include" / "recommender.yaml").read_text(encoding="utf-8"))
    return settings


def _jwt_secret(home: Home) -> str:
    path = home.airflow / "jwt_secret"
    if not path.exists():
        home.airflow.mkdir(parents=True, exist_ok=True)
        _replace(path, secrets.token_hex(32))
    return path.read_text(encoding="utf-8")


def _replace(path: Path, text: str) -> None:
    """Write a file atomically, readable by its owner only."""
    partial = path.with_name(f"{path.name}.partial")
    partial.touch(mode=0o600)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
