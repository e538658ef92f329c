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
    return require_report(read_object(store, event.report), f"{store.uri}/{event.report}")


def require_report(report: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a report that has what its readers need.

    Args:
        report: as it is stored.
        name: of its file, for the error.

    Raises:
        IntegrityError: it is not a report.
    """
    findings, details = report.get("findings"), report.get("details", {})
    is_judged = report.get("verdict") in set(Verdict) and isinstance(findings, list) and all(map(_is_finding, findings))
    if not (is_judged and isinstance(details, dict)):
        raise IntegrityError(f"{name} is not the report of a gate.")
    return report


def _is_finding(value: Any) -> bool:
    """Return whether a value has the fields of a finding that its readers need."""
    is_named = isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("gate", "message"))
    return is_named and value.get("verdict") in set(Verdict)
