"""The ledger's chain, the state that its replay gives, and the ledger in storage."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from events import (
    PROJECT,
    START,
    adopted,
    answered,
    backtested,
    built,
    chain,
    closed,
    complete,
    extracted,
    of,
    opened,
    promoted,
    registered,
    rejected,
    trained,
    validated,
)

from recdeploy_ops.domain.entries import Entry, decode
from recdeploy_ops.domain.errors import IllegalTransitionError, IntegrityError, KeyExistsError, LedgerConflictError
from recdeploy_ops.domain.events import (
    ApprovalAnswered,
    ArtifactBuilt,
    DataExtracted,
    ModelTrained,
    ReleaseRejected,
)
from recdeploy_ops.domain.events import ReleaseOutcome as Outcome
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.ledger_state import LedgerState
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.storage.directories import DirectoryStore
from recdeploy_ops.storage.keys import SNAPSHOT, entry_key


def test_an_entry_survives_being_stored():
    entry = chain(*of("läuft/1 +x", opened(3, triggered_by="ユーザー7")))[-1]

    assert decode(entry.encode()) == entry


WHOLE = json.loads(chain()[0].encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b"5",
        b'{"seq": 1}',
        b"\xff",
        b"[" * 100_000,
        *(
            json.dumps(WHOLE | changes).encode()
            for changes in (
                {"event": 5},
                {"event": {"project": "x", "format": float("nan")}},
                {"run_id": []},
                {"run_id": "\ud800"},
                {"seq": "1"},
                {"seq": True},
                {"previous": None},
                {"signature": 5},
                {"signed": None},
                {"type": "forged"},
                {"type": "release_opened"},
                {"at": "yesterday"},
                {"at": 5},
            )
        ),
    ],
)
def test_bytes_that_are_not_an_entry_are_rejected(content):
    with pytest.raises(IntegrityError, match="not a ledger entry"):
        decode(content)


def test_an_edited_entry_is_noticed_by_its_successor():
    first, edited, successor = chain(opened(), closed())
    edited = replace(edited, event=opened(7))

    with pytest.raises(IntegrityError, match="broken at entry 3"):
        replay([first, edited, successor])


def test_reformatted_bytes_are_noticed():
    entry = chain(opened())[1]

    with pytest.raises(IntegrityError, match="entry 2 was edited"):
        decode(entry.encode().replace(b": ", b":  ", 1))


@pytest.mark.parametrize("order", [(0, 1, 3), (0, 2, 1, 3), (0, 2), (1,)])
def test_a_missing_or_reordered_entry_is_noticed(order):
    entries = chain(opened(), registered(), closed())

    with pytest.raises(IntegrityError, match="does not follow"):
        replay([entries[i] for i in order])


def test_an_open_release_holds_the_lock_until_it_is_closed():
    entries = chain(opened(), closed(Outcome.FAILED))

    assert replay(entries[:2]).holder == "run-1"
    assert replay(entries).holder is None
    assert replay(entries).releases["run-1"].outcome == "failed"


def test_closing_a_release_whose_lock_another_run_holds_leaves_that_run_the_lock():
    entries = chain(opened(), *of("run-2", opened(2)), closed(Outcome.FAILED))

    assert replay(entries).holder == "run-2"


def test_a_promotion_makes_the_champion_the_previous_one():
    state = replay(chain(*complete(1), *complete(2)))

    assert state.production.version == 2
    assert state.previous_champion.version == 1
    assert state.champion == state.versions[2]
    assert [state.versions[number].stage for number in (1, 2)] == [Stage.RETIRED, Stage.CHAMPION]


def test_a_side_of_a_backtest_belongs_to_its_version_and_to_no_release():
    other, newer = backtested(2), backtested(digest="b" * 64)
    before = replay(chain(*complete(1)))
    state = replay(chain(*complete(1), *of("housekeeping", backtested(), other, newer)))

    assert state.backtests == {1: newer, 2: other}
    assert (state.releases, state.production, state.holder) == (before.releases, before.production, None)


def test_a_rejected_candidate_leaves_production_alone_and_keeps_its_number():
    state = replay(chain(*complete(1), *of("run-2", opened(2), registered(2), rejected(2))))

    assert state.production.version == 1
    assert state.versions[2].stage is Stage.REJECTED
    assert state.highest_version == 2


def test_an_event_that_is_recorded_again_voids_the_events_that_depend_on_it():
    first, again = trained(digest="one"), trained(digest="other")
    state = replay(chain(opened(), extracted(), first, built(), registered(), validated(), answered(), again))
    release = state.releases["run-1"]

    assert release.get(DataExtracted) == extracted()
    assert release.get(ModelTrained) == again
    assert release.get(ArtifactBuilt) is None
    assert release.get(ApprovalAnswered) is None


def test_opening_a_release_again_leaves_the_answer_valid_and_voids_the_outcome():
    answer = answered(Decision.REJECT)
    history = (opened(), registered(), validated(), answer, rejected(), closed(Outcome.REJECTED))
    state = replay(chain(*history))
    assert state.versions[1].stage is Stage.REJECTED

    state = replay([chain(*history, opened(opening=2))[-1]], state)

    release = state.releases["run-1"]
    assert release.is_open
    assert release.outcome is None
    assert release.get(ApprovalAnswered) == answer
    assert release.get(ReleaseRejected) is None
    assert state.versions[1].stage is Stage.VALIDATED
    assert state.holder == "run-1"


CANDIDATE = (opened(), registered())
FAILED = (*CANDIDATE, validated(Verdict.FAIL))
REJECTED_AND_REOPENED = (rejected(), closed(Outcome.FAILED), opened(opening=2))
CHAMPION = (*complete(1), opened(opening=2))


@pytest.mark.parametrize(
    ("history", "stage"),
    [
        pytest.param(FAILED, Stage.CANDIDATE, id="a candidate that fails its gates stays a candidate"),
        pytest.param((*CANDIDATE, *REJECTED_AND_REOPENED), Stage.CANDIDATE, id="a rejected candidate is one again"),
        pytest.param((*FAILED, *REJECTED_AND_REOPENED), Stage.CANDIDATE, id="a failed candidate is a candidate again"),
        pytest.param((*CANDIDATE, validated(), validated()), Stage.VALIDATED, id="a validated version stays validated"),
        pytest.param((*CHAMPION, validated()), Stage.CHAMPION, id="a champion that is validated stays champion"),
        pytest.param((*CHAMPION, rejected()), Stage.CHAMPION, id="a champion that is rejected stays champion"),
    ],
)
def test_the_stage_of_a_version_follows_from_its_events(history, stage):
    assert replay(chain(*history)).versions[1].stage is stage


def test_an_artifact_that_is_built_again_may_have_a_higher_number():
    state = replay(chain(opened(1), built(3), registered(3)))

    assert (state.releases["run-1"].version, state.highest_version) == (3, 3)
    assert list(state.versions) == [3]


def ledger_in(folder: Path, store: type[DirectoryStore] = DirectoryStore) -> Ledger:
    return Ledger(store(folder.as_uri()), PROJECT, lambda: START)


def allow(state: LedgerState) -> None:
    """Accept every event."""


def fill(folder: Path, *events) -> Ledger:
    """Append events of run-1 to the ledger in a folder, and return it."""
    ledger = ledger_in(folder)
    for event in events:
        ledger.append("run-1", event, guard=allow)
    return ledger


def test_appending_the_same_event_again_adds_nothing(tmp_path):
    for _ in range(2):
        fill(tmp_path, opened(), registered(), validated())

    types = [str(entry.type) for entry in ledger_in(tmp_path).entries()]
    assert types == ["ledger_started", "release_opened", "model_registered", "test_validated"]


def test_a_writer_with_an_outdated_state_decides_again(tmp_path):
    one, two = fill(tmp_path, opened()), ledger_in(tmp_path)
    two.read()
    one.append("run-2", opened(2), guard=allow)
    seen = []

    two.append("run-3", opened(3), guard=lambda state: seen.append(state.holder))

    assert seen == ["run-2"]
    assert ledger_in(tmp_path).read().seq == 4


def test_a_writer_that_loses_a_race_decides_again_on_the_new_state(tmp_path):
    fill(tmp_path, opened())
    seen = []

    class Raced(DirectoryStore):
        def create(self, key, content):
            if len(seen) == 1:
                ledger_in(tmp_path).append("run-2", opened(2), guard=allow)
            super().create(key, content)

    ledger_in(tmp_path, Raced).append("run-3", opened(3), guard=lambda state: seen.append(state.holder))

    assert seen == ["run-1", "run-2"]
    assert ledger_in(tmp_path).read().seq == 4


def test_a_guard_that_raises_leaves_the_ledger_unchanged(tmp_path):
    ledger = ledger_in(tmp_path)

    def refuse(state: LedgerState) -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        ledger.append("run-1", opened(), guard=refuse)
    assert ledger.entries() == ()
    assert list(tmp_path.rglob("*.json")) == []


def test_an_entry_with_an_illegal_transition_is_never_written(tmp_path):
    ledger = fill(tmp_path, opened(), registered())

    with pytest.raises(IllegalTransitionError, match="from candidate to champion"):
        ledger.append("run-1", promoted(), guard=allow)
    assert ledger_in(tmp_path).read().seq == 3


def test_a_writer_that_loses_every_race_gives_up(tmp_path):
    class Crowded(DirectoryStore):
        def create(self, key, content):
            raise KeyExistsError(key)

    with pytest.raises(LedgerConflictError, match=r"release_opened .* 10 times"):
        ledger_in(tmp_path, Crowded).append("run-1", opened(), guard=allow)


def test_a_gap_in_storage_is_noticed(tmp_path):
    fill(tmp_path, opened(), registered(), validated())
    (tmp_path / entry_key(2)).unlink()

    with pytest.raises(IntegrityError, match="00000003"):
        ledger_in(tmp_path).read()


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([promoted()], r"contradict each other: A model version cannot go from candidate to champion"),
        ([adopted(versions=(), production=None), promoted()], "entry 5 names 1, which no earlier entry has"),
        ([adopted(difference=5)], "not a ledger entry: .*Adopted.difference is 5, not list"),
    ],
)
def test_stored_entries_that_contradict_each_other_are_noticed(tmp_path, events, says):
    newest = fill(tmp_path, opened(), registered()).entries()[-1]
    for event in events:
        newest = Entry(newest.seq + 1, newest.sha256, "run-1", START, event)
        (tmp_path / entry_key(newest.seq)).write_bytes(newest.encode())

    with pytest.raises(IntegrityError, match=says):
        ledger_in(tmp_path).read()


def test_a_foreign_file_in_the_ledgers_folder_is_reported_and_left_alone(tmp_path):
    ledger = fill(tmp_path, opened())
    for name in ("snapshot.jsonl.bak", "00000001.json~", "notes/00000002.json"):
        (tmp_path / "ledger" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "ledger" / name).write_text("x")

    assert ledger_in(tmp_path).read() == ledger.read()
    assert [fault.split(" ")[0] for fault in audit(DirectoryStore(tmp_path.as_uri()), tagged_heads={})] == [
        "ledger/00000001.json~",
        "ledger/notes/00000002.json",
        "ledger/snapshot.jsonl.bak",
    ]


def test_a_forged_snapshot_is_ignored(tmp_path, caplog):
    fill(tmp_path, opened(), registered(digest="true"))
    forged = chain(opened(), registered(digest="forged"))
    (tmp_path / SNAPSHOT).write_bytes(b"".join(entry.encode() for entry in forged))

    assert ledger_in(tmp_path).read().versions[1].digest == "true"
    assert "snapshot is ignored" in caplog.text


def test_a_snapshot_that_is_longer_than_the_ledger_is_an_error(tmp_path):
    fill(tmp_path, opened(), registered()).write_snapshot()
    (tmp_path / entry_key(3)).unlink()

    with pytest.raises(IntegrityError, match="tail was cut off, or the snapshot was forged"):
        ledger_in(tmp_path).read()


@pytest.mark.parametrize("remaining", [2, 1, 0])
def test_a_ledger_that_shrinks_while_it_is_read_is_noticed(tmp_path, remaining):
    ledger = fill(tmp_path, opened(), registered())
    for seq in range(remaining + 1, 4):
        (tmp_path / entry_key(seq)).unlink()

    with pytest.raises(IntegrityError, match=r"00000003.json, which was read before, is gone"):
        ledger.read()


def test_a_ledger_that_is_set_aside_is_kept_and_a_new_one_begins(tmp_path):
    ledger = fill(tmp_path, opened())
    ledger.write_snapshot()
    contents = {seq: (tmp_path / entry_key(seq)).read_bytes() for seq in (1, 2)}

    folder = ledger.set_aside([SNAPSHOT, entry_key(1), entry_key(2)])

    assert {seq: (tmp_path / folder / f"0000000{seq}.json").read_bytes() for seq in (1, 2)} == contents
    assert ledger.read() == ledger_in(tmp_path).read() == LedgerState()


def test_the_snapshot_gives_the_same_state_and_a_damaged_one_is_ignored(tmp_path, caplog):
    ledger = fill(tmp_path, opened(), registered())
    ledger.write_snapshot()
    ledger.append("run-1", validated(), guard=allow)

    assert ledger_in(tmp_path).read() == ledger.read()
    assert "snapshot is ignored" not in caplog.text

    (tmp_path / SNAPSHOT).write_bytes(b"nonsense\n")
    assert ledger_in(tmp_path).read() == ledger.read()
    assert "snapshot is ignored" in caplog.text


def test_the_last_known_state_is_one_that_was_read_completely(tmp_path):
    ledger = fill(tmp_path, opened(), registered())
    ledger.write_snapshot()
    ledger.append("run-1", validated(), guard=allow)
    known, reader = ledger.state, ledger_in(tmp_path)
    assert reader.last_known is None
    (tmp_path / entry_key(5)).write_text("damaged")

    for read in (reader.read, ledger.read, lambda: reader.state):  # the snapshot's state is older
        with pytest.raises(IntegrityError):
            read()
    assert (reader.last_known, ledger.last_known) == (None, known)
