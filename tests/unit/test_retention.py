"""The plan of housekeeping: whatever the history and the policy are, it never touches what is protected."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from events import (
    chain,
    closed,
    extracted,
    model_restored,
    of,
    opened,
    opened_rollback,
    pinned,
    promoted,
    pruned,
    registered,
    rejected,
    rolled_back,
    unpinned,
    validated,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.events import ReleaseOutcome
from recdeploy_ops.domain.holdings import (
    CUSTOMERS_DATA,
    BrokenTarget,
    FolderKind,
    Holdings,
    LeftDeployment,
    RegisteredModel,
    StoredFolder,
)
from recdeploy_ops.domain.release_plan import choose_target
from recdeploy_ops.domain.replay import replay
from recdeploy_ops.domain.retention import Operation, RetentionPolicy, plan_housekeeping
from recdeploy_ops.domain.savings import Prices, describe_plan, describe_savings, summarise_done
from recdeploy_ops.domain.timelines import find_last_served, trace_production

if TYPE_CHECKING:
    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.events import Event
    from recdeploy_ops.domain.retention import HousekeepingPlan

OF_RUNS = [kind for kind in FolderKind if kind not in {FolderKind.ADOPTED, FolderKind.BACKUP}]
POLICY = RetentionPolicy(versions=1, days=90, customer_days=30)


def folder(kind: FolderKind, version: int, **changes: Any) -> StoredFolder:
    """Return a folder of the run that makes a version, or one that is named after it."""
    run_id = f"run-{version}" if kind in OF_RUNS else None
    prefix = f"releases/run-{version}/{kind}/0" if run_id else f"{kind}/v{version}"
    values: dict[str, Any] = {"run_id": run_id, "version": None if run_id else version, "size": 1000}
    return StoredFolder(prefix, kind, keys=(f"{prefix}/manifest.json", f"{prefix}/data"), **{**values, **changes})


def everything_of(*versions: int) -> tuple[StoredFolder, ...]:
    return tuple(folder(kind, version) for version in versions for kind in FolderKind)


def made(version: int) -> tuple[tuple[str, Event], ...]:
    """Return the events of a release up to its validated version."""
    prefix = f"releases/run-{version}"
    event = registered(version, artifact=f"{prefix}/artifact/0", results=f"{prefix}/results/0")
    return of(f"run-{version}", opened(version), event, validated())


def released(version: int) -> tuple[tuple[str, Event], ...]:
    return (*made(version), *of(f"run-{version}", promoted(version), closed(version=version)))


def model(version: int, **changes: Any) -> RegisteredModel:
    return RegisteredModel(f"m{version}", f"shop-v{version}", version, **changes)


def plan_of(
    entries: list[Entry], holdings: Holdings, *, days: float = 1000, policy: RetentionPolicy = POLICY
) -> HousekeepingPlan:
    return plan_housekeeping(replay(entries), holdings, policy, entries[-1].at + timedelta(days=days))


@dataclass
class History:
    """A ledger, and what it must protect by a count of its own.

    Attributes:
        parts: of the ledger.
        served: the versions in the order in which they served.
        pins: the pinned versions.
        versions: those that were made.
        holder: the version of the release in progress.
    """

    parts: list[tuple[str, Event]] = field(default_factory=list)
    served: list[int] = field(default_factory=list)
    pins: set[int] = field(default_factory=set)
    versions: int = 0
    holder: int | None = None

    @property
    def protected(self) -> set[int]:
        previous = [version for version in self.served if version != self.served[-1]][-1:]
        return {*self.served[-1:], *previous, *self.pins, *({self.holder} if self.holder else ())}

    def promote(self) -> None:
        self.versions += 1
        self.parts += released(self.versions)
        self.served.append(self.versions)

    def reject(self) -> None:
        self.versions += 1
        outcome = closed(ReleaseOutcome.REJECTED, self.versions)
        self.parts += (*made(self.versions), *of(f"run-{self.versions}", rejected(self.versions), outcome))

    def fail(self) -> None:
        self.versions += 1
        outcome = closed(ReleaseOutcome.FAILED, self.versions)
        self.parts += of(f"run-{self.versions}", opened(self.versions), extracted(), outcome)

    def go_back(self, draw: st.DrawFn) -> None:
        targets = sorted(set(self.served) - set(self.served[-1:]))
        if targets:
            target = draw(st.sampled_from(targets))
            outcome = closed(ReleaseOutcome.ROLLED_BACK, target)
            self.parts += of(f"back-{len(self.parts)}", opened_rollback(target), rolled_back(target), outcome)
            self.served.append(target)

    def pin(self, draw: st.DrawFn) -> None:
        if self.versions:
            target = draw(st.integers(1, self.versions))
            self.parts += of("pin", pinned(target))
            self.pins.add(target)

    def unpin(self, draw: st.DrawFn) -> None:
        if self.pins:
            target = draw(st.sampled_from(sorted(self.pins)))
            self.parts += of("pin", unpinned(target))
            self.pins.discard(target)

    def begin(self) -> None:
        self.holder = self.versions + 1
        self.parts += of(f"run-{self.holder}", opened(self.holder), extracted())


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw a ledger of releases that are promoted, rejected, failed or rolled back, and of pins."""
    history = History()
    alone, drawing = [history.promote, history.reject, history.fail], [history.go_back, history.pin, history.unpin]
    for _ in range(draw(st.integers(1, 9))):
        number = draw(st.integers(0, 6))
        if number < 3:
            history.promote()  # the most frequent
        elif number < 4:
            draw(st.sampled_from(alone))()
        else:
            draw(st.sampled_from(drawing))(draw)
    if draw(st.integers(0, 3)) == 0:
        history.begin()
    return history


