"""What a person does about an error, as data: Airflow, notebook and terminal each render it in their own words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Audience(StrEnum):
    """Where the person reads the error."""

    AIRFLOW = "airflow"
    NOTEBOOK = "notebook"
    TERMINAL = "terminal"


# How to repeat what failed.
AGAIN = {
    Audience.AIRFLOW: "clear this task",
    Audience.NOTEBOOK: "run this cell again",
    Audience.TERMINAL: "run this command again",
}

# The cell of the guide's notebook that does the work of an Airflow task.
CELLS = {
    "plan_release": 2,
    "backup_production": 2,
    "extract": 5,
    "check_data": 5,
    "run_ads_operator": 6,
    "build_artifact": 8,
    "check_candidate": 9,
    "evaluate_candidate": 9,
    "register_model": 9,
    "deploy_test": 10,
    "validate_test": 11,
    "request_approval": 12,
    "promote": 12,
    "bake": 12,
    "reject": 13,
    "close_release": 13,
    "plan_rollback": 15,
    "rehearse_rollback": 15,
    "roll_back": 15,
}
FIRST_CELL = 2  # for a task without a cell: a notebook's release begins there


@dataclass(frozen=True)
class Remedy:
    """What a person does, in the same words for every audience.

    Attributes:
        action: an instruction without a full stop, e.g. ``Delete that model in the OCI console``.
    """

    action: str

    def describe(self, audience: Audience) -> str:  # noqa: ARG002 - every reader gets this sentence
        """Return the remedy as a sentence."""
        return f"{self.action}."


def _clear(task: str) -> str:
    """Return how to run a task again in Airflow, which clears the setup task too: a closed release opens again."""
    return f"clear the task {task!r} of this run (with its downstream)"


@dataclass(frozen=True)
class TryAgain(Remedy):
    """Repeat what failed, after `action` if there is one."""

    action: str = ""

    def describe(self, audience: Audience) -> str:
        """Return the remedy as a sentence."""
        again = AGAIN[audience]
        return f"{self.action}, then {again}." if self.action else f"{again.capitalize()}."


@dataclass(frozen=True)
class RunTask(Remedy):
    """Run an earlier step again, after `action` if there is one.

    Attributes:
        task: the Airflow task of that step.
        purpose: why, e.g. ``to make it again``.
    """

    action: str = ""
    task: str = "plan_release"
    purpose: str = "to make it again"

    def describe(self, audience: Audience) -> str:
        """Return the remedy as a sentence."""
        again = AGAIN[audience]  # in a terminal one command takes every step
        if audience is Audience.AIRFLOW:
            again = _clear(self.task)
        elif audience is Audience.NOTEBOOK:
            again = f"run Cell {CELLS.get(self.task, FIRST_CELL)} again"
        if self.action:
            return f"{self.action}, then {again} {self.purpose}."
        return f"{again[0].upper()}{again[1:]} {self.purpose}."


@dataclass(frozen=True)
class ChangeSetting(Remedy):
    """Change a setting of ``include/recommender.yaml``.

    Attributes:
        setting: its name, e.g. ``release.self_approval``.
    """

    setting: str = ""

    def describe(self, audience: Audience) -> str:  # noqa: ARG002 - every reader gets this sentence
        """Return the remedy as a sentence."""
        return f"{self.action} (setting {self.setting})."


@dataclass(frozen=True)
class ResumePromotions(Remedy):
    """End what freezes promotions, or wait for its end, and then go on.

    Attributes:
        is_recorded: whether the ledger has a freeze or a hold, which a person ends.
        until: when the last window of the settings has ended, in words; empty if there is none.
        setting: the setting of the windows.
        task: the Airflow task to run again then; None for an answer that is to be given again.
    """

    action: str = ""
    is_recorded: bool = True
    until: str = ""
    setting: str = ""
    task: str | None = None

    def describe(self, audience: Audience) -> str:
        """Return the remedy as a sentence."""
        ways = []
        if self.is_recorded and audience is Audience.AIRFLOW:
            ways.append("trigger recommender_freeze with freeze off and a reason")
        elif self.is_recorded:
            ways.append("run `python -m recdeploy_ops resume --reason TEXT`")
        if self.until:
            ways.append(f"wait until {self.until} (or change the setting {self.setting})")
        again = "answer again"
        if self.task and audience is Audience.AIRFLOW:
            again = _clear(self.task)
        elif audience is not Audience.AIRFLOW:
            again = AGAIN[audience]
        text = " and ".join(ways)
        return f"{text[0].upper()}{text[1:]}, then {again}."


@dataclass(frozen=True)
class ImportProduction(Remedy):
    """Import as production a deployment that this project did not make, or ignore it; `action` comes last.

    Attributes:
        deployment_id: OCID of the deployment to import, if only one qualifies.
    """

    action: str = ""
    deployment_id: str = ""

    def describe(self, audience: Audience) -> str:
        """Return the remedy as a sentence."""
        named = self.deployment_id or "OCID"
        if audience is Audience.NOTEBOOK:
            command = f"call manager.import_existing_deployment({named!r})"
        else:
            command = f"trigger recommender_adopt with deployment_id = {named}, first without and then with apply"
        last = f" {self.action}." if self.action else ""
        return f"To import the one that is production, {command}.{last}"


@dataclass(frozen=True)
class GrantPolicy(Remedy):
    """Correct the connection, or add a policy that allows the request.

    Attributes:
        action: an instruction without a full stop.
    """
