"""The ledger lost, edited or out of step with OCI: what is noticed, and how it is rebuilt."""

import time
from datetime import UTC, datetime, timedelta

import oci
import pytest
from steps.factories import Run

from recdeploy_ops.audits import audit
from recdeploy_ops.domain.errors import LockHeldError, SettingsError, StateMismatchError
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.ledgers import SNAPSHOT, key_of
from recdeploy_ops.releases import LEDGER_TAG, Releases
from recdeploy_ops.steps import adopt
from recdeploy_ops.steps.waits import finish, is_settled


@pytest.fixture
def run(releases, tmp_path):
    return lambda run_id, **how: Run(releases, run_id, tmp_path, **how)


@pytest.fixture
def two_versions(run):
    run("run-1").release_fully()
    run("run-2", shift=1).release_fully()


@pytest.fixture
def reopened(releases):
    """The same storage and tenancy, read by a process that remembers nothing."""

    def reopen():
        return Releases(releases.settings, releases.store, releases.catalog._session, releases.now)

    return reopen


def adopt_all(releases, deployment_id=None, *, apply=True):
    return finish(releases, lambda: adopt.advance(releases, "adopt", deployment_id=deployment_id, apply=apply))


def settle(releases, deployment):
    while not is_settled(releases, deployment.deployment_id):
        time.sleep(0.02)


def delete(releases, prefix):
    for found in list(releases.store.list(prefix)):
        releases.store.delete(found.key)


def test_nothing_to_adopt_when_ledger_and_oci_agree(releases, two_versions):
    before = releases.ledger.entries()

    assert adopt_all(releases)["difference"] == []
    assert releases.ledger.entries() == before


def test_a_lost_snapshot_changes_nothing(releases, two_versions, reopened):
    book = releases.ledger.book()
    releases.store.delete(SNAPSHOT)

    assert reopened().ledger.book() == book


def test_a_lost_ledger_is_rebuilt_from_oci(releases, run, two_versions, reopened):
    book = releases.ledger.book()
    delete(releases, "ledger/")
    empty = reopened()
    shown = adopt_all(empty, apply=False)
    assert any(line.startswith("production: the ledger has nothing, OCI has v2") for line in shown["difference"])
    assert empty.ledger.entries() == ()

    adopt_all(empty)

    rebuilt = empty.ledger.book()
    assert rebuilt.production.version == 2
    assert rebuilt.production.digest == book.production.digest
    assert rebuilt.previous_champion.version == 1
    assert {n: v.stage for n, v in rebuilt.versions.items()} == {1: Stage.RETIRED, 2: Stage.CHAMPION}
    assert {n: v.artifact for n, v in rebuilt.versions.items()} == {n: v.artifact for n, v in book.versions.items()}
    assert empty.production().tags[LEDGER_TAG] == f"{rebuilt.seq}:{rebuilt.head}"

    run_again = Run(empty, "back", run("x").database.parent)
    assert run_again.roll_back()["version"] == 1
    run_again = Run(empty, "run-3", run("x").database.parent, shift=2)
    run_again.release_fully()
    assert empty.ledger.book().production.version == 3


def test_a_change_by_hand_is_shown_and_then_taken_over(releases, run, two_versions):
    first = releases.ledger.book().versions[1]
    production = releases.production()
    releases.deployments.switch_model(production, first.model_id)
    settle(releases, production)
    with pytest.raises(StateMismatchError, match="changed product-recommender-production by hand"):
        run("run-3", shift=2).plan()

    adopt_all(releases)

    book = releases.ledger.book()
    assert (book.production.version, book.previous_champion.version) == (1, 2)
    run("run-3", shift=2).release_fully()
    assert releases.ledger.book().production.version == 3


def test_a_deployment_that_this_project_did_not_make_is_imported(releases, run, two_versions, reopened):
    """As if the guide's notebook had made it: no tags of ours anywhere."""
    production = releases.production()
    model_id = production.model_id
    client = releases.catalog._client
    client.update_model(model_id, oci.data_science.models.UpdateModelDetails(freeform_tags={}))
    releases.deployments.tag(production, {"team": "shop"})
    settle(releases, production)
    delete(releases, "ledger/")
    empty = reopened()

    adopt_all(empty, production.deployment_id)

    book = empty.ledger.book()
    assert book.production.deployment_id == production.deployment_id
    assert book.production.version == 2  # one above the highest in the catalog that carries our tags
    assert empty.production().tags["team"] == "shop"

    following = Run(empty, "run-3", run("x").database.parent, shift=2)
    following.release_fully()
    assert empty.ledger.book().production.version == 3
    following = Run(empty, "back", run("x").database.parent)
    assert following.roll_back()["version"] == 2


