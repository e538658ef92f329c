"""What is recorded of a version, as texts: its gates, metrics, data, settings and lists."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, KeyNotFoundError, MissingInputError
from recdeploy_ops.domain.events import CandidateEvaluated, DataExtracted, ModelTrained
from recdeploy_ops.domain.gates.scales import Scale
from recdeploy_ops.domain.version_differences import Facts, flatten
from recdeploy_ops.evaluation.release_report import RUNS
from recdeploy_ops.evaluation.report_numbers import describe_numbers
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.storage.documents import read_object

if TYPE_CHECKING:
    from recdeploy_ops.domain.events import GateEvent
    from recdeploy_ops.domain.ledger_state import LedgerState, Release
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

SECTIONS = ("Gates", "Metrics", "Data", "Settings", "Lists")
MEASURED = ("quality", "own", "champion", "blast_radius")  # what `describe_numbers` reads


def read_facts(store: Store, state: LedgerState, number: int) -> Facts:
    """Return the facts of a version by `SECTIONS`; those whose report was deleted, or never stored, are left out.

    Args:
        store: the storage root.
        state: of the ledger.
        number: of the version.

    Raises:
        MissingInputError: the ledger does not have the version.
    """
    version = state.versions.get(number)
    if version is None:
        raise MissingInputError(f"The ledger has no version {number}", task="plan_release")
    release = state.releases.get(version.run_id)
    if release is None or release.version != number or release.is_rollback:  # imported: nothing of it is known
        return {section: {} for section in SECTIONS}
    extracted, trained = release.get(DataExtracted), release.get(ModelTrained)
    newest = {"newest interaction": extracted.newest_interaction} if extracted else {}
    return {
        "Gates": _read_gates(store, release),
        "Metrics": _texts(trained.metrics) if trained else {},
        "Data": _texts({**extracted.rows, **newest}) if extracted else {},
        "Settings": _read_settings(store, release),
        "Lists": _read_lists(store, release),
    }


def _read_gates(store: Store, release: Release) -> dict[str, str]:
    """Return verdict and value of each gate."""
    events = [event for kind in RUNS.values() if (event := release.get(kind)) is not None]
    findings = [finding for event in events for finding in _report(store, event).get("findings", ())]
    return {finding["gate"]: f"{finding['verdict']}, {_measured(finding)}" for finding in findings}


def _measured(finding: dict[str, Any]) -> str:
    value = finding["value"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not measured" if value is None else str(value)
    return Scale(finding.get("scale", Scale.NUMBER)).show(value)


def _read_settings(store: Store, release: Release) -> dict[str, str]:
    """Return the settings that the run worked with, and its params, which replace some of them."""
    params = {f"param {name}": value for name, value in asdict(release.opened.params).items()}
    try:
        stored = read_object(store, release.opened.settings.key)
    except (KeyNotFoundError, IntegrityError) as err:
        log.warning("The settings of %s cannot be shown: %s", release.run_id, err)
        stored = {}
    return flatten(params) | flatten(stored)


def _read_lists(store: Store, release: Release) -> dict[str, str]:
    """Return the numbers that the report begins with, each against the champion of its own time."""
    event = release.get(CandidateEvaluated)
    details = _report(store, event).get("details") if event else None
    if not details:
        return {}
    numbers = describe_numbers({name: details.get(name) for name in MEASURED})
    return {number["title"]: number["value"] for number in numbers}


def _report(store: Store, event: GateEvent) -> dict[str, Any]:
    try:
        return read_report(store, event)
    except (KeyNotFoundError, IntegrityError) as err:
        log.warning("The report %s cannot be shown: %s", event.report, err)
        return {}


def _texts(values: Any) -> dict[str, str]:
    return {
        name: Scale.NUMBER.show(value) if isinstance(value, float) else str(value) for name, value in values.items()
    }
