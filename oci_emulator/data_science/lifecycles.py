"""The lifecycle of a model deployment as data: its transitions by operation and state."""

from collections.abc import Mapping
from dataclasses import dataclass

from oci_emulator.errors import IncorrectStateError
from oci_emulator.store import Resource

NOT_CREATED = ""
# Stable states in which a deployment answers predict requests.
SERVING = frozenset({"ACTIVE", "NEEDS_ATTENTION"})


@dataclass(frozen=True)
class Transition:
    """An operation: the state during it and, for each state that admits it, the state after it."""

    operation_type: str
    timing: str
    during: str
    action: str
    succeeds: Mapping[str, str]
    fails: Mapping[str, str]


TRANSITIONS: Mapping[str, Transition] = {
    "CreateModelDeployment": Transition(
        operation_type="MODEL_DEPLOYMENT_CREATE",
        timing="create",
        during="CREATING",
        action="CREATED",
        succeeds={NOT_CREATED: "ACTIVE"},
        fails={NOT_CREATED: "FAILED"},
    ),
    "UpdateModelDeployment": Transition(
        operation_type="MODEL_DEPLOYMENT_UPDATE",
        timing="update",
        during="UPDATING",
        action="UPDATED",
        succeeds={"ACTIVE": "ACTIVE", "NEEDS_ATTENTION": "ACTIVE", "INACTIVE": "INACTIVE"},
        fails={"ACTIVE": "ACTIVE", "NEEDS_ATTENTION": "NEEDS_ATTENTION", "INACTIVE": "INACTIVE"},
    ),
    "ActivateModelDeployment": Transition(
        operation_type="MODEL_DEPLOYMENT_ACTIVATE",
        timing="activate",
        during="UPDATING",
        action="UPDATED",
        succeeds={"INACTIVE": "ACTIVE"},
        fails={"INACTIVE": "FAILED"},
    ),
    "DeactivateModelDeployment": Transition(
        operation_type="MODEL_DEPLOYMENT_DEACTIVATE",
        timing="deactivate",
        during="UPDATING",
        action="UPDATED",
        succeeds={"ACTIVE": "INACTIVE"},
        fails={"ACTIVE": "ACTIVE"},
    ),
    "DeleteModelDeployment": Transition(
        operation_type="MODEL_DEPLOYMENT_DELETE",
        timing="delete",
        during="DELETING",
        action="DELETED",
        succeeds=dict.fromkeys(("ACTIVE", "INACTIVE", "FAILED", "NEEDS_ATTENTION"), "DELETED"),
        fails=dict.fromkeys(("ACTIVE", "INACTIVE", "FAILED", "NEEDS_ATTENTION"), "NEEDS_ATTENTION"),
    ),
}


def check_admits(operation: str, deployment: Resource) -> None:
    """Raise IncorrectStateError if the deployment's state does not admit the operation."""
    state, admitted = deployment.body["lifecycleState"], TRANSITIONS[operation].succeeds
    if state not in admitted:
        raise IncorrectStateError(
            f"Model deployment {deployment.id} is {state}; {operation} requires {' or '.join(admitted)}."
        )