def test_adoption_waits_for_a_release_that_is_under_way(releases, run, two_versions):
    run("run-3", shift=2).plan()
    production = releases.production()
    releases.deployments.tag(production, {**production.tags, "recdeploy-role": "other"})
    settle(releases, production)

    with pytest.raises(LockHeldError):
        adopt_all(releases)


def test_adoption_says_that_it_has_written_once_productions_tags_are_set(releases, two_versions, reopened):
    delete(releases, "ledger/")
    done = adopt_all(reopened())

    assert done["applied"] is True
    assert any(line.startswith("production: the ledger has nothing") for line in done["difference"])
    assert adopt_all(reopened(), apply=False) == {"difference": [], "applied": False}


def test_adoption_waits_for_a_change_that_somebody_is_making(emulator, releases, two_versions):
    emulator.set_timings(update=0.5)
    first = releases.ledger.book().versions[1]
    production = releases.production()
    releases.deployments.switch_model(production, first.model_id)
    assert releases.production().lifecycle_state == "UPDATING"

    adopt_all(releases)

    assert releases.ledger.book().production.version == 1


def test_adoption_does_not_wait_for_ever(emulator, releases, two_versions):
    emulator.set_timings(update=30)
    production = releases.production()
    releases.deployments.switch_model(production, releases.ledger.book().versions[1].model_id)
    releases.now = lambda: datetime.now(UTC) + timedelta(hours=2)

    with pytest.raises(StateMismatchError, match="is UPDATING"):
        adopt_all(releases)


def test_two_productions_must_be_told_apart(releases, run, two_versions):
    third = run("run-3", shift=2)
    third.validate()
    test = next(d for d in releases.deployments.all() if d.tags["recdeploy-role"] == "test")
    full = releases.deployments.get(test.deployment_id)
    releases.deployments.tag(full, {**full.tags, "recdeploy-role": "production"})
    settle(releases, full)

    with pytest.raises(SettingsError, match="2 deployments are tagged as production"):
        adopt_all(releases)


def test_a_whole_ledger_has_no_faults(releases, two_versions):
    assert audit(releases.store, tagged_heads=releases.tagged_heads()) == []


def test_a_tail_cut_off_after_a_rejection_is_noticed_though_production_was_left_alone(releases, run, two_versions):
    before = releases.production().tags
    third = run("run-3", shift=2)
    third.validate()
    third.answer(Decision.REJECT)
    third.reject()
    third.close()
    assert releases.production().tags == before
    for seq in range(releases.ledger.book().seq - 2, releases.ledger.book().seq + 1):
        releases.store.delete(key_of(seq))
    releases.store.delete(SNAPSHOT)

    [fault] = audit(releases.store, tagged_heads=releases.tagged_heads())
    assert "production's model" in fault
    assert "the tail was cut off" in fault


@pytest.mark.parametrize("keeping_snapshot", [True, False])
@pytest.mark.parametrize("damage", ["edit", "remove", "exchange", "cut", "cut all", "rewrite"])
def test_any_damage_to_the_ledger_is_noticed(releases, two_versions, damage, keeping_snapshot):
    store, last = releases.store, releases.ledger.book().seq
    heads = releases.tagged_heads()
    if not keeping_snapshot:
        store.delete(SNAPSHOT)
    if damage == "edit":
        store.replace(key_of(5), store.read(key_of(5)).replace(b"run-1", b"run-7"))
    elif damage == "remove":
        store.delete(key_of(5))
    elif damage == "exchange":
        five, six = store.read(key_of(5)), store.read(key_of(6))
        store.replace(key_of(5), six)
        store.replace(key_of(6), five)
    elif damage == "cut":
        store.delete(key_of(last))
    elif damage == "cut all":
        for seq in range(1, last + 1):
            store.delete(key_of(seq))
    else:
        content = store.read(key_of(last))
        store.replace(key_of(last), content.replace(b'"promoted"', b'"rejected"'))

    assert audit(store, tagged_heads=heads) != []
