"""A ledger that was edited, cut off or replaced: the audit notices it, and adoption puts it aside."""

from dataclasses import replace

import pytest
from steps.factories import (
    adopt,
    find_faults,
    reopen,
)

from recdeploy_ops.domain.errors import (
    IntegrityError,
)
from recdeploy_ops.domain.events import ApprovalAnswered
from recdeploy_ops.domain.ledger_state import NO_ENTRY
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.tagging import find_tagged_heads, tag_with_head
from recdeploy_ops.storage.keys import LEDGER_ASIDE, SNAPSHOT, entry_key


def rechain(context, change):
    """Edit the answers, and give every later entry and the snapshot the hashes that follow."""
    forged, previous = [], NO_ENTRY
    for entry in context.ledger.entries():
        event = change(entry.event) if isinstance(entry.event, ApprovalAnswered) else entry.event
        forged.append(replace(entry, previous=previous, event=event))
        previous = forged[-1].sha256
        context.store.replace(entry_key(entry.seq), forged[-1].encode())
    context.store.replace(SNAPSHOT, b"".join(entry.encode() for entry in forged))


@pytest.mark.parametrize("keeping_snapshot", [True, False])
def test_a_damaged_ledger_is_put_aside_and_a_new_one_begun(context, two_versions, keeping_snapshot):
    state = context.ledger.read()
    content = context.store.read(entry_key(5)).replace(b"run-1", b"run-7")
    context.store.replace(entry_key(5), content)
    if not keeping_snapshot:
        context.store.delete(SNAPSHOT)
    shown = adopt(reopen(context), apply=False)
    assert any("the ledger is damaged: ledger/00000005.json was edited" in line for line in shown["difference"])
    assert context.store.read(entry_key(5)) == content

    adopt(reopen(context))

    again = reopen(context)
    assert find_faults(again) == []
    assert again.ledger.read().production == replace(state.production, since=again.ledger.read().production.since)
    aside = [stored.key.rpartition("/")[2] for stored in context.store.list(LEDGER_ASIDE)]
    assert f"{state.seq:08d}.json" in aside
    assert adopt(again, apply=False)["difference"] == []
    with pytest.raises(IntegrityError):
        context.ledger.read()  # a process that knew the former ledger does not go on with this one


def test_foreign_files_in_the_ledgers_folder_are_moved_away(context, two_versions):
    before = context.ledger.entries()
    context.store.create("ledger/notes.txt", b"x")
    context.store.replace(SNAPSHOT, b"garbage")

    adopt(reopen(context))

    again = reopen(context)
    assert find_faults(again) == []
    assert again.ledger.entries()[: len(before)] == before


def test_a_tail_cut_off_is_noticed_though_production_has_lost_its_tags(context, two_versions, tag_by_hand):
    tag_by_hand({})
    last = context.ledger.read().seq
    for key in (entry_key(last - 1), entry_key(last), SNAPSHOT):
        context.store.delete(key)

    assert any("the tail was cut off" in fault for fault in find_faults(reopen(context)))


def test_a_history_rewritten_while_a_release_is_open_is_noticed_by_its_candidates_tag(context, validated):
    third = validated(3)
    third.answer(Decision.REJECT)
    tag_with_head(context, context.ledger.read().versions[3].model_id)
    assert find_faults(context) == []

    rechain(context, lambda answer: replace(answer, decision=Decision.PROMOTE) if answer.version == 3 else answer)

    faults = find_faults(reopen(context))
    assert any("the model product-recommender-v3 names: the ledger was rewritten" in fault for fault in faults)


def test_an_answer_rewritten_while_its_release_is_open_is_noticed(context, validated):
    third = validated(3)
    third.answer(Decision.REJECT)
    last = context.ledger.entries()[-1]
    forged = replace(last, event=replace(last.event, decision=Decision.PROMOTE))
    context.store.replace(entry_key(last.seq), forged.encode())
    context.store.delete(SNAPSHOT)

    assert any("the ledger was rewritten" in fault for fault in find_faults(context))


def test_a_tail_cut_off_after_a_rejection_is_noticed(context, run, two_versions):
    before = find_production(context).tags
    third = run("run-3", shift=2)
    third.validate()
    third.reject_fully()
    assert find_production(context).tags == before
    for seq in range(context.ledger.read().seq - 2, context.ledger.read().seq + 1):
        context.store.delete(entry_key(seq))
    context.store.delete(SNAPSHOT)

    faults = find_faults(context)
    assert faults
    assert all("the tail was cut off" in fault for fault in faults)


def exchange_entries(store, last):
    five, six = store.read(entry_key(5)), store.read(entry_key(6))
    store.replace(entry_key(5), six)
    store.replace(entry_key(6), five)


def replace_in_entry(store, seq, old, new):
    store.replace(entry_key(seq), store.read(entry_key(seq)).replace(old, new))


DAMAGES = {
    "an entry edited": lambda store, last: replace_in_entry(store, 5, b"run-1", b"run-7"),
    "an entry removed": lambda store, last: store.delete(entry_key(5)),
    "two entries exchanged": exchange_entries,
    "the last entry cut off": lambda store, last: store.delete(entry_key(last)),
    "every entry removed": lambda store, last: [store.delete(entry_key(seq)) for seq in range(1, last + 1)],
    "the last entry rewritten": lambda store, last: replace_in_entry(store, last, b'"promoted"', b'"rejected"'),
}


@pytest.mark.parametrize("keeping_snapshot", [True, False])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_any_damage_to_the_ledger_is_noticed(context, two_versions, damage, keeping_snapshot):
    store, last = context.store, context.ledger.read().seq
    heads = find_tagged_heads(context)
    if not keeping_snapshot:
        store.delete(SNAPSHOT)
    damage(store, last)

    assert audit(store, tagged_heads=heads) != []
