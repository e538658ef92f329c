"""Gate reports as they are stored: JSON beside the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.storage.documents import read_object

if TYPE_CHECKING:
    from recdeploy_ops.domain.events import GateEvent
    from recdeploy_ops.storage.stores import Store


def read_report(store: Store, event: GateEvent) -> dict[str, Any]:
    """Return a stored gate report: ``verdict``, ``findings`` and ``details``.

    Raises:
        KeyNotFoundError: it was deleted.
        IntegrityError: it is not a report.
    """
    report = read_object(store, event.report)
    findings, details = report.get("findings"), report.get("details", {})
    if not (isinstance(findings, list) and all(map(_is_finding, findings)) and isinstance(details, dict)):
        raise IntegrityError(f"{store.uri}/{event.report} is not the report of a gate.")
    return report


def _is_finding(value: Any) -> bool:
    """Return whether a value has the fields of a finding that its readers need."""
    is_named = isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("gate", "message"))
    return is_named and value.get("verdict") in set(Verdict)
