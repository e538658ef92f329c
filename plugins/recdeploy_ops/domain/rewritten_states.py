"""The state of the ledger after a customer was erased: it names what was stored again, not what the entries named."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.events import (
    CustomerErased,
    GateEvent,
    ModelRegistered,
    ProductionBackedUp,
    StoredEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.events import Event, EventType, Rewritten
    from recdeploy_ops.domain.ledger_state import LedgerState, Release
    from recdeploy_ops.domain.versions import Serving, Version


def rewrite_state(state: LedgerState, event: CustomerErased) -> LedgerState:
    """Return a state in which every reference to a former bundle, report or model names the present one.

    What production serves keeps its digest: its artifact is not stored again while it serves.
    """
    rewritten = {one.key: one for one in event.rewritten}
    models = {one.version: one.new_model_id for one in event.models}
    releases = {run_id: _rewrite_release(release, rewritten) for run_id, release in state.releases.items()}
    versions = {number: _rewrite_version(version, rewritten, models) for number, version in state.versions.items()}
    previous = state.previous_champion
    return replace(
        state,
        releases=MappingProxyType(releases),
        versions=MappingProxyType(versions),
        previous_champion=_rewrite_serving(previous, versions, models) if previous else None,
        backtests=MappingProxyType(
            {number: side for number, side in state.backtests.items() if side.prefix not in event.removed}
        ),
    )


def recorded_backups(entries: Iterable[Entry]) -> Mapping[str, str]:
    """Return the digest of each backup that the ledger has, by its present prefix.

    Args:
        entries: the whole ledger, in order.
    """
    backups: dict[str, str] = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, ProductionBackedUp) and event.prefix and event.digest:
            backups[event.prefix] = event.digest
        elif isinstance(event, CustomerErased):
            for one in event.rewritten:
                if backups.get(one.key) == one.sha256:
                    del backups[one.key]
                    backups[one.new_key] = one.new_sha256
    return backups


def _rewrite_release(release: Release, rewritten: Mapping[str, Rewritten]) -> Release:
    events: dict[EventType, Event] = {kind: _rewrite(event, rewritten) for kind, event in release.events.items()}
    return replace(release, events=MappingProxyType(events))


def _rewrite(event: Event, rewritten: Mapping[str, Rewritten]) -> Event:
    """Return an event that names the present bundles and reports."""
    if isinstance(event, GateEvent):
        one = rewritten.get(event.report)
        return replace(event, report=one.new_key, sha256=one.new_sha256) if one else event
    if isinstance(event, StoredEvent | ProductionBackedUp):
        one = rewritten.get(event.prefix or "")
        return replace(event, prefix=one.new_key, digest=one.new_sha256) if one else event
    if isinstance(event, ModelRegistered):
        return replace(event, **_new_prefixes(event, rewritten))
    return event


def _rewrite_version(version: Version, rewritten: Mapping[str, Rewritten], models: Mapping[int, str]) -> Version:
    model_id = models.get(version.number, version.model_id)
    return replace(version, model_id=model_id, **_new_prefixes(version, rewritten))


def _new_prefixes(record: Version | ModelRegistered, rewritten: Mapping[str, Rewritten]) -> dict[str, Any]:
    """Return the fields of a version, or of its registration, that were stored again."""
    changed: dict[str, Any] = {}
    if results := rewritten.get(record.results):
        changed["results"] = results.new_key
    if artifact := rewritten.get(record.artifact):
        changed |= {"artifact": artifact.new_key, "digest": artifact.new_sha256}
    return changed


def _rewrite_serving(serving: Serving, versions: Mapping[int, Version], models: Mapping[int, str]) -> Serving:
    """Return what production served before, as it would be served again."""
    version = versions.get(serving.version)
    if version is None or serving.version not in models:
        return serving
    return replace(serving, digest=version.digest, model_id=version.model_id)
