"""docker-compose.yaml, Dockerfile and .env.example: every name in them is looked up, without a container engine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from recdeploy_ops.artifacts.code_version import COMMIT_VARIABLE, CodeVersion, describe_code

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
FINAL_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
HOME = "/opt/recdeploy"
# A value that begins with this is not a secret, whatever the variable's name.
NO_SECRETS = ("${", "airflow.secrets.", "/opt/recdeploy/", '{"connections_file_path"')

# Runs Airflow in a separate process: importing it creates a home folder.
QUERY_AIRFLOW = """
import importlib.util, json, sys
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf
from airflow.secrets.local_filesystem import LocalFilesystemBackend, load_connections_dict

query = json.load(sys.stdin)
for command in query["commands"]:
    get_parser().parse_args(command)  # exits with a message when it is wrong
sections = conf.configuration_description.items()
known = [f"{section}__{option}" for section, text in sections for option in text["options"]]
connections = load_connections_dict(query["connections"])
print(json.dumps({
    "options": known,
    "worker": bool(importlib.util.find_spec(query["worker"])),
    "backend": f"{LocalFilesystemBackend.__module__}.{LocalFilesystemBackend.__qualname__}",
    "connections": {name: [c.conn_type, c.host, c.extra_dejson] for name, c in connections.items()},
}))
"""

VALIDATOR = jsonschema.Draft202012Validator(get_builtin_schema("vendor.compose-spec"))
# The schema leaves these to the engine.
TIMES = ("interval", "timeout", "start_period")
DURATION = re.compile(r"(\d+h)?(\d+m)?(\d+s)?")
ONE_TIME = {"init", "emulator-connections"}


def command_of(service: dict[str, Any]) -> list[str]:
    command = service.get("command", [])
    return shlex.split(command) if isinstance(command, str) else command


def programs() -> list[list[str]]:
    """Every command line in the file: commands, health checks and the lines of shell scripts."""
    lines = []
    for service in SERVICES.values():
        for command in (command_of(service), service.get("healthcheck", {}).get("test", [])):
            if command[:1] == ["CMD-SHELL"] or command[:1] == ["sh"]:
                lines += [shlex.split(line, comments=True) for line in command[-1].splitlines() if "'" not in line]
            elif command:
                lines.append(command[1:] if command[0] == "CMD" else command)
    return [command for command in lines if command]


def variables(text: str) -> set[str]:
    return set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text))


def test_the_compose_file_is_valid() -> None:
    VALIDATOR.validate(COMPOSE)


@pytest.mark.parametrize(
    "mistake",
    [
        {"healtcheck": {"test": ["CMD", "true"]}},
        {"healthcheck": {"test": ["CMD", "true"], "retry": 3}},
        {"depends_on": {"redis": {"condition": "healthy", "when": "up"}}},
        {"restart": False},
        {"ports": {"8080": 8080}},
    ],
    ids=str,
)
def test_the_schema_refuses_a_typo(mistake: dict[str, Any]) -> None:
    spoiled = {**COMPOSE, "services": {**SERVICES, "worker": {**SERVICES["worker"], **mistake}}}

    with pytest.raises(jsonschema.ValidationError, match=re.escape(next(iter(mistake)))):
        VALIDATOR.validate(spoiled)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_health_check_or_runs_once(name: str) -> None:
    service = SERVICES[name]
    times = [service.get("stop_grace_period", ""), *(service.get("healthcheck", {}).get(key, "") for key in TIMES)]

    assert "image" in service
    assert ("healthcheck" in service) != (name in ONE_TIME)
    assert name not in ONE_TIME or service["command"]
    assert all(DURATION.fullmatch(time) for time in times)


@pytest.mark.parametrize(
    "name", ["api-server", "scheduler", "dag-processor", "triggerer", "worker", "postgres", "redis", "init", "emulator"]
)
def test_every_part_of_airflow_has_a_service(name: str) -> None:
    assert name in SERVICES


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_depends_on_existing_services(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        if how["condition"] == "service_completed_successfully":
            assert other in ONE_TIME
            assert SERVICES[other]["restart"] == "no"
        if "profiles" in SERVICES[other] and "profiles" not in SERVICES[name]:
            assert how["required"] is False


@pytest.mark.parametrize("name", SERVICES)
def test_named_volumes_are_declared_and_mounted_on_folders_of_the_image(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, target = volume.rsplit(":", 1)
        source = source.removeprefix("${RECDEPLOY_CONNECTIONS:-").removesuffix("}")
        assert source in COMPOSE["volumes"]
        if target.startswith(HOME):
            folder = target.removeprefix(f"{HOME}/")
            assert re.search(rf"mkdir -p [^&]*\b{re.escape(folder)}\b", DOCKERFILE)
            assert re.search(rf"chown -R airflow:root [^&]*\b{re.escape(folder.split('/')[0])}\b", DOCKERFILE)


def test_every_declared_volume_is_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}

    assert set(COMPOSE["volumes"]) - {"connections"} <= used


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Airflow's options and connections; it has parsed every command line."""
    home = tmp_path_factory.mktemp("airflow")
    shop = {"conn_type": "sqlite", "host": "/opt/shop.db"}
    connections = {"oci_default": {"conn_type": "oci", "extra": {"region": "r"}}, "recommender_db": shop}
    (home / "connections.json").write_text(json.dumps(connections), encoding="utf-8")
    query = {
        "commands": [command[1:] for command in programs() if command[0] == "airflow"],
        "connections": str(home / "connections.json"),
        "worker": re.findall(r"--app ([a-z_.]+)\.app ", SERVICES["worker"]["healthcheck"]["test"][-1])[0],
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", QUERY_AIRFLOW],
        input=json.dumps(query),
        env={**environment, "AIRFLOW_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_airflow_parses_every_command(airflow: dict[str, Any]) -> None:
    commands = {" ".join(command[:3]) for command in programs() if command[0] == "airflow"}

    assert airflow
    assert {"airflow db migrate", "airflow celery worker", "airflow dag-processor"} <= commands


@pytest.mark.parametrize("command", [c for c in programs() if "-m" in c], ids=" ".join)
def test_every_module_that_is_run_exists(command: list[str]) -> None:
    module = command[command.index("-m") + 1]

    assert importlib.util.find_spec(module) or importlib.util.find_spec(f"{module}.__main__")
    assert f"COPY {module.split('.')[0]} " in DOCKERFILE


def test_the_application_of_the_workers_health_check_exists(airflow: dict[str, Any]) -> None:
    assert airflow["worker"]


@pytest.mark.parametrize("name", sorted({n for s in SERVICES.values() for n in s.get("environment", {}) if "__" in n}))
def test_each_variable_is_an_option_of_airflow(name: str, airflow: dict[str, Any]) -> None:
    assert name.lower().removeprefix("airflow__") in airflow["options"]


def test_the_named_secrets_backend_exists(airflow: dict[str, Any]) -> None:
    environment = SERVICES["scheduler"]["environment"]

    assert environment["AIRFLOW__SECRETS__BACKEND"] == airflow["backend"]
    assert "connections_file_path" in json.loads(environment["AIRFLOW__SECRETS__BACKEND_KWARGS"])


def test_the_compose_file_contains_no_secret() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|KEY|TOKEN|AUTH$|CONN|URL|BACKEND", name):
                literal = re.sub(r"\$\{[^}]+\}", "", str(value))
                assert str(value).startswith(NO_SECRETS) or not re.search(r"://[^/@]*:[^/@]+@", literal), name
    assert not re.search(r"^[A-Z_]+=(?!$)", EXAMPLE, re.MULTILINE)


def test_every_secret_is_required_with_a_message() -> None:
    text = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")

    required = set(re.findall(r"\$\{([A-Z_]+):\?[^}]+\}", text))

    assert required == set(re.findall(r"^([A-Z_]+)=$", EXAMPLE, re.MULTILINE))


def test_the_example_lists_every_variable() -> None:
    used = variables((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))

    assert used == set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE))


