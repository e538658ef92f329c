"""`verify` over every way to tamper with the ledger: what it notices without a key, and with one."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml
from steps.factories import Run, adopt, reopen

from recdeploy_ops.__main__ import main
from recdeploy_ops.domain.entries import Entry
from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.domain.events import ApprovalAnswered, PromotionsResumed
from recdeploy_ops.oci_clients.tags import LEDGER_TAG
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.settings import SETTINGS_VARIABLE, load_settings
from recdeploy_ops.storage.keys import SNAPSHOT, entry_key

KEY = "a key that only the workers have, 32 characters"
NOT_YET = PromotionsResumed("it is over", "the CEO")


class Tampered:
    """A ledger in storage and its tags in OCI, as somebody changes them who can write both and has no key."""

    def __init__(self, context, emulator, folder):
        self.context, self._emulator, self.folder = context, emulator, folder
        self.entries = list(context.history())

    def path(self, seq):
        return self.folder / entry_key(seq)

    def write(self, entries):
        """Store a chain of entries, with hashes that fit each other, and no snapshot."""
        for entry in self.entries:
            self.path(entry.seq).unlink(missing_ok=True)
        (self.folder / SNAPSHOT).unlink(missing_ok=True)
        previous = None
        for entry in entries:
            written = entry if previous is None else replace(entry, previous=previous)
            self.path(entry.seq).write_bytes(written.encode())
            previous = written.sha256
        self.head = f"{len(entries)}:{previous}"

    def forge(self):
        """Let the CEO have answered the approvals."""
        self.write(
            [
                replace(entry, event=replace(entry.event, by="the CEO"))
                if isinstance(entry.event, ApprovalAnswered)
                else entry
                for entry in self.entries
            ]
        )

    def cut_off(self):
        self.write(self.entries[:-1])

    def append(self, at):
        newest = self.entries[-1]
        forged = Entry(newest.seq + 1, newest.sha256, "terminal-resume", at, NOT_YET)
        self.path(forged.seq).write_bytes(forged.encode())

    def tag(self, head):
        """Write a head into every tag of the project; an empty one is none."""
        production = find_production(self.context)
        self.context.deployments.tag(production, {**production.tags, LEDGER_TAG: head})
        self._emulator.wait_until_idle()
        for model in list_models(self.context):
            self.context.catalog.tag(model.model_id, {LEDGER_TAG: head})


def edit(ledger):
    ledger.path(3).write_bytes(ledger.path(3).read_bytes().replace(b"run-", b"ran-"))


def fill_with_garbage(ledger):
    ledger.path(3).write_bytes(b"\x00garbage")


def link(ledger):
    ledger.path(3).unlink()
    ledger.path(3).symlink_to(ledger.path(4))


def skip_numbers(ledger):
    ledger.path(99_999_999).write_bytes(ledger.entries[-1].encode())


def forge(ledger):
    ledger.forge()


def forge_and_untag(ledger):
    ledger.forge()
    ledger.tag("")


def forge_and_tag(ledger):
    ledger.forge()
    ledger.tag(ledger.head)


def cut_off(ledger):
    ledger.cut_off()


def cut_off_and_untag(ledger):
    ledger.cut_off()
    ledger.tag("")


def roll_everything_back(ledger):
    ledger.cut_off()
    ledger.tag(ledger.head)


def append_in_the_past(ledger):
    ledger.append(datetime(2020, 1, 1, tzinfo=UTC))


def append_now(ledger):
    ledger.append(ledger.entries[-1].at)


def rewrite_the_newest(ledger):
    newest = ledger.entries[-1]
    ledger.tag(f"{newest.seq - 1}:{newest.previous}")
    ledger.write([*ledger.entries[:-1], replace(newest, event=replace(newest.event, seen_work_request="none"))])


def untag(ledger):
    ledger.tag("")


def do_nothing(ledger):
    """Leave the ledger as it is."""


# The exit code without a key, and with one. A 0 after a change is a limit that docs/security.md names.
WAYS = [
    (do_nothing, 0, 0),
    (edit, 1, 1),
    (fill_with_garbage, 1, 1),
    (link, 1, 1),
    (skip_numbers, 1, 1),
    (forge, 1, 1),
    (forge_and_untag, 2, 1),
    (forge_and_tag, 0, 1),
    (cut_off, 1, 1),
    (cut_off_and_untag, 2, 2),
    (roll_everything_back, 0, 0),
    (append_in_the_past, 1, 1),
    (append_now, 0, 1),
    (rewrite_the_newest, 0, 1),
    (untag, 2, 2),
]


@pytest.fixture
def shell(settings, profile_fields, monkeypatch):
    """The environment of a terminal: the settings file, and Airflow's connections as variables."""
    monkeypatch.setenv(SETTINGS_VARIABLE, str(settings.folder / "recommender.yaml"))
    monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": profile_fields}))
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER_KEY", json.dumps({"conn_type": "generic", "password": KEY}))


@pytest.fixture
def sign(settings):
    """Let the settings name the key."""

    def sign():
        file = settings.folder / "recommender.yaml"
        values = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump(values | {"signing": {"connection": "ledger_key"}}))
        return load_settings(file)

    return sign


def release(context, tmp_path):
    Run(context, "run-1", tmp_path).release_fully()


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(("tamper", "code"), [(tamper, code) for tamper, code, _ in WAYS])
def test_a_ledger_without_a_key_is_compared_with_the_tags(context, released, emulator, tmp_path, tamper, code, capsys):
    released()
    tamper(Tampered(context, emulator, tmp_path / "storage"))

    assert main(["verify"]) == code
    assert ("nothing was compared" in capsys.readouterr().out) == (code == 2)


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(("tamper", "code"), [(tamper, code) for tamper, _, code in WAYS])
def test_a_signed_ledger_cannot_be_forged_without_its_key(
    context, begin_with, sign, emulator, tmp_path, tamper, code, capsys
):
    signed = reopen(context, signing=sign().signing)
    begin_with("released-signed", lambda: release(signed, tmp_path))
    tamper(Tampered(signed, emulator, tmp_path / "storage"))

    assert main(["verify"]) == code
    said = capsys.readouterr().out
    assert ("nothing was compared" in said) == (code == 2)
    assert "have a valid signature" in said or code == 1


@pytest.mark.usefixtures("shell")
def test_a_forged_entry_stops_a_release_and_the_ledger_is_rebuilt_signed(context, sign, emulator, tmp_path, capsys):
    signed = reopen(context, signing=sign().signing)
    release(signed, tmp_path)
    append_now(Tampered(signed, emulator, tmp_path / "storage"))

    assert main(["status"]) == 1
    assert "is not signed: it was written without the ledger's key" in capsys.readouterr().err
    with pytest.raises(IntegrityError, match="is not signed"):
        Run(reopen(signed), "run-2", tmp_path).plan()

    adopt(reopen(signed))
    assert main(["verify"]) == 0
    assert re.search(r"The ledger's (\d+) entries are whole, and \1 of them have a valid", capsys.readouterr().out)


@pytest.mark.usefixtures("shell")
def test_a_shell_without_the_key_says_what_to_define(context, sign, monkeypatch, capsys):
    sign()
    monkeypatch.delenv("AIRFLOW_CONN_LEDGER_KEY")

    assert main(["verify"]) == main(["status"]) == 3
    assert (
        "The connection 'ledger_key' does not exist. Its password is the key of the ledger's signatures."
        in capsys.readouterr().err
    )
