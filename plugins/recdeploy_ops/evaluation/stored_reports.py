"""Gate reports as they are stored: JSON beside the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recdeploy_ops.domain.events import GateEvent
    from recdeploy_ops.storage.stores import Store


def read_report(store: Store, event: GateEvent) -> dict[str, Any]:
    """Return a stored gate report: ``verdict``, ``findings`` and ``details``."""
    value: dict[str, Any] = json.loads(store.read(event.report))
    return value