def test_every_image_of_others_is_named_by_digest_and_can_be_replaced() -> None:
    compose = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"\$\{([A-Z]+_IMAGE):-([^}]+)\}", compose))

    of_others = {service["image"] for service in SERVICES.values() if not service["image"].startswith("recdeploy:")}
    assert of_others == {f"${{{name}:-{defaults[name]}}}" for name in ("POSTGRES_IMAGE", "REDIS_IMAGE")}
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall("^FROM (\\S+)", dockerfile, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    assert re.findall("^ARG PYTHON_IMAGE=(.+)$", dockerfile, re.MULTILINE) == [defaults["PYTHON_IMAGE"]]
    for name, default in defaults.items():
        assert (image := re.fullmatch(r"([a-z]+):[a-z0-9.-]+@sha256:[0-9a-f]{64}", default)), default
        assert re.search(rf"^#{name}={image[1]}:\S+@sha256:\.\.\.$", EXAMPLE, re.MULTILINE), name


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, {"admin": "new"}),
        ({"admin": "old"}, {"admin": "new"}),
        ({"admin": "old", "ann": "hers"}, {"admin": "new", "ann": "hers"}),
    ],
)
def test_setting_the_admins_password_keeps_other_users_passwords(
    before: dict[str, str] | None, after: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "passwords.json"
    if before is not None:
        file.write_text(json.dumps(before), encoding="utf-8")
    script = SERVICES["init"]["command"][-1].split("airflow db migrate")[0].replace("$$", "$")
    variables = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(file), "ADMIN_PASSWORD": "new"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    subprocess.run(["/bin/sh", "-ec", script], env={"PATH": path, **variables}, check=True)

    assert json.loads(file.read_text(encoding="utf-8")) == after
    assert file.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [file]


def test_the_image_records_its_commit() -> None:
    assert COMMIT_VARIABLE == "RECDEPLOY_GIT_COMMIT"
    assert re.search(rf"^ARG {COMMIT_VARIABLE}=$", FINAL_STAGE, re.MULTILINE)
    assert re.search(rf"^ENV {COMMIT_VARIABLE}=\${COMMIT_VARIABLE}$", FINAL_STAGE, re.MULTILINE)
    for name, service in SERVICES.items():
        if name not in {"postgres", "redis"}:
            assert service["build"]["args"][COMMIT_VARIABLE] == f"${{{COMMIT_VARIABLE}:-}}"
            assert COMMIT_VARIABLE not in service["environment"], "an empty one would hide the image's own"


def test_a_model_has_the_commit_of_the_image_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMMIT_VARIABLE, "0a1b2c3")
    assert describe_code() == CodeVersion(repository=None, branch=None, commit="0a1b2c3")
    monkeypatch.setenv(COMMIT_VARIABLE, "")
    monkeypatch.setenv("PATH", "/nowhere")
    assert describe_code() == CodeVersion(repository=None, branch=None, commit=None)


def test_copied_paths_exist_and_are_not_ignored() -> None:
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for sources in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in sources.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}" in kept


def test_the_image_installs_the_lock_by_hash_and_runs_unprivileged() -> None:
    instructions = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]

    assert re.search(r"--require-hashes\s+--compile-bytecode /tmp/requirements.txt", DOCKERFILE)
    assert instructions[-4] == "USER airflow"
    assert not re.search(r"^(ENV|ARG) .*(PASSWORD|SECRET|TOKEN)", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\b(AIRFLOW__[A-Z_]+)=", DOCKERFILE))))
def test_variables_of_the_image_are_options_of_airflow(name: str, airflow: dict[str, Any]) -> None:
    assert name.lower().removeprefix("airflow__") in airflow["options"]


def test_only_the_api_server_is_published_by_default_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"api-server": ["${AIRFLOW_BIND:-127.0.0.1}:${AIRFLOW_PORT:-8080}:8080"]}


def test_airflow_reads_the_connections_of_the_emulator_profile(airflow: dict[str, Any]) -> None:
    assert airflow["connections"] == {
        "oci_default": ["oci", None, {"region": "r"}],
        "recommender_db": ["sqlite", "/opt/shop.db", {}],
    }
