"""What the README tells its reader to do can be done: commands, paths, names and connections."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.options import read_options
from recdeploy_ops.__main__ import main
from recdeploy_ops.oci_clients.sessions import OciProfile

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README.replace("\n   ", "\n"), re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for line in "\n".join([*BLOCKS, *re.findall(r"`((?:make|python -m|pytest) [^`]+)`", README)]).splitlines()
    if line.startswith(("make ", "python -m ", "pytest "))
]


def commands_of(program: str) -> list[list[str]]:
    found = [command[1:] for command in COMMANDS if command[0] == program]
    assert found, f"the README shows no {program} command"
    return found


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("arguments", commands_of("make"), ids=" ".join)
def test_make_knows_every_target_and_variable_that_is_shown(arguments: list[str]) -> None:
    run("make", "--dry-run", *arguments)
    variables = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    assert all(f"{name}=" in run("make", "help") for name in variables)
    if "demo" in arguments:
        read_options(variables)


@pytest.mark.parametrize("arguments", commands_of("python"), ids=" ".join)
def test_the_command_line_knows_every_command_that_is_shown(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load((ROOT / "include" / "recommender.yaml").read_text(encoding="utf-8"))
    (tmp_path / "sql").mkdir()
    (tmp_path / "recommender.yaml").write_text(
        yaml.safe_dump({**values, "storage": (tmp_path / "storage").as_uri()}), encoding="utf-8"
    )
    monkeypatch.setenv("RECDEPLOY_SETTINGS", str(tmp_path / "recommender.yaml"))
    monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT", raising=False)

    assert arguments[:2] == ["-m", "recdeploy_ops"]
    assert main(arguments[2:]) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("arguments", commands_of("pytest"), ids=" ".join)
def test_pytest_knows_every_marker_that_is_shown(arguments: list[str]) -> None:
    assert arguments[0] == "-m"
    assert f"@pytest.mark.{arguments[1]}:" in run(sys.executable, "-m", "pytest", "--markers")


def connections() -> dict[str, dict[str, Any]]:
    found = re.findall(r"^(AIRFLOW_CONN_\w+)='(.*?)'$", "\n".join(BLOCKS), re.DOTALL | re.MULTILINE)
    return {name: json.loads(value) for name, value in found}


def test_the_connections_that_are_shown_are_those_of_the_settings() -> None:
    values = yaml.safe_load((ROOT / "include" / "recommender.yaml").read_text(encoding="utf-8"))

    assert set(connections()) == {f"AIRFLOW_CONN_{name.upper()}" for name in values["connections"].values()}


def test_the_oci_connection_that_is_shown_is_understood() -> None:
    shown = connections()["AIRFLOW_CONN_OCI_DEFAULT"]

    profile = OciProfile.from_fields(shown["extra"], source="the README")
    assert shown["conn_type"] == "oci"
    assert profile.region == "eu-frankfurt-1"


def test_everything_that_is_named_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    folders = re.findall(r"^\| `(\w+/)` \|", README, re.MULTILINE)
    files = re.findall(r"`((?:include|docs|docker-compose|\.env)[\w./-]*\.\w+)`", README)
    dags = re.findall(r"`(recommender_\w+)`", README)

    assert len(links) > 3
    assert len(folders) > 5
    for name in (*links, *folders, *files, *(f"dags/{dag}.py" for dag in dags)):
        assert (ROOT / name).exists(), name
