"""The lifecycle of a model deployment, as data: which operation leads from which state to which."""

from collections.abc import Mapping
from dataclasses import dataclass

from oci_emulator.errors import IncorrectStateError
from oci_emulator.store import Resource

UNBORN = ""
# States in which a deployment answers predict requests, or did before the transition that it is in.
SERVING = frozenset({"ACTIVE", "NEEDS_ATTENTION"})


@dataclass(frozen=True)
class Transition:
    """An operation: the state while it lasts and, for each state that admits it, the one that follows."""

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
        succeeds={UNBORN: "ACTIVE"},
        fails={UNBORN: "FAILED"},
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


def check_admits(operation: str, deployment: Resource) -> Transition:
    """Return the operation's transition; raise IncorrectStateError when the state does not admit it."""
    transition = TRANSITIONS[operation]
    state = deployment.body["lifecycleState"]
    if state not in transition.succeeds:
        raise IncorrectStateError(
            f"Model deployment {deployment.id} is {state}; {operation} needs it {' or '.join(transition.succeeds)}."
        )
    return transition
