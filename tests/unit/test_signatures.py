"""Signatures of the ledger's entries: what a key proves, and what a ledger refuses without it."""

import json
from dataclasses import replace

import pytest
from events import PROJECT, START, chain, opened, registered, validated

from recdeploy_ops.domain.errors import IntegrityError, SettingsError
from recdeploy_ops.domain.signatures import LEAST_CHARACTERS, METHOD, Seal, seal_of
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.settings.connections import find_connection
from recdeploy_ops.storage.directories import DirectoryStore
from recdeploy_ops.storage.keys import SNAPSHOT

KEY, OTHER = b"k" * LEAST_CHARACTERS, b"o" * LEAST_CHARACTERS
ENTRIES = chain(opened(), registered(), validated())
NEWEST = ENTRIES[-1]


def ledger_in(folder, seal=None):
    return Ledger(DirectoryStore(folder.as_uri()), PROJECT, lambda: START, seal)


def fill(folder, seal, *events):
    ledger = ledger_in(folder, seal)
    for event in events:
        ledger.append("run-1", event, guard=lambda state: None)
    return ledger


def test_a_signature_covers_every_field():
    signed = Seal(KEY).sign(NEWEST)
    changes = {
        "seq": 9,
        "previous": "0" * 64,
        "run_id": "run-2",
        "at": START.replace(year=2020),
        "event": opened(),
    }

    Seal(KEY).require_signed([signed])
    for name, value in changes.items():
        with pytest.raises(IntegrityError, match="is not of the ledger's key"):
            Seal(KEY).require_signed([replace(signed, **{name: value})])


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        (None, r"entry 4 \(test_validated\) is not signed"),
        ("", "is not of the ledger's key"),
        (METHOD, "is not of the ledger's key"),
        ("läuft", "is not of the ledger's key"),
        (Seal(OTHER).sign(NEWEST).signature, "former_passwords"),
        (Seal(KEY).sign(ENTRIES[0]).signature, "is not of the ledger's key"),
    ],
)
def test_another_signature_is_noticed(signature, says):
    with pytest.raises(IntegrityError, match=says):
        Seal(KEY).require_signed([replace(NEWEST, signature=signature)])


def test_entries_from_before_the_key_need_no_signature_and_no_others_do_without():
    signed = Seal(KEY).sign(NEWEST)

    Seal(KEY, unsigned_entries=3).require_signed([*ENTRIES[:3], signed])
    with pytest.raises(IntegrityError, match=r"older than its key.*\(setting signing.unsigned_entries\)"):
        Seal(KEY, unsigned_entries=2).require_signed([*ENTRIES[:3], signed])
    with pytest.raises(IntegrityError, match="who may write to the storage"):  # no entry after a signed one
        Seal(KEY, unsigned_entries=9).require_signed([NEWEST], after=signed)
    with pytest.raises(IntegrityError, match="is not of the ledger's key"):  # a wrong signature is worse than none
        Seal(KEY, unsigned_entries=4).require_signed([Seal(OTHER).sign(NEWEST)])


def test_a_former_key_is_good_for_what_it_signed():
    Seal(KEY, (OTHER,)).require_signed([Seal(OTHER).sign(entry) for entry in ENTRIES])


def test_a_seal_shows_no_key():
    assert KEY.decode() not in repr(Seal(KEY, (OTHER,)))


@pytest.mark.parametrize(
    ("password", "former", "says"),
    [
        (None, None, "fewer than 32 characters"),
        ("k" * 31, None, "fewer than 32 characters"),
        (KEY.decode(), ["short"], "fewer than 32 characters"),
        (KEY.decode(), OTHER.decode(), "is not a list of texts"),
        (KEY.decode(), [7], "is not a list of texts"),
    ],
)
def test_a_weak_or_impossible_key_is_refused_without_showing_it(password, former, says):
    with pytest.raises(SettingsError, match=says) as caught:
        seal_of(password, former, source="The connection 'ledger'")

    assert str(caught.value).startswith("The connection 'ledger'")
    for secret in ("kkkk", "short", "oooo"):
        assert secret not in str(caught.value)


def test_a_connection_becomes_a_seal(monkeypatch):
    stored = {"conn_type": "generic", "password": KEY.decode(), "extra": {"former_passwords": [OTHER.decode()]}}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(stored))
    connection = find_connection("ledger")

    seal = seal_of(connection.password, connection.extra["former_passwords"], source="", unsigned_entries=7)

    assert seal == Seal(KEY, (OTHER,), 7)


def test_every_appended_entry_is_signed_and_read_again(tmp_path):
    fill(tmp_path, Seal(KEY), opened(), registered()).write_snapshot()
    fill(tmp_path, Seal(KEY), validated())

    entries = ledger_in(tmp_path, Seal(KEY)).entries()
    assert [entry.signature.startswith(METHOD) for entry in entries] == [True] * 4
    assert ledger_in(tmp_path).entries() == entries  # reading needs no key
    with pytest.raises(IntegrityError, match="ledger entry 1 "):
        ledger_in(tmp_path, Seal(OTHER)).read()


def test_a_signed_ledger_is_not_continued_without_its_key(tmp_path):
    fill(tmp_path, Seal(KEY), opened())

    with pytest.raises(SettingsError, match=r"signed since entry 2 or earlier.*\(setting signing.connection\)"):
        fill(tmp_path, None, registered())
    assert ledger_in(tmp_path).read().seq == 2


def test_a_ledger_is_signed_from_some_entry_on(tmp_path):
    fill(tmp_path, None, opened(), registered()).write_snapshot()
    with pytest.raises(IntegrityError, match=r"entry 1 .* is not signed"):
        ledger_in(tmp_path, Seal(KEY)).read()

    fill(tmp_path, Seal(KEY, unsigned_entries=3), validated())

    assert [bool(entry.signature) for entry in ledger_in(tmp_path).entries()] == [False, False, False, True]


def test_a_forged_snapshot_is_not_believed(tmp_path):
    fill(tmp_path, Seal(KEY), opened(), registered())
    forged = b"".join(entry.encode() for entry in ENTRIES[:3])
    DirectoryStore(tmp_path.as_uri()).replace(SNAPSHOT, forged)

    ledger = ledger_in(tmp_path, Seal(KEY))

    assert all(entry.signature for entry in ledger.entries())
