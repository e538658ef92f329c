"""The ledger's chain, and the book that its entries add up to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recdeploy_ops.domain.errors import IllegalTransitionError, IntegrityError, KeyExistsError, LedgerConflictError
from recdeploy_ops.domain.ledger import NO_ENTRY, Book, Entry, Kind, decode
from recdeploy_ops.domain.replay import fold
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.ledger.ledger import SNAPSHOT, Ledger, key_of
from recdeploy_ops.storage.directories import DirectoryStore

START = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def chain(*parts):
    """Return entries of (kind, run id, facts), chained, a minute apart."""
    entries, previous = [], NO_ENTRY
    for seq, (kind, run_id, facts) in enumerate(parts, start=1):
        entry = Entry(seq, previous, kind, run_id, START + timedelta(minutes=seq), facts)
        entries.append(entry)
        previous = entry.sha256
    return entries


def opened(run_id="run-1", version=1, opening=1):
    return (Kind.RELEASE_OPENED, run_id, {"version": version, "dag_id": "d", "params": {}, "opening": opening})


def registered(run_id="run-1", version=1, digest="d1"):
    facts = {"version": version, "model_id": f"m{version}", "digest": digest, "artifact": "a", "results": "r"}
    return (Kind.MODEL_REGISTERED, run_id, facts)


def validated(run_id="run-1", verdict="PASS"):
    return (Kind.TEST_VALIDATED, run_id, {"verdict": verdict})


def promoted(run_id="run-1", version=1, digest="d1"):
    facts = {"deployment_id": "p", "url": "u", "model_id": f"m{version}", "version": version, "digest": digest}
    return (Kind.PROMOTED, run_id, facts)


def closed(run_id="run-1", outcome="promoted"):
    return (Kind.RELEASE_CLOSED, run_id, {"outcome": outcome})


def rejected(run_id="run-1"):
    return (Kind.RELEASE_REJECTED, run_id, {"by": "ann", "reason": "no"})


def complete(run_id, version):
    return (
        opened(run_id, version),
        registered(run_id, version, f"d{version}"),
        validated(run_id),
        promoted(run_id, version, f"d{version}"),
        closed(run_id),
    )


def test_an_entry_survives_being_stored():
    entry = chain((Kind.RELEASE_OPENED, "läuft/1 +x", {"version": 3, "params": {"name": "ユーザー7"}}))[0]

    assert decode(entry.encode()) == entry


ODD = b'{"seq": 1, "previous": "x", "kind": "adopted", "run_id": "r", "at": "2026-01-01", "facts": %s}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"seq": 1}',
        b"\xff",
        b"[" * 100_000,
        ODD % b"5",
        ODD % b'{"a": NaN}',
        (ODD % b"{}").replace(b'"r"', b"[]"),
        (ODD % b"{}").replace(b'"r"', b'"\\ud800"'),
        (ODD % b"{}").replace(b"1,", b'"1",'),
    ],
)
def test_bytes_that_are_no_entry_are_refused(content):
    with pytest.raises(IntegrityError, match="no ledger entry"):
        decode(content)


def test_an_edited_entry_is_noticed_by_its_successor():
    first, second = chain(opened(), closed())
    forged = replace(first, facts={**first.facts, "version": 7})

    with pytest.raises(IntegrityError, match="broken at entry 2"):
        fold([forged, second])


def test_reformatted_bytes_are_noticed():
    entry = chain(opened())[0]

    with pytest.raises(IntegrityError, match="entry 1 was edited"):
        decode(entry.encode().replace(b": ", b":  ", 1))


@pytest.mark.parametrize("order", [(0, 2), (1, 0, 2), (1,)])
def test_a_missing_or_reordered_entry_is_noticed(order):
    entries = chain(opened(), registered(), closed())

    with pytest.raises(IntegrityError, match="does not follow"):
        fold([entries[i] for i in order])


def test_an_open_release_holds_the_lock_until_it_is_closed():
    entries = chain(opened(), closed(outcome="failed"))

    assert fold(entries[:1]).holder == "run-1"
    assert fold(entries).holder is None
    assert fold(entries).releases["run-1"].outcome == "failed"


def test_a_promotion_retires_the_champion_and_remembers_it():
    book = fold(chain(*complete("run-1", 1), *complete("run-2", 2)))

    assert book.production.version == 2
    assert book.previous_champion.version == 1
    assert {number: version.stage for number, version in book.versions.items()} == {
        1: Stage.RETIRED,
        2: Stage.CHAMPION,
    }


def test_a_rejected_candidate_leaves_production_alone_and_its_number_is_never_reused():
    book = fold(chain(*complete("run-1", 1), opened("run-2", 2), registered("run-2", 2), rejected("run-2")))

    assert book.production.version == 1
    assert book.versions[2].stage is Stage.REJECTED
    assert book.highest_version == 2


def test_a_step_recorded_anew_voids_what_was_built_on_it():
    again = (Kind.MODEL_TRAINED, "run-1", {"digest": "other"})
    book = fold(
        chain(
            opened(),
            (Kind.DATA_EXTRACTED, "run-1", {"digest": "x"}),
            (Kind.MODEL_TRAINED, "run-1", {"digest": "one"}),
            (Kind.ARTIFACT_BUILT, "run-1", {"version": 1}),
            registered(),
            validated(),
            (Kind.APPROVAL_ANSWERED, "run-1", {"decision": "Promote"}),
            again,
        )
    )
    release = book.releases["run-1"]

    assert release.get(Kind.DATA_EXTRACTED) == {"digest": "x"}
    assert release.get(Kind.MODEL_TRAINED) == {"digest": "other"}
    assert release.get(Kind.ARTIFACT_BUILT) is None
    assert release.get(Kind.APPROVAL_ANSWERED) is None


def test_opening_a_release_again_keeps_the_answer_and_voids_the_outcome():
    answer = (Kind.APPROVAL_ANSWERED, "run-1", {"decision": "Reject"})
    book = fold(chain(opened(), registered(), validated(), answer, rejected(), closed(outcome="rejected")))
    assert book.versions[1].stage is Stage.REJECTED

    book = fold(
        [Entry(7, book.head, Kind.RELEASE_OPENED, "run-1", START, opened(opening=2)[2])],
        book,
    )

    release = book.releases["run-1"]
    assert release.is_open
    assert release.get(Kind.APPROVAL_ANSWERED) == {"decision": "Reject"}
    assert release.get(Kind.RELEASE_REJECTED) is None
    assert book.versions[1].stage is Stage.VALIDATED
    assert book.holder == "run-1"


def test_a_version_rejected_before_it_was_validated_is_a_candidate_again_when_reopened():
    book = fold(chain(opened(), registered(), rejected(), closed(outcome="failed"), opened(opening=2)))

    assert book.versions[1].stage is Stage.CANDIDATE


def test_a_candidate_that_failed_its_gates_is_not_validated():
    book = fold(chain(opened(), registered(), validated(verdict="FAIL")))

    assert book.versions[1].stage is Stage.CANDIDATE


def test_refusing_what_already_serves_leaves_its_stage():
    book = fold(chain(*complete("run-1", 1), opened(opening=2), rejected()))

    assert book.versions[1].stage is Stage.CHAMPION


def ledger_in(folder: Path, now=lambda: START) -> Ledger:
    return Ledger(DirectoryStore(folder.as_uri()), now)


def allow(book: Book) -> None:
    """Guard that lets everything pass."""


def test_appending_the_same_facts_again_adds_nothing(tmp_path):
    ledger = ledger_in(tmp_path)
    for _ in range(2):
        for kind, run_id, facts in (opened(), registered(), validated()):
            if kind is Kind.RELEASE_OPENED and ledger.book().seq:
                continue
            ledger.append(kind, run_id, facts, guard=allow)

    assert [entry.kind for entry in ledger_in(tmp_path).entries()] == [
        Kind.RELEASE_OPENED,
        Kind.MODEL_REGISTERED,
        Kind.TEST_VALIDATED,
    ]


def test_of_two_writers_that_have_read_the_same_book_the_second_decides_anew(tmp_path):
    one, two = ledger_in(tmp_path), ledger_in(tmp_path)
    one.book()
    two.book()
    one.append(*opened("run-1", 1), guard=allow)
    seen = []

    two.append(*opened("run-2", 2), guard=lambda book: seen.append(book.holder))

    assert seen[-1] == "run-1"
    assert ledger_in(tmp_path).book().seq == 2


def test_a_guard_that_raises_leaves_the_ledger_as_it_was(tmp_path):
    ledger = ledger_in(tmp_path)

    def refuse(book: Book) -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        ledger.append(*opened(), guard=refuse)
    assert ledger.entries() == ()


def test_an_entry_with_an_illegal_transition_is_never_written(tmp_path):
    ledger = ledger_in(tmp_path)
    ledger.append(*opened(), guard=allow)
    ledger.append(*registered(), guard=allow)

    with pytest.raises(IllegalTransitionError, match="from candidate to champion"):
        ledger.append(*promoted(), guard=allow)
    assert ledger_in(tmp_path).book().seq == 2


def test_a_writer_that_is_always_too_late_gives_up(tmp_path):
    class Crowded(DirectoryStore):
        def create(self, key, content):
            raise KeyExistsError(key)

    ledger = Ledger(Crowded(tmp_path.as_uri()), lambda: START)

    with pytest.raises(LedgerConflictError, match="release_opened"):
        ledger.append(*opened(), guard=allow)


def test_a_gap_in_storage_is_noticed(tmp_path):
    ledger = ledger_in(tmp_path)
    for part in (opened(), registered(), validated()):
        ledger.append(*part, guard=allow)
    (tmp_path / key_of(2)).unlink()

    with pytest.raises(IntegrityError, match="00000003"):
        ledger_in(tmp_path).book()


def test_entries_that_do_not_add_up_are_noticed(tmp_path):
    ledger = ledger_in(tmp_path)
    ledger.append(*opened(), guard=allow)
    odd = Entry(2, ledger.book().head, Kind.ADOPTED, "run-1", START, {"versions": 5})
    (tmp_path / key_of(2)).write_bytes(odd.encode())

    with pytest.raises(IntegrityError, match="do not add up"):
        ledger_in(tmp_path).book()


def test_a_foreign_file_in_the_ledgers_folder_is_named_and_left_alone(tmp_path):
    ledger = ledger_in(tmp_path)
    ledger.append(*opened(), guard=allow)
    for name in ("snapshot.jsonl.bak", "00000001.json~", "notes/00000002.json"):
        (tmp_path / "ledger" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "ledger" / name).write_text("x")

    assert ledger_in(tmp_path).book() == ledger.book()
    assert [fault.split(" ")[0] for fault in audit(DirectoryStore(tmp_path.as_uri()), tagged_heads={})] == [
        "ledger/00000001.json~",
        "ledger/notes/00000002.json",
        "ledger/snapshot.jsonl.bak",
    ]


def test_a_forged_snapshot_is_not_believed(tmp_path, caplog):
    ledger = ledger_in(tmp_path)
    ledger.append(*opened(), guard=allow)
    ledger.append(*registered(digest="true"), guard=allow)
    forged = chain(opened(), registered(digest="forged"))
    (tmp_path / SNAPSHOT).write_bytes(b"".join(entry.encode() for entry in forged))

    assert ledger_in(tmp_path).book().versions[1].digest == "true"
    assert "snapshot is not used" in caplog.text


def test_a_snapshot_that_is_longer_than_the_ledger_is_an_error(tmp_path):
    ledger = ledger_in(tmp_path)
    ledger.append(*opened(), guard=allow)
    ledger.append(*registered(), guard=allow)
    ledger.write_snapshot()
    (tmp_path / key_of(2)).unlink()

    with pytest.raises(IntegrityError, match="tail was cut off, or the snapshot was forged"):
        ledger_in(tmp_path).book()


@pytest.mark.parametrize("keeping", [1, 0])
def test_a_ledger_that_shrinks_while_it_is_read_is_noticed(tmp_path, keeping):
    ledger = ledger_in(tmp_path)
    ledger.append(*opened(), guard=allow)
    ledger.append(*registered(), guard=allow)
    for seq in range(keeping + 1, 3):
        (tmp_path / key_of(seq)).unlink()

    with pytest.raises(IntegrityError, match=r"00000002.json, which was read before, is gone"):
        ledger.book()


def test_a_ledger_that_is_set_aside_is_kept_and_a_new_one_begins(tmp_path):
    ledger = ledger_in(tmp_path)
    ledger.append(*opened(), guard=allow)
    ledger.write_snapshot()
    content = (tmp_path / key_of(1)).read_bytes()

    folder = ledger.set_aside([SNAPSHOT, key_of(1)])

    assert (tmp_path / folder / "00000001.json").read_bytes() == content
    assert ledger.book() == ledger_in(tmp_path).book() == Book()


def test_the_snapshot_gives_the_same_book_and_a_damaged_one_is_ignored(tmp_path, caplog):
    ledger = ledger_in(tmp_path)
    ledger.append(*opened(), guard=allow)
    ledger.append(*registered(), guard=allow)
    ledger.write_snapshot()
    ledger.append(*validated(), guard=allow)

    assert ledger_in(tmp_path).book() == ledger.book()

    (tmp_path / SNAPSHOT).write_bytes(b"nonsense\n")
    assert ledger_in(tmp_path).book() == ledger.book()
    assert "snapshot is not used" in caplog.text
