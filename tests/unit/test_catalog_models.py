"""What the state of a catalog model means for its deployment."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from recdeploy_ops.domain.records import CatalogModel

NAMES = ("is_usable", "can_be_used", "is_inactive", "is_deleted")


@pytest.mark.parametrize(
    ("state", "is_archived", "means"),
    [
        ("ACTIVE", False, {"is_usable", "can_be_used"}),
        ("ACTIVE", True, set()),
        ("INACTIVE", False, {"is_inactive", "can_be_used"}),
        ("INACTIVE", True, {"is_inactive"}),
        ("FAILED", False, set()),
        ("DELETED", False, {"is_deleted"}),
        ("HIBERNATING", False, set()),
    ],
)
def test_a_state_means(state: str, is_archived: bool, means: set[str]) -> None:
    model = CatalogModel("ocid", "name", state, {}, {}, datetime(2026, 11, 1, tzinfo=UTC), is_archived)

    assert {name for name in NAMES if getattr(model, name)} == means
