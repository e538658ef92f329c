"""The meaning of OCI's lifecycle states of a deployment and of a catalog model; an unlisted state is a failure."""

from datetime import UTC, datetime

import oci
import pytest

from recdeploy_ops.domain.deployment_states import DeploymentState, Progress
from recdeploy_ops.domain.records import CatalogModel

# Per state: the properties that are true, and the progress that a waiting step sees.
MEANINGS = {
    "CREATING": ({"is_creating", "is_busy", "is_listed"}, Progress.RUNNING),
    "UPDATING": ({"is_updating", "is_busy", "is_listed"}, Progress.RUNNING),
    "DELETING": ({"is_gone", "is_listed"}, Progress.RUNNING),
    "ACTIVE": ({"is_active", "can_update", "is_listed"}, Progress.SUCCEEDED),
    "NEEDS_ATTENTION": ({"can_update", "is_listed"}, Progress.FAILED),
    "INACTIVE": ({"is_listed"}, Progress.FAILED),
    "FAILED": ({"is_failed", "is_listed"}, Progress.FAILED),
    "DELETED": ({"is_gone", "is_deleted", "is_listed"}, Progress.FAILED),
    "MELTED": (set(), Progress.FAILED),
    "": (set(), Progress.FAILED),
    "active": (set(), Progress.FAILED),
    "UNKNOWN_ENUM_VALUE": (set(), Progress.FAILED),  # the SDK's value for a state that it does not know
}
PROPERTIES = {name for name, value in vars(DeploymentState).items() if isinstance(value, property)} - {"progress"}


def test_the_table_has_every_state_of_the_sdk_and_every_property():
    model = oci.data_science.models.ModelDeployment
    declared = {value for name, value in vars(model).items() if name.startswith("LIFECYCLE_STATE_")}

    assert declared == {state for state in MEANINGS if DeploymentState(state).is_listed}
    assert set().union(*(properties for properties, _ in MEANINGS.values())) == PROPERTIES


@pytest.mark.parametrize("word", MEANINGS)
def test_a_state_of_a_deployment_has_its_meaning_and_is_ocis_own_word(word):
    state = DeploymentState(word)
    properties, progress = MEANINGS[word]

    assert {name for name in PROPERTIES if getattr(state, name)} == properties
    assert state.progress is progress
    assert state == f"{state}" == word


MODEL_PROPERTIES = ("is_usable", "can_be_used", "is_inactive", "is_deleted")


@pytest.mark.parametrize(
    ("state", "is_archived", "properties"),
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
def test_a_catalog_model_has_the_properties_of_its_state(state, is_archived, properties):
    model = CatalogModel("ocid", "name", state, {}, {}, datetime(2026, 11, 1, tzinfo=UTC), is_archived)

    assert {name for name in MODEL_PROPERTIES if getattr(model, name)} == properties
