"""Nothing secret leaves a release: canaries are planted in it, and everything that it writes or starts is searched."""

from __future__ import annotations

import configparser
import json
import logging
import re
import tempfile
import textwrap
from pathlib import Path

import pytest
from canaries import PASS_PHRASE, PASSWORD, Canaries, encrypted, observed_children
from steps.conftest import open_session
from steps.factories import Run, tidy_up
from steps.test_run_ads_operator import OPERATOR

from recdeploy_ops.approvals.pages import find_page
from recdeploy_ops.context import open_context
from recdeploy_ops.steps import run_ads_operator
from recdeploy_ops.storage.roots import open_store
from recdeploy_ops.training import runs

VAULT_SECRET = "canary-Vault-Secret-90dd17"


@pytest.fixture(params=["api_key", "security_token"])
def planted(request, emulator, profile_fields, monkeypatch):
    """Fields of a connection whose every secret is a canary, and the canaries."""
    config = Path(emulator.config_file)
    pem = (config.parent / "key.pem").read_bytes()
    session = configparser.ConfigParser()
    session.read(config)
    token_file = session["SESSION"]["security_token_file"]
    secrets = {"key": pem.decode(), "password": PASSWORD, "vault": VAULT_SECRET, "token": Path(token_file).read_text()}
    if request.param == "api_key":
        content = encrypted(pem)
        fields = {**profile_fields, "key_content": content, "pass_phrase": PASS_PHRASE, "key_file": None}
        secrets |= {"encrypted_key": content, "pass_phrase": PASS_PHRASE}
    else:
        fields = {**profile_fields, "auth": "security_token", "security_token_file": token_file}
    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": fields}))
    monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDER_DB", json.dumps({"conn_type": "oracle", "password": PASSWORD}))
    monkeypatch.setenv("AIRFLOW_VAR_FROM_VAULT", VAULT_SECRET)
    return fields, Canaries.of(**secrets)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The folder of temporary files."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def operator(tmp_path, monkeypatch):
    """Training that keeps a copy of everything in its folder, as ADS does with its YAML."""
    script = tmp_path / "operator.py"
    kept = tmp_path / "kept"
    copying = f"\nimport shutil\nshutil.copytree('.', {str(kept)!r}, dirs_exist_ok=True)\n"
    script.write_text(textwrap.dedent(OPERATOR) % str(tmp_path / "runs.txt") + copying, encoding="utf-8")
    monkeypatch.setattr(runs, "OPERATOR", script)
    return kept


class TrainedRun(Run):
    """Trains in a child process, as a release does."""

    def train(self):
        self._take(run_ads_operator)


@pytest.mark.more
def test_a_whole_release_leaves_no_secret_anywhere(
    planted, settings, emulator, tmp_path, work, operator, monkeypatch, caplog, capfd
):
    fields, canaries = planted
    caplog.set_level(logging.DEBUG)
    session = open_session(fields)
    context = open_context(settings, open_store(settings.storage, session), session, "test")

    with observed_children(monkeypatch) as children:
        TrainedRun(context, "run-1", tmp_path, top_k=4).release_fully()
        tidy_up(context)

    assert (operator / "recommender.yaml").is_file()
    assert any(b"operator.py" in command for command in children.commands)
    assert any(b"PYTHONHASHSEED=0" in seen for seen in children.environments[1::2])  # as the system shows it
    found = [(command, canaries.found_in(seen)) for command, seen in children.pairs() if canaries.found_in(seen)]
    assert found == []
    assert find_page(context.store, context.ledger, "recommender_retrain", "run-1")
    credentials = Path(emulator.config_file).parent
    assert canaries.found_below(tmp_path) == {}
    assert canaries.found_below(emulator.data_dir, without=[credentials]) == {}
    written = capfd.readouterr()
    for text in (caplog.text, written.out, written.err, repr(context), repr(session), repr(session.profile)):
        assert canaries.found_in(text.encode()) == set()
    assert re.search("verified", caplog.text)
