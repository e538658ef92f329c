"""Factories for an event of every type, with plausible values, and for a ledger's entries."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from recdeploy_ops.domain.baking import BakeResult, Baseline, Health, Measurements, Percentile, Rate
from recdeploy_ops.domain.entries import FORMAT, Entry
from recdeploy_ops.domain.events import (
    Adopted,
    ApprovalAnswered,
    ApprovalRequested,
    ArtifactBuilt,
    BackupFailed,
    BakeEnded,
    BakeStarted,
    BaselineMeasured,
    CandidateChecked,
    CandidateEvaluated,
    ChampionBacktested,
    ChampionRestored,
    CustomerErased,
    DataChecked,
    DataExtracted,
    GateModelsTrained,
    HousekeepingStarted,
    LedgerStarted,
    ModelRegistered,
    ModelRestored,
    ModelTrained,
    ProductionBackedUp,
    ProductionFailed,
    ProductionLost,
    Promoted,
    PromotionsFrozen,
    PromotionsResumed,
    Purpose,
    RehearsalStarted,
    ReleaseClosed,
    ReleaseOpened,
    ReleaseOutcome,
    ReleaseRejected,
    ReplacedModel,
    Resized,
    ResizeStarted,
    RestoreStarted,
    Rewritten,
    RollbackRehearsed,
    RolledBack,
    StoredFile,
    SwitchFailed,
    SwitchStarted,
    TakeoverStarted,
    TestDeployed,
    TestValidated,
    VersionPinned,
    VersionUnpinned,
    WindowJudged,
)
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.ledger_state import NO_ENTRY
from recdeploy_ops.domain.params import RetrainParams, RollbackParams
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.domain.versions import Serving, Version

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.events import Event

PROJECT = "product-recommender"
START = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
PRODUCTION, TEST = "ocid-production", "ocid-test"
URL, TEST_URL = "http://production", "http://test"
SHA256 = "5" * 64

RETRAIN = RetrainParams(
    top_k=10,
    seed=42,
    instance_shape="VM.Standard.E4.Flex",
    ocpus=1.0,
    memory_gb=16.0,
    instance_count=1,
    skip_test_deployment=False,
    approval_timeout_hours=48.0,
)
ROLLBACK = RollbackParams(version="previous", reason=None, require_approval=False, approval_timeout_hours=4.0)


E = TypeVar("E", bound="Event")


def variants_of(event: E) -> Callable[..., E]:
    """Return a factory of an event; its keyword arguments are the fields that differ."""
    return partial(replace, event)


ROWS = {"interactions": 100, "users": 10, "items": 5}
INPUTS, METRICS = {"extract": SHA256, "top_k": 10, "seed": 42, "model": "SVD"}, {"rmse": 0.9, "mae": None}

started = variants_of(LedgerStarted(PROJECT, FORMAT))
extracted = variants_of(DataExtracted("releases/r/extract/e", SHA256, ROWS, "2026-03-01T00:00:00+00:00"))
trained = variants_of(ModelTrained("releases/r/results/r", SHA256, INPUTS, METRICS))
deployed = variants_of(TestDeployed(TEST, TEST_URL, "2026-03-05T03:00:00+00:00"))
switch_failed = variants_of(SwitchFailed("no capacity"))
production_lost = variants_of(ProductionLost(PRODUCTION))
production_failed = variants_of(ProductionFailed(PRODUCTION, "out of host capacity"))
resized = variants_of(Resized("VM.Standard.E4.Flex", 2.0, 32.0, 1))
frozen = variants_of(PromotionsFrozen("Black Friday", "ann"))
resumed = variants_of(PromotionsResumed("it is over", "bo"))
takeover_started = variants_of(TakeoverStarted("run-9", "wr-1", START))


def opened(version: int = 1, **changes: Any) -> ReleaseOpened:
    event = ReleaseOpened(
        purpose=Purpose.RETRAIN,
        version=version,
        dag_id="recommender_retrain",
        params=RETRAIN,
        champion=None,
        settings=StoredFile("releases/r/settings/s.json", SHA256),
        triggered_by="bo",
        opening=1,
    )
    return replace(event, **changes)


def opened_rollback(version: int = 1, **changes: Any) -> ReleaseOpened:
    rollback = {"purpose": Purpose.ROLLBACK, "dag_id": "recommender_rollback", "params": ROLLBACK}
    return opened(version, **rollback | changes)


def backed_up(version: int | None = 1, **changes: Any) -> ProductionBackedUp:
    return replace(ProductionBackedUp(version, f"backups/v{version}_20260302_030000", SHA256), **changes)


def backup_failed(version: int = 1, **changes: Any) -> BackupFailed:
    return replace(BackupFailed(version, "its model is gone"), **changes)


def data_checked(verdict: Verdict = Verdict.PASS, **changes: Any) -> DataChecked:
    return replace(DataChecked(verdict, "releases/r/reports/data.json", SHA256), **changes)


def built(version: int = 1, **changes: Any) -> ArtifactBuilt:
    return replace(ArtifactBuilt("releases/r/artifact/a", f"d{version}", version), **changes)


def candidate_checked(verdict: Verdict = Verdict.PASS, **changes: Any) -> CandidateChecked:
    return replace(CandidateChecked(verdict, "releases/r/reports/candidate.json", SHA256), **changes)


def backtested(version: int = 1, **changes: Any) -> ChampionBacktested:
    event = ChampionBacktested("releases/r/backtests/b", SHA256, version, {"extract": SHA256, "seed": 42})
    return replace(event, **changes)


def evaluated(verdict: Verdict = Verdict.PASS, **changes: Any) -> CandidateEvaluated:
    return replace(CandidateEvaluated(verdict, "releases/r/reports/evaluated.json", SHA256), **changes)


def registered(version: int = 1, **changes: Any) -> ModelRegistered:
    event = ModelRegistered(f"m{version}", version, f"d{version}", "releases/r/artifact/a", "releases/r/results/r")
    return replace(event, **changes)


def validated(verdict: Verdict = Verdict.PASS, **changes: Any) -> TestValidated:
    return replace(TestValidated(verdict, "releases/r/reports/test.json", SHA256), **changes)


def asked(version: int = 1, **changes: Any) -> ApprovalRequested:
    return replace(ApprovalRequested(1, version, f"d{version}", {"seed": "42"}, SHA256), **changes)


def answered(decision: Decision = Decision.PROMOTE, version: int = 1, **changes: Any) -> ApprovalAnswered:
    event = ApprovalAnswered(
        decision=decision,
        by="ann",
        at=START,
        comment="",
        timed_out=False,
        attempt=1,
        version=version,
        digest=f"d{version}",
        fingerprint=SHA256,
    )
    return replace(event, **changes)


def switch_started(version: int = 1, **changes: Any) -> SwitchStarted:
    deadline = START + timedelta(hours=1)
    return replace(SwitchStarted(PRODUCTION, f"serving v{version}", version, "wr-1", deadline), **changes)


def promoted(version: int = 1, **changes: Any) -> Promoted:
    return replace(Promoted(PRODUCTION, URL, f"m{version}", version, f"d{version}", "ann"), **changes)


def rolled_back(version: int = 1, **changes: Any) -> RolledBack:
    return replace(RolledBack(PRODUCTION, URL, f"m{version}", version, f"d{version}", "it looks odd"), **changes)


def restore_started(version: int = 1, **changes: Any) -> RestoreStarted:
    return replace(RestoreStarted(PRODUCTION, f"serving v{version}", version, None, None), **changes)


def champion_restored(version: int = 1, **changes: Any) -> ChampionRestored:
    return replace(ChampionRestored(version, f"m{version}", PRODUCTION), **changes)


def resize_started(version: int = 1, **changes: Any) -> ResizeStarted:
    return replace(ResizeStarted(PRODUCTION, "resized", version, "wr-1", START + timedelta(hours=1)), **changes)


def rehearsal_started(version: int = 1, **changes: Any) -> RehearsalStarted:
    return replace(RehearsalStarted(version, f"d{version}", f"m{version}", START), **changes)


def rehearsed(version: int = 1, **changes: Any) -> RollbackRehearsed:
    return replace(RollbackRehearsed(version, f"d{version}", f"m{version}", 1.5), **changes)


def model_restored(version: int = 1, **changes: Any) -> ModelRestored:
    return replace(ModelRestored(version, f"m{version}-again", f"m{version}"), **changes)


def serving(version: int = 1, **changes: Any) -> Serving:
    return replace(Serving(PRODUCTION, URL, f"m{version}", version, f"d{version}", START.isoformat()), **changes)


def version_of(number: int = 1, stage: Stage = Stage.CHAMPION, **changes: Any) -> Version:
    artifact, results = "releases/r/artifact/a", "releases/r/results/r"
    return replace(Version(number, stage, "run-1", f"d{number}", f"m{number}", artifact, results), **changes)


adopted = variants_of(
    Adopted(
        difference=("v1 serves, which the ledger does not know",),
        seen_work_request=None,
        versions=(version_of(),),
        highest_version=1,
        production=serving(),
        previous_champion=None,
    )
)


def rejected(version: int = 1, **changes: Any) -> ReleaseRejected:
    return replace(ReleaseRejected(version, "ann", "no"), **changes)


def closed(outcome: ReleaseOutcome = ReleaseOutcome.PROMOTED, version: int = 1, **changes: Any) -> ReleaseClosed:
    return replace(ReleaseClosed(outcome, version, None, None), **changes)


GOOD = Rate(0, 800, 0.0, 0.005)
LATENCY = Percentile(0.25, 0.24, 0.26)
MEASURED = Measurements(1000, Rate(1, 1000, 0.0002, 0.006), GOOD, GOOD, GOOD, LATENCY)

baseline_measured = variants_of(BaselineMeasured(1, Baseline(2000, Rate(0, 2000, 0.0, 0.002), LATENCY)))
bake_started = variants_of(BakeStarted(2, 1, 6, 5.0, START))
window_judged = variants_of(WindowJudged(START + timedelta(minutes=5), MEASURED, Health.HEALTHY, (), (Health.HEALTHY,)))
bake_ended = variants_of(BakeEnded(BakeResult.PASSED, "6 windows were judged"))


def pinned(version: int = 1, **changes: Any) -> VersionPinned:
    return replace(VersionPinned(version, "ann", "the audit needs it"), **changes)


def unpinned(version: int = 1, **changes: Any) -> VersionUnpinned:
    return replace(VersionUnpinned(version, "ann", "the audit is over"), **changes)


def pruned(*versions: int, **changes: Any) -> HousekeepingStarted:
    event = HousekeepingStarted(
        deployments=(TEST,), models=("m1",), folders=("releases/r/extract/e",), versions=versions, size=10, instances=1
    )
    return replace(event, **changes)


erased = variants_of(
    CustomerErased(
        by="ann",
        reason="request 7",
        rewritten=(Rewritten("releases/r/extract/e", SHA256, "releases/r/extract/f", "6" * 64),),
        removed=("releases/r/backtests/b",),
        models=(ReplacedModel(1, "m1", "m1-again"),),
    )
)


SAMPLES: tuple[Event, ...] = (
    started(),
    opened(),
    backed_up(),
    backup_failed(),
    extracted(),
    data_checked(),
    trained(),
    built(),
    candidate_checked(),
    GateModelsTrained("releases/r/gate-models/g", SHA256, {"quality": {"seeds": 5}}),
    backtested(),
    evaluated(),
    registered(),
    deployed(),
    validated(),
    asked(),
    answered(),
    baseline_measured(),
    switch_started(),
    switch_failed(),
    promoted(),
    rolled_back(),
    restore_started(),
    champion_restored(),
    production_lost(),
    production_failed(),
    resize_started(),
    resized(),
    bake_started(),
    window_judged(),
    bake_ended(),
    rehearsal_started(),
    rehearsed(),
    model_restored(),
    adopted(),
    takeover_started(),
    rejected(),
    closed(),
    frozen(),
    resumed(),
    pinned(),
    unpinned(),
    pruned(1),
    erased(),
)


def of(run_id: str, *events: Event) -> tuple[tuple[str, Event], ...]:
    """Return the events of a run, for `chain`."""
    return tuple((run_id, event) for event in events)


def complete(version: int = 1, run_id: str = "") -> tuple[tuple[str, Event], ...]:
    """Return the events of a release from its opening to its end in production; its run is ``run-{version}``."""
    events = (opened(version), registered(version), validated(), promoted(version), closed(version=version))
    return of(run_id or f"run-{version}", *events)


def chain(*parts: Event | tuple[str, Event], project: str = PROJECT) -> list[Entry]:
    """Return the entries of a ledger, a minute apart; an event without a run belongs to ``run-1``."""
    pairs = [part if isinstance(part, tuple) else ("run-1", part) for part in (started(project=project), *parts)]
    entries: list[Entry] = []
    for seq, (run_id, event) in enumerate(pairs, start=1):
        previous = entries[-1].sha256 if entries else NO_ENTRY
        entries.append(Entry(seq, previous, run_id, START + timedelta(minutes=seq), event))
    return entries