@settings(deadline=None)  # a machine may be busy
@given(
    history=histories(),
    policy=st.builds(
        RetentionPolicy, versions=st.integers(1, 4), days=st.floats(0, 100), customer_days=st.floats(0, 100)
    ),
    days=st.floats(0, 200),
    deployed=st.sets(st.integers(1, 9)),
    strangers=st.booleans(),
)
def test_whatever_the_history_nothing_protected_is_ever_touched(
    history: History, policy: RetentionPolicy, days: float, deployed: set[int], strangers: bool
) -> None:
    entries = chain(*history.parts)
    numbers = range(1, history.versions + 2)
    folders = everything_of(*numbers)
    if strangers:  # of runs that the ledger does not know
        folders += tuple(folder(kind, 77) for kind in FolderKind)
    served = find_last_served(trace_production(entries), entries[-1].at)
    models = tuple(model(number, deployed_by=("a demo",) if number in deployed else ()) for number in numbers)
    holdings = Holdings(folders=folders, models=models, last_served=served)
    plan = plan_of(entries, holdings, days=days, policy=policy)

    state = replay(entries)
    touched = {one.version for one in plan.models} | {one.version for one in plan.folders if one.version}
    touched |= {int(one.run_id.partition("-")[2]) for one in plan.folders if one.run_id}
    assert history.protected <= plan.protected.keys()
    assert not touched & history.protected
    assert 77 not in touched
    assert not {one.version for one in plan.models} & deployed
    newest = list(dict.fromkeys(reversed(history.served)))[: policy.versions]
    assert not {one.version for one in plan.models} & set(newest)
    if history.holder:
        assert plan.calls == ()
    for number, version in state.versions.items():
        is_used = number not in plan.versions
        prefixes = {one.prefix for one in plan.folders}
        assert not (is_used and {version.artifact, version.results} & prefixes), "a version that stays is whole"
    assert [call.target for call in plan.calls if call.operation is Operation.DELETE_OBJECT] == [
        key for one in plan.folders for key in one.keys
    ]
    if days + 1 < min(policy.days, policy.customer_days):  # the ledger is less than a day long
        assert plan.calls == ()


