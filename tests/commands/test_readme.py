"""The README's commands, paths, names and connections work."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from events import PROJECT, opened

from demo.options import read_options
from recdeploy_ops.context import utc_now
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.oci_clients.profiles import OciProfile
from recdeploy_ops.storage.bundles import canonical_json
from recdeploy_ops.storage.directories import DirectoryStore

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README.replace("\n   ", "\n"), re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for line in "\n".join([*BLOCKS, *re.findall(r"`((?:make|python -m|pytest) [^`]+)`", README)]).splitlines()
    if line.startswith(("make ", "python -m ", "pytest "))
]


def commands_of(program: str) -> list[list[str]]:
    commands = [command[1:] for command in COMMANDS if command[0] == program]
    assert commands, f"the README shows no {program} command"
    return commands


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("arguments", commands_of("make"), ids=" ".join)
def test_make_knows_every_target_and_variable_that_is_shown(arguments: list[str]) -> None:
    run("make", "--dry-run", *arguments)
    variables = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    assert all(f"{name}=" in run("make", "help") for name in variables)
    if "demo" in arguments:
        read_options(variables)


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that names only the settings, of a storage with one entry."""
    values = yaml.safe_load((ROOT / "include" / "recommender.yaml").read_text(encoding="utf-8"))
    storage = (tmp_path / "storage").as_uri()
    (tmp_path / "recommender.yaml").write_text(yaml.safe_dump({**values, "storage": storage}), encoding="utf-8")
    store = DirectoryStore(storage)
    Ledger(store, PROJECT, utc_now).append("run-1", opened(triggered_by="ann"), guard=lambda _: None)
    store.create("backups/v1_20260302_030000/manifest.json", canonical_json({"version": 1, "files": {}}))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DEMO_HOME": str(tmp_path / "no demo"),
        "RECDEPLOY_SETTINGS": str(tmp_path / "recommender.yaml"),
    }


OUTPUTS = {
    "status": "Project product-recommender",
    "history": "triggered_by",
    "verify": "entries are whole.",
    "backups": "backups/v1_20260302_030000",
}
READ_ONLY = [list(command) for command in dict.fromkeys(map(tuple, commands_of("make"))) if command[0] in OUTPUTS]


@pytest.mark.parametrize("arguments", READ_ONLY, ids=" ".join)
def test_commands_that_only_read_run_in_a_bare_shell(arguments: list[str], shell: dict[str, str]) -> None:
    command = ["make", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=shell, capture_output=True, text=True, check=False)

    assert OUTPUTS[arguments[0]] in done.stdout, done.stderr
    # Without a key for OCI the tags cannot be compared.
    assert done.returncode == (2 if arguments[0] == "verify" else 0)


def test_the_readme_shows_every_command_that_only_reads() -> None:
    assert {command[0] for command in READ_ONLY} == set(OUTPUTS)


IN_THE_IMAGE = re.findall(r"`docker compose exec \w+ (python -m recdeploy_ops [^`]+)`", README)


@pytest.mark.parametrize("command", IN_THE_IMAGE)
def test_the_command_line_runs_in_the_image(command: str, shell: dict[str, str]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    [path] = re.findall(r"PYTHONPATH=(\S+)", dockerfile)
    assert path.startswith("/opt/recdeploy/")
    assert "WORKDIR /opt/recdeploy\n" in dockerfile
    inside = {**shell, "PYTHONPATH": path.replace("/opt/recdeploy", str(ROOT))}
    program = [sys.executable, *shlex.split(command)[1:]]

    done = subprocess.run(program, env=inside, cwd=shell["HOME"], capture_output=True, text=True, check=False)

    assert OUTPUTS[shlex.split(command)[3]] in done.stdout, done.stderr


def test_the_readme_shows_the_command_line_in_the_image() -> None:
    assert len(IN_THE_IMAGE) == 2


@pytest.mark.parametrize("arguments", commands_of("pytest"), ids=" ".join)
def test_pytest_knows_every_marker_that_is_shown(arguments: list[str]) -> None:
    assert arguments[0] == "-m"
    assert f"@pytest.mark.{arguments[1]}:" in run(sys.executable, "-m", "pytest", "--markers")


def connections() -> dict[str, dict[str, Any]]:
    matches = re.findall(r"^(AIRFLOW_CONN_\w+)='(.*?)'$", "\n".join(BLOCKS), re.DOTALL | re.MULTILINE)
    return {name: json.loads(value) for name, value in matches}


def test_the_shown_connections_are_those_of_the_settings() -> None:
    values = yaml.safe_load((ROOT / "include" / "recommender.yaml").read_text(encoding="utf-8"))

    assert set(connections()) == {f"AIRFLOW_CONN_{name.upper()}" for name in values["connections"].values()}


def test_the_shown_oci_connection_is_valid() -> None:
    shown = connections()["AIRFLOW_CONN_OCI_DEFAULT"]

    profile = OciProfile.from_fields(shown["extra"], source="the README")
    assert shown["conn_type"] == "oci"
    assert profile.region == "eu-frankfurt-1"


def test_every_named_file_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    folders = re.findall(r"^\| `(\w+/)` \|", README, re.MULTILINE)
    files = re.findall(r"`((?:include|docs|docker-compose|\.env)[\w./-]*\.\w+)`", README)
    dags = re.findall(r"`(recommender_\w+)`", README)

    assert len(links) > 3
    assert len(folders) > 5
    for name in (*links, *folders, *files, *(f"dags/{dag}.py" for dag in dags)):
        assert (ROOT / name).exists(), name
