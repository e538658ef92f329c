"""Workspaces: removed at their end, or by the next one if their process was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from recdeploy_ops import workspaces
from recdeploy_ops.workspaces import sweep_workspaces, workspace

PLUGINS = Path(workspaces.__file__).parents[1]
OWNER = """
import time
from recdeploy_ops.workspaces import workspace
with workspace() as folder:
    (folder / "users.parquet").write_bytes(b"the shop's")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    tempfile.tempdir = None


@pytest.fixture
def owner():
    """Start another process that uses a workspace."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(PLUGINS)}
    ) as process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_workspace_is_removed_at_its_end(temporary):
    with workspace() as folder:
        assert folder.parent == temporary
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0

    assert list(temporary.iterdir()) == []


def test_the_workspace_of_a_killed_process_is_removed_by_the_next(owner):
    process, folder = owner
    process.kill()
    process.wait()
    assert (folder / "users.parquet").is_file()

    with workspace():
        assert not folder.exists()


def test_a_zombie_process_counts_as_ended(owner):
    process, folder = owner
    process.kill()
    while Path("/proc", str(process.pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)

    assert sweep_workspaces() == [folder.name]


def test_the_workspace_of_a_running_process_is_left_alone(owner):
    _, folder = owner

    with workspace():
        assert (folder / "users.parquet").is_file()


def test_a_later_process_with_the_same_id_does_not_keep_a_workspace(temporary):
    with workspace() as own:
        pid, started, namespace = own.name.split("-")[1:4]
        earlier = temporary / f"recdeploy-{pid}-{int(started) - 1}-{namespace}-left"
        earlier.mkdir()

        assert sweep_workspaces() == [earlier.name]
        assert own.is_dir()


def test_a_workspace_of_another_container_is_removed_only_when_it_is_old(temporary):
    young, old = (temporary / f"recdeploy-1-1-1-{name}" for name in ("young", "old"))
    for folder in (young, old):
        folder.mkdir()
    os.utime(old, times=(0, time.time() - workspaces.FOREIGN_SECONDS - 60))

    assert sweep_workspaces() == [old.name]
    assert young.is_dir()


def test_other_folders_and_links_are_left_alone(temporary):
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    with workspace() as own:
        namespace = own.name.split("-")[3]
    (temporary / f"recdeploy-1-9-{namespace}-link").symlink_to(elsewhere)
    (temporary / "recdeploy-foreign").mkdir()

    assert sweep_workspaces() == []
    assert (elsewhere / "kept").exists()


def test_without_proc_the_id_alone_decides(temporary, monkeypatch, owner):
    monkeypatch.setattr(workspaces, "PROC", temporary / "no-proc")
    process, _ = owner
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (process.pid, dead.pid, 1):
        (temporary / f"recdeploy-{pid}-0-0-x").mkdir()

    assert sweep_workspaces() == [f"recdeploy-{dead.pid}-0-0-x"]
