"""The Makefile's targets, its help, and an idempotent set-up."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "setup.sh"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z-]+):(?!=)", MAKEFILE, re.MULTILINE)


def run(*command: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    # Without the variables of the make that runs the tests.
    of_make = {"PYTHON", "MAKEFLAGS", "MAKELEVEL", "ARGS", "TEST_WORKERS"}
    base = {name: value for name, value in os.environ.items() if name not in of_make}
    return subprocess.run(command, cwd=cwd, env=base | variables, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose environment is this one, complete."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "setup.sh").write_bytes(SCRIPT.read_bytes())
    (tmp_path / "requirements-dev.txt").write_text("# nothing\n", encoding="utf-8")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    digest = hashlib.sha256((tmp_path / "requirements-dev.txt").read_bytes()).hexdigest()
    (tmp_path / ".venv" / ".recdeploy").write_text(f"{digest} {sys.version.split()[0]}\n", encoding="utf-8")
    return tmp_path


def test_help_describes_every_target() -> None:
    output = run("make", "help").stdout

    assert len(TARGETS) > 15
    for target in TARGETS:
        assert target == "help" or re.search(rf"^  {target} +\S.+", output, re.MULTILINE)
    assert run("make").stdout == output


def test_every_target_is_phony() -> None:
    phony = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)[0].split()

    assert set(phony) == set(TARGETS)


@pytest.mark.parametrize("target", [target for target in TARGETS if target not in {"help", "setup", "clean"}])
def test_a_target_sets_up_the_environment_first(target: str) -> None:
    assert re.search(rf"^{target}: setup ", MAKEFILE, re.MULTILINE)


def test_clean_does_not_print_its_commands(tmp_path: Path) -> None:
    assert "rm -rf" not in run("make", "clean", f"BIN={tmp_path}", cwd=copied_makefile(tmp_path)).stdout


def copied_makefile(folder: Path) -> Path:
    (folder / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    return folder


@pytest.mark.parametrize(("given", "shown"), [([], "-m demo predict\n"), (["USER=a b"], '-m demo predict "$USER"\n')])
def test_the_login_name_is_not_used_as_a_user_of_the_shop(given: list[str], shown: str) -> None:
    assert run("make", "--dry-run", "predict", *given, USER="root").stdout.replace(" \n", "\n").endswith(shown)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([], "rollback"),
        (["VERSION=3", "REASON=it's odd"], 'rollback --version "$VERSION" --reason "$REASON"'),
        (["VERSION=previous", "REASON=x", "ARGS=--yes"], 'rollback --version "$VERSION" --reason "$REASON" --yes'),
    ],
)
def test_only_variables_of_make_itself_name_the_rollback_target(given: list[str], shown: str) -> None:
    output = run("make", "--dry-run", "rollback", *given, VERSION="9", REASON="of the environment").stdout
    assert " ".join(output.replace("\\\n", " ").split()).endswith(f"-m recdeploy_ops {shown}")


def test_help_explains_every_option_of_the_demo() -> None:
    read = set(re.findall(r'"([A-Z_]+)"', (ROOT / "demo" / "options.py").read_text(encoding="utf-8")))

    for option in read:
        assert f"{option}=" in run("make", "help").stdout


def test_setup_does_nothing_if_the_environment_exists(project: Path) -> None:
    done = run("/bin/sh", "scripts/setup.sh", cwd=project, PYTHON="")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_a_suitable_python_the_error_names_the_remedy(project: Path, tmp_path: Path) -> None:
    (project / ".venv" / ".recdeploy").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "head", "cut", "cat", "date", "rm"):
        program = next(Path(folder, tool) for folder in os.defpath.split(":") if Path(folder, tool).exists())
        (tools / tool).symlink_to(program)

    done = run("/bin/sh", "scripts/setup.sh", cwd=project, PATH=str(tools))

    assert done.returncode == 1
    assert "No Python 3.11, 3.12 or 3.13 is on PATH" in done.stderr
    assert "make setup PYTHON=" in done.stderr
    assert (project / ".venv" / "bin" / "python").exists()


def test_an_unsuitable_python_is_named(project: Path) -> None:
    done = run("/bin/sh", "scripts/setup.sh", cwd=project, PYTHON="/bin/false")

    assert done.returncode == 1
    assert "PYTHON=/bin/false" in done.stderr
    assert (project / ".venv" / ".recdeploy").exists()


def test_an_environment_of_another_folder_is_not_changed(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "environment"
    (project / ".venv").rename(other)
    (project / ".venv").symlink_to(other)
    unchanged = run("/bin/sh", "scripts/setup.sh", cwd=project)
    (project / "requirements-dev.txt").write_text("# another lock\n", encoding="utf-8")

    done = run("/bin/sh", "scripts/setup.sh", cwd=project)

    assert (unchanged.returncode, done.returncode) == (0, 1)
    assert f".venv is a link to {other}" in done.stderr
    assert "rm .venv" in done.stderr
    assert (other / ".recdeploy").exists()


def test_a_missing_lock_is_named(project: Path) -> None:
    (project / "requirements-dev.txt").unlink()

    done = run("/bin/sh", "scripts/setup.sh", cwd=project)

    assert done.returncode == 1
    assert "requirements-dev.txt" in done.stderr


@pytest.mark.parametrize("script", ["scripts/setup.sh", ".ci/run"])
def test_scripts_are_executable_and_of_valid_syntax(script: str) -> None:
    path = ROOT / script
    shell = path.read_text(encoding="utf-8").splitlines()[0].split("/")[-1].split()[-1]

    assert os.access(path, os.X_OK)
    assert run(shell, "-n", str(path)).returncode == 0


@pytest.mark.parametrize(
    ("required", "code", "message"), [("", 0, "skipped"), ("1", 1, "RECDEPLOY_REQUIRE_BROWSER is set")]
)
def test_without_a_browser_its_tests_are_skipped_unless_required(
    required: str, code: int, message: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pytest", "tests/browser/test_trigger_form.py", "-p", "no:cacheprovider"]

    done = run(*command, PATH=str(tmp_path), RECDEPLOY_REQUIRE_BROWSER=required)

    assert done.returncode == code, done.stdout
    assert message in done.stdout
    assert "install one with apt-get install chromium" in done.stdout


@pytest.mark.parametrize(("target", "marked"), [("test", '"not more"'), ("test-more", "more")])
def test_a_change_is_merged_after_both_targets_which_together_run_every_test(target: str, marked: str) -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert run("make", "--dry-run", target).stdout.rstrip().endswith(f" -m {marked}")
    assert re.search(rf"^(RECDEPLOY_REQUIRE_BROWSER=1 )?timeout .* make {target}$", script, re.MULTILINE)
    assert re.search(r"^RECDEPLOY_REQUIRE_BROWSER=1 .* make test-more$", script, re.MULTILINE)


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_package_of_a_lock_has_a_hash(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    packages = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]

    assert len(packages) > 100
    assert all("--hash=sha256:" in package for package in packages)
