"""What each of OCI's lifecycle states of a model deployment means; one that is not listed is a failure."""

import oci
import pytest

from recdeploy_ops.domain.deployment_states import DeploymentState, Progress

# Which of the properties hold in which state, and what it means for what waits on it.
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
    "UNKNOWN_ENUM_VALUE": (set(), Progress.FAILED),  # what the SDK makes of a word that it does not know
}
PROPERTIES = {name for name, value in vars(DeploymentState).items() if isinstance(value, property)} - {"progress"}


def test_the_table_has_every_state_that_the_sdk_declares_and_every_property():
    model = oci.data_science.models.ModelDeployment
    declared = {value for name, value in vars(model).items() if name.startswith("LIFECYCLE_STATE_")}

    assert declared == {state for state in MEANINGS if DeploymentState(state).is_listed}
    assert set().union(*(holding for holding, _ in MEANINGS.values())) == PROPERTIES


@pytest.mark.parametrize("state", MEANINGS)
def test_a_state_means_the_same_everywhere(state):
    found = DeploymentState(state)
    holding, progress = MEANINGS[state]

    assert {name for name in PROPERTIES if getattr(found, name)} == holding
    assert found.progress is progress


@pytest.mark.parametrize("state", MEANINGS)
def test_a_state_is_shown_and_compared_as_ocis_word(state):
    assert f"{DeploymentState(state)}" == state
    assert DeploymentState(state) == state
