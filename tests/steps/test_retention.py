"""Housekeeping prunes by the policy: exactly the calls of its plan, never what is protected."""

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from steps.factories import (
    delete_model,
    deploy_foreign,
    event_types,
    find_faults,
    living_tests,
    reopen,
    served,
    tidy_up,
)

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.errors import (
    CloudUnavailableError,
    LedgerConflictError,
    SettingsError,
)
from recdeploy_ops.domain.events import ReleaseClosed, ReleaseOutcome, VersionPinned
from recdeploy_ops.domain.holdings import CUSTOMERS_DATA, FolderKind
from recdeploy_ops.domain.retention import Operation
from recdeploy_ops.rollout.holdings import find_folders, make_plan
from recdeploy_ops.rollout.pruning import execute
from recdeploy_ops.storage.keys import RELEASES

# What changes something in OCI, as the emulator names it.
CHANGES = ("Create", "Update", "Delete", "Activate", "Deactivate")
AFTER_THE_LEASE = 97 / 24  # days
PRUNE_NOW = {"days": 0, "customer_days": 0}  # settings of retention


def later(context, passed, **retention):
    """Open the same storage some days later, with other settings of retention."""
    settings = context.settings.retention.model_copy(update={"versions": 1, **retention})
    now = utc_now() + timedelta(days=passed)
    return reopen(context, "housekeeping", now=lambda: now, retention=settings)


def pin(context, version):
    context.ledger.append("test", VersionPinned(version, "ann", "the audit"), guard=lambda _: None)


class Recorded:
    """A store that remembers what was deleted, in order."""

    def __init__(self, store):
        self._store, self.deleted = store, []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def delete(self, key):
        self.deleted.append(key)
        self._store.delete(key)


def changes_of(emulator):
    """Return the calls that changed something in OCI: the operation and the OCID at the end of the path."""
    calls = [call for call in emulator.calls() if str(call["operation"]).startswith(CHANGES)]
    return [(call["operation"], call["path"].rpartition("/")[2]) for call in calls]


def kinds_of(context, version):
    """Return what is stored of a version's run, and its backups."""
    run_id = f"run-{version}"
    return {folder.kind for folder in find_folders(context) if folder.run_id == run_id or folder.version == version}


def test_nothing_is_pruned_before_its_time(context, released):
    released(3)
    before = [stored.key for stored in context.store.list("")]

    assert tidy_up(later(context, 29)) == {"left": []}
    assert [stored.key for stored in context.store.list("")] == before


def test_a_version_is_pruned_whole_once_it_is_old_and_not_among_the_newest(context, released):
    released(3)
    version = context.refresh().versions[1]
    summary = tidy_up(later(context, 91))

    pruned = summary["pruned"]
    assert pruned["versions"] == [1]
    assert pruned["models"] == [version.model_id]
    assert pruned["bytes"] > 0
    assert kinds_of(context, 1) == set()
    assert kinds_of(context, 2) >= {FolderKind.EXTRACT, FolderKind.RESULTS, FolderKind.ARTIFACT, FolderKind.BACKUP}
    assert kinds_of(context, 3) >= {FolderKind.EXTRACT, FolderKind.RESULTS, FolderKind.ARTIFACT}
    assert context.catalog.get(version.model_id).is_deleted
    assert any(context.store.list(f"{RELEASES}run-1")), "reports and settings are evidence"
    assert find_faults(context) == []
    assert served(context) == 3
    assert make_plan(later(context, 91)).calls == ()


def test_customers_data_is_pruned_sooner_and_never_that_of_the_champion_and_the_one_before(context, released):
    released(3)
    tidy_up(later(context, 31))

    assert kinds_of(context, 1) == set(FolderKind) - CUSTOMERS_DATA - {FolderKind.ADOPTED}
    assert FolderKind.EXTRACT in kinds_of(context, 2) & kinds_of(context, 3)


def test_a_rollback_to_a_pruned_version_is_refused_with_the_remedy(context, released, run):
    released(3)
    tidy_up(later(context, 91))

    with pytest.raises(SettingsError, match=r"v1 was pruned at .* Name a version that is kept \(v2\), or release"):
        run("back").plan_rollback(1)
    assert run("back").roll_back(2)["version"] == 2
    assert served(context) == 2


def test_a_pinned_version_stays_whole(context, released):
    released(3)
    pin(context, 1)

    assert tidy_up(later(context, 1000)) == {"left": []}
    assert FolderKind.EXTRACT in kinds_of(context, 1)


def test_a_version_whose_model_anyone_has_deployed_stays(context, released, emulator):
    released(3)
    deploy_foreign(context, emulator, context.refresh().versions[1].model_id)
    plan = make_plan(later(context, 91))

    assert plan.versions == ()
    [note] = plan.notes
    assert note.startswith("v1 stays: a demo is configured for its model")


def test_nothing_is_pruned_while_a_release_is_in_progress(context, released, run):
    released(3)
    run("run-4", shift=3).plan()
    plan = make_plan(later(context, 1000))

    assert plan.calls == ()
    assert "while the release of the run run-4 is in progress" in plan.notes[0]


