"""A housekeeping plan for people: what it deletes, why things stay, and the money that it saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recdeploy_ops.domain.events import HousekeepingStarted
    from recdeploy_ops.domain.retention import HousekeepingPlan, RetentionPolicy

GB = 10**9  # bytes


@dataclass(frozen=True)
class Prices:
    """What OCI bills; None for a price that is not configured.

    Attributes:
        storage_gb_month: of a GB in storage, a month.
        test_hour: of an instance of a test deployment, an hour.
        currency: of both.
    """

    storage_gb_month: float | None = None
    test_hour: float | None = None
    currency: str = ""


def describe_savings(size: int, instances: int, prices: Prices) -> list[str]:
    """Return what is saved, in sentences; nothing for what has no price.

    A backup may share its bytes with what was backed up: then deleting one of the two frees nothing.

    Args:
        size: of what is deleted in storage, in bytes.
        instances: of test deployments that are deleted.
        prices: as configured.
    """
    lines = []
    if size and prices.storage_gb_month is not None:
        monthly = size / GB * prices.storage_gb_month
        lines.append(f"{size / GB:,.3f} GB less in storage saves {monthly:,.2f} {prices.currency} a month.")
    if instances and prices.test_hour is not None:
        hourly = instances * prices.test_hour
        lines.append(f"Test deployments with {instances} instances less save {hourly:,.2f} {prices.currency} an hour.")
    return lines


def describe_plan(plan: HousekeepingPlan, policy: RetentionPolicy, prices: Prices) -> str:
    """Return the plan as text: what is decided, and each call in order."""
    lines = [
        f"Kept: the {policy.versions} newest versions that served, others for {policy.days:g} days, customers' data "
        f"for {policy.customer_days:g} days."
    ]
    lines += [f"Nothing of v{number} is deleted: {why}." for number, why in sorted(plan.protected.items())]
    lines += plan.notes
    lines += [
        f"v{target.version}, to which a rollback may go, is {'activated' if target.can_be_activated else 'registered'} "
        f"again: OCI would not deploy its model {target.model_id}."
        for target in plan.broken
    ]
    if plan.versions:
        named = ", ".join(f"v{number}" for number in plan.versions)
        lines.append(f"Production cannot go back to these versions any more: {named}.")
    lines += [
        f"Deletes {folder.prefix} ({len(folder.keys)} objects, {folder.size:,} bytes)." for folder in plan.folders
    ]
    calls = plan.calls
    lines.append(f"{len(calls)} calls, in this order:" if calls else "Nothing to do.")
    lines += [f"  {number}. {call.operation} {call.target}" for number, call in enumerate(calls, start=1)]
    return "\n".join([*lines, *describe_savings(plan.size, plan.instances, prices)])


def summarise_done(events: Iterable[HousekeepingStarted], prices: Prices) -> dict[str, Any]:
    """Return what a run of housekeeping has deleted, as plain values.

    Args:
        events: of the run.
        prices: as configured.
    """
    started = list(events)
    size = sum(event.size for event in started)
    return {
        "deployments": [deployment for event in started for deployment in event.deployments],
        "models": [model for event in started for model in event.models],
        "folders": [folder for event in started for folder in event.folders],
        "versions": [version for event in started for version in event.versions],
        "bytes": size,
        "savings": describe_savings(size, sum(event.instances for event in started), prices),
    }
