"""Provenance of the code, from git."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.artifacts.code_version import COMMIT_VARIABLE, describe_code

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_git_gets_no_secret_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\n/usr/bin/env\n", encoding="utf-8")
    git.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDER_DB", "oracle://ADMIN:canary@shop")
    monkeypatch.delenv(COMMIT_VARIABLE, raising=False)

    seen = describe_code().branch or ""

    assert f"PATH={tmp_path}" in seen
    assert "canary" not in seen