def leave_test_deployment(run):
    """Close a validated release as if its teardown had not deleted the test deployment."""
    run.context.record(ReleaseClosed(ReleaseOutcome.FAILED, run.context.release.version, None, None))


def test_the_calls_are_those_of_the_plan_in_its_order(context, released, emulator, run):
    released(3)
    fourth = run("run-4", shift=4)
    fourth.validate()
    leave_test_deployment(fourth)
    housekeeping = later(context, 91)
    store = Recorded(housekeeping.store)
    housekeeping = replace(housekeeping, store=store)
    plan = make_plan(housekeeping)
    emulator.clear_calls()
    execute(housekeeping, plan)

    in_oci = [(str(c.operation), c.target) for c in plan.calls if c.operation is not Operation.DELETE_OBJECT]
    assert changes_of(emulator) == in_oci
    assert store.deleted == [c.target for c in plan.calls if c.operation is Operation.DELETE_OBJECT]
    assert [operation for operation, _ in in_oci] == ["DeleteModelDeployment", "DeleteModel"]
    assert "v4 stays" in plan.notes[0], "OCI refuses to delete a model while its deployment exists"
    emulator.wait_until_idle()
    assert next(call.operation for call in make_plan(later(context, 91)).calls) is Operation.DELETE_MODEL


def test_it_stops_when_the_ledger_has_changed_since_the_plan(context, released):
    released(3)
    housekeeping = later(context, 91)
    plan = make_plan(housekeeping)
    pin(context, 1)

    with pytest.raises(LedgerConflictError, match="Housekeeping stops: the ledger had"):
        execute(housekeeping, plan)
    assert FolderKind.ARTIFACT in kinds_of(context, 1)
    assert "housekeeping_started" not in event_types(context, "housekeeping")


def test_a_rollback_target_whose_model_is_gone_is_registered_again_first(context, released, emulator):
    released(3)
    delete_model(context, 2)
    summary = tidy_up(later(context, 91))

    assert event_types(context, "housekeeping") == ["housekeeping_started", "model_restored"]
    version = context.refresh().versions[2]
    assert context.catalog.get(version.model_id).is_usable
    assert summary["pruned"]["versions"] == [1]


@pytest.mark.parametrize("how", ["archived", "deactivated"])
def test_a_rollback_target_that_oci_would_not_deploy_is_restored(context, released, emulator, how):
    released(2)
    model_id = context.refresh().versions[1].model_id
    if how == "archived":
        emulator.archive(model_id)
    else:
        context.catalog._client.deactivate_model(model_id)
    emulator.clear_calls()
    plan = make_plan(later(context, 0))
    tidy_up(later(context, 0))

    version = context.refresh().versions[1]
    assert context.catalog.get(version.model_id).is_usable
    made = {
        "archived": ["CreateModel", "CreateModelProvenance", "CreateModelArtifact"],
        "deactivated": ["ActivateModel"],
    }
    assert [operation for operation, _ in changes_of(emulator)] == made[how]
    assert [str(call.operation) for call in plan.calls] == made[how][:1]


def test_the_money_is_shown_where_a_price_is_configured(context, released):
    released(3)
    prices = context.settings.retention.prices.model_copy(update={"storage_gb_month": 1000.0})
    summary = tidy_up(later(context, 91, prices=prices))

    [saving] = summary["pruned"]["savings"]
    assert "GB less in storage saves" in saving
    assert saving.endswith("EUR a month.")


def test_a_lost_answer_to_the_deletion_of_a_model_is_not_a_refusal(context, released, emulator):
    released(3)
    model_id = context.refresh().versions[1].model_id
    emulator.fail_next("DeleteModel", "drop_after")  # the SDK sends it again, and OCI answers 404

    tidy_up(later(context, AFTER_THE_LEASE, **PRUNE_NOW))

    assert [call["status"] for call in emulator.calls("DeleteModel")] == [None, 404]
    assert context.catalog.get(model_id).is_deleted


@pytest.mark.more
def test_after_any_lost_call_nothing_outlives_its_lease_and_the_next_run_ends_the_same(
    context, released, emulator, run, keep_start, no_retries
):
    released(3)
    fourth = run("run-4", shift=4)
    fourth.validate()
    leave_test_deployment(fourth)
    begin = keep_start()
    tidy_up(later(begin(), AFTER_THE_LEASE, **PRUNE_NOW))
    calls, expected = emulator.calls(), stored_keys(context)
    changing = [call["nth"] for call in calls if str(call["operation"]).startswith(CHANGES)]
    assert len(changing) >= 3

    for nth, kind in itertools.product(changing, ("drop_before", "drop_after")):
        began = begin()
        emulator.fail_at(nth, kind)
        with pytest.raises(CloudUnavailableError):
            tidy_up(later(began, AFTER_THE_LEASE, **PRUNE_NOW))
        emulator.wait_until_idle()
        again = later(reopen(began), AFTER_THE_LEASE, **PRUNE_NOW)
        tidy_up(again)
        assert (living_tests(again), stored_keys(again)) == ([], expected), f"{kind} at call {nth}"
        assert find_faults(again) == []


def stored_keys(context):
    """Return what is stored, without the ledger: a run that was killed may have recorded its intent twice."""
    return [stored.key for stored in context.store.list("") if not stored.key.startswith("ledger/")]