def test_what_is_old_and_not_protected_is_deleted_whole() -> None:
    entries = chain(*released(1), *released(2), *released(3))
    plan = plan_of(entries, Holdings(folders=everything_of(1, 2, 3), models=(model(1), model(2), model(3))))

    assert plan.versions == (1,)
    assert plan.models == (model(1),)
    assert plan.folders == everything_of(1)
    assert plan.size == 1000 * len(FolderKind)


@pytest.mark.parametrize(("days", "kinds"), [(29, set()), (31, CUSTOMERS_DATA), (91, set(FolderKind))])
def test_customers_data_goes_first(days: float, kinds: set[FolderKind]) -> None:
    entries = chain(*released(1), *released(2), *released(3))
    plan = plan_of(entries, Holdings(folders=everything_of(1, 2, 3)), days=days)

    assert {one.kind for one in plan.folders} == kinds


def test_what_no_version_was_made_of_is_deleted_by_its_age() -> None:
    failed = of("run-1", opened(1), extracted(), closed(ReleaseOutcome.FAILED))
    holdings = Holdings(folders=tuple(folder(kind, 1) for kind in OF_RUNS))

    assert plan_of(chain(*failed), holdings, days=91).folders == holdings.folders
    assert {one.kind for one in plan_of(chain(*failed), holdings, days=31).folders} == CUSTOMERS_DATA


def test_a_version_is_as_old_as_the_last_time_that_it_served() -> None:
    entries = chain(*released(1), *released(2), *released(3))
    served = Holdings(models=(model(1),), last_served={1: entries[-1].at + timedelta(days=950)})

    assert plan_of(entries, served).models == ()
    assert plan_of(entries, Holdings(models=(model(1),))).models == (model(1),)


def test_what_the_pointer_names_stays() -> None:
    entries = chain(*released(1), *released(2), *released(3))
    current = folder(FolderKind.ARTIFACT, 1)
    plan = plan_of(entries, Holdings(folders=everything_of(1), current=frozenset({current.prefix})))

    assert current not in plan.folders
    assert len(plan.folders) == len(FolderKind) - 1


def test_what_an_earlier_housekeeping_has_left_is_deleted_whatever_the_policy_says_now() -> None:
    generous = RetentionPolicy(versions=10, days=9999, customer_days=9999)
    entries = chain(*released(1), *released(2), *released(3), ("housekeeping", pruned(1)))
    plan = plan_of(entries, Holdings(folders=everything_of(1, 2, 3), models=(model(1),)), policy=generous)

    assert plan.folders == everything_of(1)
    assert plan.models == (model(1),)
    assert plan.versions == (), "that was recorded"


def test_production_cannot_go_back_to_a_pruned_version_until_it_is_registered_again() -> None:
    entries = chain(*released(1), *released(2), *released(3), ("housekeeping", pruned(1)))
    with pytest.raises(SettingsError, match=r"v1 was pruned at 2026-03-02T03:.* kept \(v2\), or release again"):
        choose_target(replay(entries), 1)
    with pytest.raises(SettingsError, match="Versions that served before: v2"):
        choose_target(replay(entries), 9)

    again = chain(*released(1), *released(2), *released(3), ("housekeeping", pruned(1)), ("run-1", registered(1)))
    assert choose_target(replay(again), 1).number == 1


def test_an_unpinned_version_is_pruned_like_any_other() -> None:
    served, holdings = (
        (*released(1), *released(2), *released(3)),
        Holdings(folders=everything_of(1), models=(model(1),)),
    )
    kept = plan_of(chain(*served, ("pin", pinned(1))), holdings)
    assert (kept.versions, kept.models) == ((), ())
    assert plan_of(chain(*served, ("pin", pinned(1)), ("pin", unpinned(1))), holdings).versions == (1,)


