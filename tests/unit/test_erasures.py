"""Erasing a customer: what happens to each folder, and what the state names afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from events import (
    SHA256,
    asked,
    backed_up,
    backtested,
    built,
    chain,
    closed,
    data_checked,
    erased,
    extracted,
    of,
    opened,
    promoted,
    registered,
    trained,
    validated,
    version_of,
)

from recdeploy_ops.domain.erasures import (
    Decision,
    ErasurePlan,
    Fate,
    Leftovers,
    Trace,
    decide,
    describe_erasure,
    find_leftovers,
)
from recdeploy_ops.domain.events import (
    ArtifactBuilt,
    DataChecked,
    DataExtracted,
    ModelRegistered,
    ProductionBackedUp,
    ReplacedModel,
    Rewritten,
)
from recdeploy_ops.domain.holdings import FolderKind, StoredFolder
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.rewritten_states import recorded_backups

NONE = Leftovers(frozenset(), frozenset())
NEW = "6" * 64


def released(version: int) -> tuple[tuple[str, Any], ...]:
    """Return the events of a release whose bundles are below its own run."""
    run_id, base = f"run-{version}", f"releases/run-{version}"
    return of(
        run_id,
        opened(version),
        backed_up(version - 1 or None, prefix=f"backups/v{version - 1}" if version > 1 else None),
        extracted(prefix=f"{base}/extract/e"),
        data_checked(report=f"{base}/reports/d"),
        trained(prefix=f"{base}/results/r"),
        built(version, prefix=f"{base}/artifact/a"),
        registered(version, artifact=f"{base}/artifact/a", results=f"{base}/results/r"),
        validated(),
        asked(version),
        promoted(version),
        closed(version=version),
    )


def rewrite(key: str, sha256: str = SHA256) -> Rewritten:
    return Rewritten(key, sha256, f"{key}-new", NEW)


LEDGER = (*released(1), *released(2), ("housekeeping", backtested(2)))


def folder(kind: FolderKind, run: int = 1, *, prefix: str = "", version: int | None = None) -> StoredFolder:
    names = {FolderKind.EXTRACT: "e", FolderKind.RESULTS: "r", FolderKind.ARTIFACT: "a"}
    prefix = prefix or f"releases/run-{run}/{kind}/{names.get(kind, 'x')}"
    return StoredFolder(prefix, kind, f"run-{run}", version, (f"{prefix}/manifest.json", f"{prefix}/data"), 1)


def backup(version: int) -> StoredFolder:
    return folder(FolderKind.BACKUP, prefix=f"backups/v{version}", version=version)


def test_the_state_names_what_was_stored_again() -> None:
    event = erased(
        rewritten=(
            rewrite("releases/run-1/extract/e"),
            rewrite("releases/run-1/results/r"),
            rewrite("releases/run-1/artifact/a", "d1"),
            rewrite("releases/run-1/reports/d"),
            rewrite("backups/v1"),
        ),
        removed=("releases/r/backtests/b",),
        models=(ReplacedModel(1, "m1", "m1-again"),),
    )
    before = replay(chain(*LEDGER))
    entries = chain(*LEDGER, ("erase", event))
    state = replay(entries)
    first, second = state.releases["run-1"], state.releases["run-2"]

    assert first.require(DataExtracted).prefix == "releases/run-1/extract/e-new"
    assert first.require(DataExtracted).digest == NEW
    assert first.require(DataChecked).report == "releases/run-1/reports/d-new"
    assert first.require(ArtifactBuilt).digest == NEW
    assert first.require(ModelRegistered).artifact == "releases/run-1/artifact/a-new"
    assert second.require(ProductionBackedUp).prefix == "backups/v1-new"
    assert state.versions[1] == replace(
        before.versions[1],
        artifact="releases/run-1/artifact/a-new",
        results="releases/run-1/results/r-new",
        digest=NEW,
        model_id="m1-again",
    )
    assert state.previous_champion is not None
    assert before.previous_champion is not None
    assert state.previous_champion == replace(before.previous_champion, digest=NEW, model_id="m1-again")
    assert state.versions[2] == before.versions[2]
    assert state.production == before.production
    assert (len(before.backtests), len(state.backtests)) == (1, 0)
    assert recorded_backups(entries) == {"backups/v1-new": NEW}


def test_what_was_not_stored_again_stays_as_it_was() -> None:
    before = replay(chain(*LEDGER))
    after = replay(chain(*LEDGER, ("erase", erased(rewritten=(), removed=(), models=()))))

    assert after.releases == before.releases
    assert after.versions == before.versions
    assert after.previous_champion == before.previous_champion
    assert after.backtests == before.backtests


def test_a_first_version_alone_is_stored_again_too() -> None:
    after = replay(chain(*released(1), ("erase", erased(rewritten=(rewrite("releases/run-1/extract/e"),), models=()))))

    assert after.previous_champion is None


def test_a_backup_is_recorded_under_the_digest_that_it_has_now() -> None:
    other = erased(rewritten=(Rewritten("backups/v1", "another", "backups/v1-new", NEW),), removed=(), models=())

    assert recorded_backups(chain(*LEDGER)) == {"backups/v1": SHA256}
    assert recorded_backups(chain(*LEDGER, ("erase", other))) == {"backups/v1": SHA256}, "not that backup"


@pytest.mark.parametrize(
    ("found", "artifact", "others"),
    [
        (folder(FolderKind.EXTRACT), None, Fate.REWRITE),
        (folder(FolderKind.RESULTS), None, Fate.REWRITE),
        (folder(FolderKind.EXTRACT, prefix="releases/run-1/extract/superseded"), None, Fate.REMOVE),
        (folder(FolderKind.GATE_MODELS), None, Fate.REMOVE),
        (folder(FolderKind.BACKTESTS), None, Fate.REMOVE),
        (folder(FolderKind.ROW_HASHES), None, Fate.REMOVE),
        (replace(folder(FolderKind.EXTRACT), keys=("releases/run-1/extract/e/data",)), None, Fate.REMOVE),
        (replace(backup(1), keys=()), None, Fate.REMOVE),
    ],
)
def test_what_is_read_again_is_rewritten_and_the_rest_is_removed(
    found: StoredFolder, artifact: Fate | None, others: Fate
) -> None:
    decision = decide(replay(chain(*LEDGER)), Trace(found, in_others=True), NONE)

    assert (decision.artifact, decision.others) == (artifact, others)
    assert decision.is_removed == (others is Fate.REMOVE)
    assert decision.is_rewritten == (others is Fate.REWRITE)


@pytest.mark.parametrize(("version", "fate"), [(1, Fate.REWRITE), (2, Fate.SERVES)])
def test_the_artifact_that_production_serves_stays(version: int, fate: Fate) -> None:
    state = replay(chain(*LEDGER))
    own = decide(state, Trace(folder(FolderKind.ARTIFACT, version), in_artifact=True), NONE)
    copied = decide(state, Trace(backup(version), in_artifact=True, in_others=True), NONE)

    assert (own.artifact, own.others) == (fate, None)
    assert (copied.artifact, copied.others) == (fate, Fate.REWRITE)


def test_an_artifact_of_another_project_is_not_understood() -> None:
    state = replay(chain(*LEDGER))
    foreign = version_of(1, digest="", artifact="adopted/v1/a")
    state = replace(state, versions={**state.versions, 1: foreign})
    found = folder(FolderKind.ADOPTED, prefix="adopted/v1/a", version=1)

    assert decide(state, Trace(found, in_artifact=True), NONE).artifact is Fate.FOREIGN


def test_an_artifact_that_was_never_registered_is_rewritten() -> None:
    state = replay(chain(*of("run-1", opened(), built(prefix="releases/run-1/artifact/a"), closed())))
    found = folder(FolderKind.ARTIFACT)

    assert decide(state, Trace(found, in_artifact=True), NONE).artifact is Fate.REWRITE


def test_what_an_earlier_erasing_has_replaced_is_only_deleted() -> None:
    entries = chain(*LEDGER, ("erase", erased(rewritten=(rewrite("releases/run-1/extract/e"),), removed=("x/y",))))
    leftovers = find_leftovers(entries)

    assert leftovers == Leftovers(frozenset({"releases/run-1/extract/e", "x/y"}), frozenset({SHA256}))
    assert decide(replay(entries), Trace(folder(FolderKind.EXTRACT), in_others=True), leftovers).is_removed


def test_the_plan_in_words_names_places_and_never_the_customer() -> None:
    plan = ErasurePlan(
        seq=1,
        decisions=(
            Decision(Trace(folder(FolderKind.EXTRACT)), others=Fate.REWRITE),
            Decision(Trace(backup(1)), Fate.REWRITE, Fate.REWRITE),
            Decision(Trace(backup(2)), Fate.SERVES, Fate.REWRITE),
        ),
        reports=("releases/run-1/report/p.html",),
        models=("m0",),
        unreached=("Production serves v2.",),
    )
    text = describe_erasure(plan)

    assert text.splitlines()[:8] == [
        "releases/run-1/extract/e is stored again without them.",
        "backups/v1 is stored again without them.",
        "backups/v2 is stored again without them.",
        "The artifact in backups/v2 stays until another version is promoted: it is what production serves.",
        "releases/run-1/report/p.html is stored again without them.",
        "The model m0 is deleted: an earlier erasing has replaced it.",
        "Not reached:",
        "  Production serves v2.",
    ]
    assert "The source database" in text
    assert "OCI's logs" in text


def test_a_plan_with_nothing_to_do_says_whether_anything_names_the_customer() -> None:
    serving = Decision(Trace(folder(FolderKind.ARTIFACT, 2)), artifact=Fate.SERVES)

    assert describe_erasure(ErasurePlan(1)).startswith("Nothing to do: no file in storage names this customer.")
    assert "Nothing to do: no other file in storage" in describe_erasure(ErasurePlan(1, (serving,)))
    assert ErasurePlan(1, (serving,)).is_empty
