"""The first entry of a ledger, with its project and its format, and the texts that an entry may have."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from events import (
    PROJECT,
    START,
    adopted,
    answered,
    backup_failed,
    chain,
    deployed,
    of,
    opened,
    opened_rollback,
    promoted,
    registered,
    rejected,
    rolled_back,
    serving,
    started,
    switch_failed,
    validated,
    version_of,
)
from events import ROLLBACK as ROLLBACK_PARAMS

from recdeploy_ops.domain.entries import FORMAT, Entry, decode
from recdeploy_ops.domain.errors import IntegrityError, LedgerFormatError, SettingsError
from recdeploy_ops.domain.ledger_state import NO_ENTRY
from recdeploy_ops.domain.release_status import describe_history, dump_history
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.oci_clients.callers import name_caller
from recdeploy_ops.storage.directories import DirectoryStore
from recdeploy_ops.storage.keys import LEDGER, SNAPSHOT, entry_key


@pytest.fixture
def store(tmp_path):
    return DirectoryStore(tmp_path.as_uri())


def ledger_of(store, project=PROJECT):
    return Ledger(store, project, lambda: START)


def append(ledger, event, run_id="run-1"):
    return ledger.append(run_id, event, guard=lambda state: None)


def keys(store):
    return [stored.key for stored in store.list(LEDGER)]


def put(store, entries):
    for entry in entries:
        store.create(entry_key(entry.seq), entry.encode())


def test_the_first_entry_names_the_project_and_the_format(store):
    append(ledger_of(store), opened())

    first, second = (json.loads(store.read(entry_key(seq))) for seq in (1, 2))
    assert (first["type"], first["event"]) == ("ledger_started", {"project": PROJECT, "format": FORMAT})
    assert (first["seq"], first["run_id"], first["previous"]) == (1, "run-1", NO_ENTRY)
    assert second["type"] == "release_opened"
    assert ledger_of(store).read().project == PROJECT


def test_the_first_entry_is_the_origin_that_tells_ledgers_of_a_project_apart(store, tmp_path):
    assert ledger_of(store).read().origin == ""
    append(ledger_of(store), opened())
    append(ledger_of(store), registered())
    later = Ledger(DirectoryStore((tmp_path / "b").as_uri()), PROJECT, lambda: START + timedelta(microseconds=1))
    append(later, opened())

    first = decode(store.read(entry_key(1)))
    assert ledger_of(store).read().origin == first.sha256
    assert later.read().origin != first.sha256


def test_an_entry_has_a_field_for_a_signature(store):
    append(ledger_of(store), opened())

    assert [json.loads(store.read(key))["signature"] for key in keys(store)] == [None, None]
    signed = replace(chain()[0], signature="MEUCIQ...")
    assert decode(signed.encode()) == signed
    assert signed.sha256 != chain()[0].sha256


DAMAGE = {
    "nothing": lambda store: None,
    "its snapshot gone": lambda store: store.delete(SNAPSHOT),
    "the first entry edited": lambda store: store.replace(entry_key(1), b"edited"),
    "the first entry gone": lambda store: store.delete(entry_key(1)),
    "a later entry edited": lambda store: store.replace(entry_key(2), b"edited"),
    "its snapshot edited": lambda store: store.replace(SNAPSHOT, b"edited"),
    "two objects edited": lambda store: [store.replace(key, b"edited") for key in (SNAPSHOT, entry_key(2))],
    "its newest entry gone": lambda store: store.delete(entry_key(2)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_ledger_of_another_project_is_rejected_even_if_it_is_damaged(store, damage):
    """Otherwise recommender_adopt would set it aside and begin one for its own project."""
    owner = ledger_of(store, "shop-a")
    append(owner, opened())
    owner.write_snapshot()
    DAMAGE[damage](store)
    before = keys(store)
    ledger = ledger_of(store, "shop-b")

    uses = (ledger.read, ledger.entries, ledger.require_project, lambda: ledger.state, lambda: append(ledger, opened()))
    for use in uses:
        with pytest.raises(SettingsError, match=r"belongs to the project 'shop-a', not to 'shop-b'. Give each project"):
            use()
    assert keys(store) == before
    ledger_of(store, "shop-a").require_project()


def test_a_forged_snapshot_does_not_give_a_ledger_to_another_project(store):
    append(ledger_of(store, "shop-a"), opened())
    store.create(SNAPSHOT, Entry(1, NO_ENTRY, "run-1", START, started(project="shop-b")).encode())

    ledger_of(store, "shop-a").require_project()
    with pytest.raises(SettingsError, match="belongs to the project 'shop-a'"):
        ledger_of(store, "shop-b").require_project()


def test_a_storage_without_a_ledger_belongs_to_no_project(store):
    ledger_of(store).require_project()
    assert not ledger_of(store).has_entry(f"1:{NO_ENTRY}")


def test_an_entry_that_another_process_has_just_written_is_found_by_number_and_hash(store):
    ledger = ledger_of(store)
    append(ledger, opened())
    other = ledger_of(store)
    append(other, registered())
    head = other.read().head

    assert ledger.has_entry(f"3:{head}")
    assert not ledger.has_entry(f"2:{head}")
    assert not ledger.has_entry(f"4:{head}")


def newer():
    """Return the content of two entries in a future format; the second has a type that this version does not know."""
    first = replace(chain()[0], event=started(format=FORMAT + 1))
    second = Entry(2, first.sha256, "run-1", START, opened())
    content = second.encode().replace(b'"type": "release_opened"', b'"type": "not_invented_yet"')
    return [first.encode(), content]


@pytest.mark.parametrize("has_snapshot", [False, True])
def test_a_ledger_in_a_newer_format_is_rejected_but_not_as_damage(store, has_snapshot):
    """Otherwise recommender_adopt would set it aside and begin a new one."""
    for seq, content in enumerate(newer(), start=1):
        store.create(entry_key(seq), content)
    if has_snapshot:
        store.create(SNAPSHOT, b"".join(newer()))
    before = keys(store)

    ledger = ledger_of(store)
    message = f"in format {FORMAT + 1}; this version reads formats up to {FORMAT}. Install a newer version"
    for use in (ledger.read, lambda: append(ledger, opened()), lambda: audit(store, tagged_heads={})):
        with pytest.raises(LedgerFormatError, match=message):
            use()
    assert keys(store) == before


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (chain(opened(), started())[0:3], "Ledger entry 3 is ledger_started: the first, and only the first"),
        ([Entry(1, NO_ENTRY, "run-1", START, opened())], "Ledger entry 1 is release_opened: the first, and only"),
    ],
)
def test_a_ledger_without_exactly_one_beginning_is_damaged(store, entries, says):
    put(store, entries)

    with pytest.raises(IntegrityError, match=says):
        ledger_of(store).read()
    with pytest.raises(IntegrityError, match=says):
        replay(entries)
    assert [fault for fault in audit(store, tagged_heads={}) if says in fault]


def test_a_second_beginning_cannot_be_appended(store):
    append(ledger_of(store), opened())

    with pytest.raises(IntegrityError, match="Ledger entry 3 is ledger_started"):
        append(ledger_of(store), started())
    assert len(keys(store)) == 2


SURROGATE = "bad\ud800id"


@pytest.mark.parametrize(
    ("run_id", "event", "names"),
    [
        (SURROGATE, opened(), "run"),
        ("run-1", deployed(deployment_id=SURROGATE), "deployment_id"),
        ("run-1", promoted(model_id=SURROGATE), "model_id"),
        ("run-1", opened(dag_id=SURROGATE), "dag_id"),
        ("run-1", adopted(versions=(version_of(1), version_of(2, model_id=SURROGATE))), "versions"),
        ("run-1", adopted(production=serving(1, url=SURROGATE)), "url"),
        ("run-1", opened_rollback(params=replace(ROLLBACK_PARAMS, session=SURROGATE)), "session"),
    ],
)
def test_an_id_that_utf_8_cannot_encode_is_rejected_and_shown_escaped(store, run_id, event, names):
    ledger = ledger_of(store)
    append(ledger, opened())
    before = keys(store)

    with pytest.raises(SettingsError, match=r"cannot be recorded: .*\\ud800.* Correct that id") as refused:
        append(ledger, event, run_id)
    said = str(refused.value)
    assert str(event.type) in said
    assert names in said
    assert said.isascii()
    assert keys(store) == before
    assert ledger.read() == ledger_of(store).read()


ODD = "odd\ud800text"
SHOWN = r"odd\\ud800text"  # in JSON: the backslash is escaped
OPENED = (opened(), registered(), validated())


@pytest.mark.parametrize(
    ("history", "event"),
    [
        (OPENED, answered(comment=ODD)),
        (OPENED, answered(by=ODD)),
        (OPENED, rejected(reason=ODD)),
        (OPENED, rejected(by=ODD)),
        (OPENED, promoted(approved_by=ODD)),
        (OPENED, switch_failed(reason=ODD)),
        (OPENED, backup_failed(reason=ODD)),
        (OPENED, rolled_back(reason=ODD)),
        ((), opened(triggered_by=ODD)),
        ((), opened_rollback(params=replace(ROLLBACK_PARAMS, reason=ODD))),
    ],
)
def test_free_text_that_utf_8_cannot_encode_is_stored_and_shown_escaped(store, history, event):
    ledger = ledger_of(store)
    for before in history:
        append(ledger, before)

    append(ledger, event)
    append(ledger, event)  # as a task that is run again does

    entries = ledger_of(store).entries()
    assert len(entries) == len(history) + 2
    assert entries == ledger.entries()
    assert SHOWN in entries[-1].encode().decode()
    assert SHOWN in dump_history(entries)
    assert SHOWN in describe_history(entries)
    append(ledger_of(store), opened(opening=2))


def test_a_difference_that_utf_8_cannot_encode_is_stored_and_shown_escaped(store):
    append(ledger_of(store), adopted(difference=("fine", ODD)), "adopt-1")

    entries = ledger_of(store).entries()
    assert entries[-1].event.difference == ("fine", r"odd\ud800text")
    assert SHOWN in dump_history(entries)
    assert describe_history(entries).encode()
    append(ledger_of(store), opened(opening=2))


@pytest.mark.parametrize("raced", [1, 2])
def test_two_writers_that_race_for_the_beginning_make_one_and_both_entries(tmp_path, store, raced):
    class Raced(DirectoryStore):
        others = iter(of("run-2", opened(2)))

        def create(self, key, content):
            if key == entry_key(raced):
                for run_id, event in self.others:
                    append(ledger_of(store), event, run_id)
            super().create(key, content)

    append(ledger_of(Raced(tmp_path.as_uri())), opened(1))

    entries = ledger_of(store).entries()
    assert [str(entry.type) for entry in entries] == ["ledger_started", "release_opened", "release_opened"]
    assert [entry.run_id for entry in entries[1:]] == ["run-2", "run-1"]


def test_a_ledger_whose_writer_was_killed_after_its_beginning_is_continued(store):
    put(store, chain())

    append(ledger_of(store), opened())

    assert [str(entry.type) for entry in ledger_of(store).entries()] == ["ledger_started", "release_opened"]


def test_a_caller_whose_name_utf_8_cannot_encode_has_one_name_in_the_ledger(store, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "bo\udce9")  # a LOGNAME in another encoding
    caller = name_caller({})

    state = ledger_of(store).append("run-1", opened(1, triggered_by=caller), guard=lambda state: None)

    assert state.releases["run-1"].opened.triggered_by == caller == name_caller({})
    assert "\\udce9" in caller