def test_housekeeping_restores_the_model_of_a_version_without_a_release() -> None:
    state = replay(chain(*released(1), *released(2), ("housekeeping", model_restored(1))))

    assert state.versions[1].model_id == "m1-again"
    assert "housekeeping" not in state.releases


def test_where_every_version_was_pruned_the_remedy_is_a_release() -> None:
    entries = chain(*released(1), *released(2), ("housekeeping", pruned(1)))
    with pytest.raises(SettingsError, match="there is none"):
        choose_target(replay(entries), 1)


def test_the_calls_restore_before_they_delete() -> None:
    entries = chain(*released(1), *released(2), *released(3))
    holdings = Holdings(
        folders=(folder(FolderKind.BACKUP, 1),),
        models=(model(1),),
        deployments=(LeftDeployment("d", "shop-test-v4", 2), LeftDeployment("e", "shop-test-v5", None)),
        broken=(BrokenTarget(2, "m2", "shop-v2", True), BrokenTarget(3, "m3", "shop-v3", False)),
        unfinished=("releases/half",),
    )
    plan = plan_of(entries, holdings)

    assert [f"{call.operation} {call.target}" for call in plan.calls] == [
        "DeleteModelDeployment d",
        "DeleteModelDeployment e",
        "AbortMultipartUpload releases/half",
        "ActivateModel m2",
        "CreateModel shop-v3",
        "DeleteModel m1",
        "DeleteObject backups/v1/manifest.json",
        "DeleteObject backups/v1/data",
    ]
    text = describe_plan(plan, POLICY, Prices(0.5, 0.1, "EUR"))
    for part in (
        "Kept: the 1 newest versions that served, others for 90 days, customers' data for 30 days.",
        "Nothing of v2 is deleted: it is the previous champion.",
        "Nothing of v3 is deleted: it is the champion.",
        "v2, to which a rollback may go, is activated again: OCI would not deploy its model m2.",
        "v3, to which a rollback may go, is registered again",
        "Production cannot go back to these versions any more: v1.",
        "Deletes backups/v1 (2 objects, 1,000 bytes).",
        "8 calls, in this order:\n  1. DeleteModelDeployment d",
        "Test deployments with 3 instances less save 0.30 EUR an hour.",
    ):
        assert part in text


def test_a_plan_without_calls_says_so_and_why() -> None:
    entries = chain(*released(1), *of("run-2", opened(2)))
    text = describe_plan(plan_of(entries, Holdings(folders=everything_of(1))), POLICY, Prices())

    assert "Nothing is pruned while the release of the run run-2 is in progress." in text
    assert "Nothing of v2 is deleted: a release in progress has it." in text
    assert text.endswith("Nothing to do.")


def test_a_version_that_anyone_has_deployed_stays_and_the_plan_says_why() -> None:
    entries = chain(*released(1), *released(2), *released(3))
    plan = plan_of(entries, Holdings(folders=everything_of(1), models=(model(1, deployed_by=("a demo",)),)))

    assert plan.versions == ()
    assert plan.notes == ("v1 stays: a demo is configured for its model m1.",)


def test_what_a_run_has_deleted_is_added_up() -> None:
    events = [pruned(1), pruned(deployments=("other",), models=(), folders=(), size=5_000_000_000, instances=2)]
    done = summarise_done(events, Prices(storage_gb_month=1.0, test_hour=2.0, currency="USD"))

    assert done["deployments"] == ["ocid-test", "other"]
    assert done["versions"] == [1]
    assert done["bytes"] == 5_000_000_010
    assert done["savings"] == [
        "5.000 GB less in storage saves 5.00 USD a month.",
        "Test deployments with 3 instances less save 6.00 USD an hour.",
    ]


def test_without_a_price_nothing_is_said_about_money() -> None:
    assert describe_savings(10**12, 5, Prices()) == []
    assert describe_savings(0, 0, Prices(1, 1, "EUR")) == []
