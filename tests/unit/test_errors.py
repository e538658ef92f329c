"""Errors and their remedies, in the words of Airflow, of a notebook and of a terminal."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recdeploy_ops.domain import errors
from recdeploy_ops.domain.errors import MissingInputError, RecdeployError, SettingsError, SwitchUnderWayError
from recdeploy_ops.domain.events import EVENTS
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict
from recdeploy_ops.domain.remedies import (
    CELLS,
    Audience,
    ChangeSetting,
    GrantPolicy,
    ImportProduction,
    Remedy,
    ResumePromotions,
    RunTask,
    TryAgain,
)
from recdeploy_ops.extraction import QueryFailedError, SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
REPORT = GateReport((Finding("user_coverage", Verdict.FAIL, 0.9, ">= 0.999", "19 users got no list."),))
# The arguments of errors that compose their own message; every other error takes a message and a remedy.
ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "GateFailedError": ((REPORT,), {}),
    "MissingInputError": (("The extract is gone",), {"task": "extract"}),
    "IllegalTransitionError": (("candidate", "champion"), {}),
    "SwitchUnderWayError": (("serving v2",), {"task": "plan_release"}),
    "CloudRefusedError": (("Cannot read m1.",), {"status": 404, "code": "NotAuthorizedOrNotFound"}),
    "KeyNotFoundError": (("ledger/00000001.json",), {}),
    "KeyExistsError": (("ledger/00000001.json",), {}),
}
REMEDIES = (
    Remedy("Delete that model in the OCI console"),
    TryAgain(),
    TryAgain("Delete that model in the OCI console"),
    RunTask(task="extract"),
    RunTask(task="request_approval", purpose="to ask again"),
    RunTask("Delete that model in the OCI console", task="deploy_test"),
    RunTask(task="adopt_production"),
    ChangeSetting("Let another person answer, or allow it", setting="release.self_approval"),
    ImportProduction(),
    ImportProduction("Move that file away", deployment_id="ocid1.datasciencemodeldeployment.oc1.x"),
    ResumePromotions(),
    ResumePromotions(task="promote"),
    ResumePromotions(is_recorded=False, until="2026-12-01 05:00 UTC", setting="release.freeze_windows"),
    GrantPolicy("Add the policy 'manage data-science-models'"),
)
OF_NOTEBOOKS = re.compile(r"\bcells?\b|\bmanager\.", re.IGNORECASE)
OF_TERMINALS = re.compile(r"\bthis command\b")
OF_AIRFLOW = re.compile(r"\btasks?\b|\bclear\w*|\bdownstream\b|\bDAG\b|plan_r|Required Actions", re.IGNORECASE)


def subclasses(kind: type) -> Iterator[type]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


CLASSES = sorted(
    {kind for kind in subclasses(RecdeployError) if kind.__module__.startswith("recdeploy_ops.")},
    key=lambda kind: kind.__name__,
)


def make(kind: type[RecdeployError]) -> RecdeployError:
    arguments, named = ARGUMENTS.get(kind.__name__, (("The model m1 is gone.",), {}))
    return kind(*arguments, **named)


def name_of(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def test_every_error_is_in_the_tree_of_the_modules_docstring() -> None:
    drawn = set(re.findall(r"(\w+Error)\b", errors.__doc__ or "")) | {"RecdeployError"}

    assert {kind.__name__ for kind in CLASSES} == drawn
    assert {QueryFailedError, SourceUnavailableError} < set(CLASSES)


def test_every_class_of_remedy_is_in_the_table() -> None:
    assert {type(remedy) for remedy in REMEDIES} == set(subclasses(Remedy))


@pytest.mark.parametrize("remedy", REMEDIES, ids=name_of)
@pytest.mark.parametrize("kind", CLASSES, ids=name_of)
def test_an_error_says_what_happened_and_the_remedy_in_the_words_of_its_audience(
    kind: type[RecdeployError], remedy: Remedy
) -> None:
    words = {Audience.AIRFLOW: OF_AIRFLOW, Audience.NOTEBOOK: OF_NOTEBOOKS, Audience.TERMINAL: OF_TERMINALS}
    for audience in Audience:
        error = make(kind)
        error.remedy, error.audience = remedy, audience
        said = str(error)

        assert said == f"{error.message} {remedy.describe(audience)}"
        assert error.message.endswith(".")
        assert remedy.action in said
        assert said.endswith(".")
        for other in set(Audience) - {audience}:
            assert not words[other].search(said), said


@pytest.mark.parametrize("audience", Audience)
@pytest.mark.parametrize("kind", CLASSES, ids=name_of)
def test_an_error_without_a_remedy_is_only_its_message(kind: type[RecdeployError], audience: Audience) -> None:
    error = make(kind)
    error.remedy, error.audience = None, audience

    assert str(error) == error.message


TRIGGER_IMPORT = (
    "To import the one that is production, trigger recommender_adopt with deployment_id = {}, "
    "first without and then with apply."
)
CALL_IMPORT = "To import the one that is production, call manager.import_existing_deployment('{}')."


@pytest.mark.parametrize(
    ("remedy", "airflow", "notebook", "terminal"),
    [
        (TryAgain(), "Clear this task.", "Run this cell again.", "Run this command again."),
        (
            TryAgain("Wait"),
            "Wait, then clear this task.",
            "Wait, then run this cell again.",
            "Wait, then run this command again.",
        ),
        (
            RunTask(task="extract"),
            "Clear the task 'extract' of this run (with its downstream) to make it again.",
            "Run Cell 5 again to make it again.",
            "Run this command again to make it again.",
        ),
        (
            RunTask("Wait", task="promote", purpose="to finish it"),
            "Wait, then clear the task 'promote' of this run (with its downstream) to finish it.",
            "Wait, then run Cell 12 again to finish it.",
            "Wait, then run this command again to finish it.",
        ),
        (ChangeSetting("Allow it", setting="storage"), *["Allow it (setting storage)."] * 3),
        (
            ImportProduction("Move that file away", deployment_id="ocid1.x"),
            f"{TRIGGER_IMPORT.format('ocid1.x')} Move that file away.",
            f"{CALL_IMPORT.format('ocid1.x')} Move that file away.",
            f"{TRIGGER_IMPORT.format('ocid1.x')} Move that file away.",
        ),
        (ImportProduction(), *[text.format("OCID") for text in (TRIGGER_IMPORT, CALL_IMPORT, TRIGGER_IMPORT)]),
        (
            ResumePromotions(task="promote"),
            "Trigger recommender_freeze with freeze off and a reason, then clear the task 'promote' of this run "
            "(with its downstream).",
            "Run `python -m recdeploy_ops resume --reason TEXT`, then run this cell again.",
            "Run `python -m recdeploy_ops resume --reason TEXT`, then run this command again.",
        ),
        (
            ResumePromotions(is_recorded=False, until="noon", setting="s"),
            "Wait until noon (or change the setting s), then answer again.",
            "Wait until noon (or change the setting s), then run this cell again.",
            "Wait until noon (or change the setting s), then run this command again.",
        ),
        (
            ResumePromotions(until="noon", setting="s"),
            "Trigger recommender_freeze with freeze off and a reason and wait until noon (or change the setting s), "
            "then answer again.",
            *[
                "Run `python -m recdeploy_ops resume --reason TEXT` and wait until noon (or change the setting s), "
                f"then run this {again} again."
                for again in ("cell", "command")
            ],
        ),
        (GrantPolicy("Add a policy"), *["Add a policy."] * 3),
        (Remedy("Delete it"), *["Delete it."] * 3),
    ],
    ids=name_of,
)
def test_a_remedy_is_an_instruction_in_the_words_of_its_audience(
    remedy: Remedy, airflow: str, notebook: str, terminal: str
) -> None:
    assert remedy.describe(Audience.AIRFLOW) == airflow
    assert remedy.describe(Audience.NOTEBOOK) == notebook
    assert remedy.describe(Audience.TERMINAL) == terminal


@pytest.mark.parametrize(
    ("error", "airflow", "notebook"),
    [
        (
            MissingInputError("The run r has no valid model_trained", task="run_ads_operator"),
            "The run r has no valid model_trained. Clear the task 'run_ads_operator' of this run",
            "The run r has no valid model_trained. Run Cell 6 again",
        ),
        (
            SwitchUnderWayError("serving v2", task="plan_rollback"),
            "Clear the task 'plan_rollback' of this run (with its downstream) to restore the champion first.",
            "Run Cell 15 again to restore the champion first.",
        ),
    ],
    ids=name_of,
)
def test_an_error_with_its_own_remedy_addresses_every_audience(
    error: RecdeployError, airflow: str, notebook: str
) -> None:
    assert airflow in str(error)
    error.audience = Audience.NOTEBOOK
    assert notebook in str(error)
    assert not OF_AIRFLOW.search(str(error))
    error.audience = Audience.TERMINAL
    assert "Run this command again to " in str(error)
    assert not OF_AIRFLOW.search(str(error))
    assert not OF_NOTEBOOKS.search(str(error))


def pickled(error: RecdeployError) -> Any:
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, as Airflow and multiprocessing do


@pytest.mark.parametrize("copy_of", [pickled, copy.copy, copy.deepcopy], ids=lambda copy_of: copy_of.__name__)
@pytest.mark.parametrize("remedy", [None, RunTask("Wait", task="extract", purpose="again")], ids=name_of)
@pytest.mark.parametrize("kind", CLASSES, ids=name_of)
def test_an_error_survives_pickling_and_copying(
    kind: type[RecdeployError], remedy: Remedy | None, copy_of: Any
) -> None:
    error = make(kind)
    error.remedy, error.audience = remedy, Audience.NOTEBOOK

    copied = copy_of(error)

    assert type(copied) is kind
    assert (copied.message, copied.remedy, copied.audience) == (error.message, remedy, Audience.NOTEBOOK)
    assert vars(copied) == vars(error)
    assert str(copied) == str(error)


def test_the_audience_of_an_error_is_airflow_by_default() -> None:
    assert SettingsError("x.").audience is Audience.AIRFLOW
    assert pickled(SettingsError("x.")).audience is Audience.AIRFLOW


# Tasks that a remedy may name without a cell of the notebook, with the reason.
WITHOUT_CELL = {
    "freeze_promotions": "no step needs it, and a remedy names the command for a terminal",
    "adopt_production": "a notebook calls manager.repair_production_state(), and the step needs nothing made before",
}


def task_ids() -> set[str]:
    dags = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dags").glob("*.py"))
    return set(re.findall(r'task_id="(\w+)"', dags))


def named_tasks() -> dict[str, str]:
    """Return every task that the product tells a person to run again, by the line that names it."""
    tasks = {f"event {event.type}": event.task for event in EVENTS.values()}
    for path in (ROOT / "plugins/recdeploy_ops").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for keyword in node.keywords if isinstance(node, ast.Call) else ():
                if keyword.arg in {"task", "made_by"}:
                    values = [n.value for n in ast.walk(keyword.value) if isinstance(n, ast.Constant)]
                    tasks |= {f"{path.name}:{node.lineno} {value}": value for value in values}
    return tasks


def test_every_task_of_a_remedy_is_in_a_dag_and_has_a_cell_or_a_reason_for_none() -> None:
    tasks = named_tasks()

    assert {"extract", "roll_back", "backup_production", "plan_release", "plan_rollback"} <= set(tasks.values())
    assert {where: task for where, task in tasks.items() if task not in task_ids()} == {}
    assert {where: task for where, task in tasks.items() if task not in {**CELLS, **WITHOUT_CELL}} == {}
    assert not set(CELLS) & set(WITHOUT_CELL)
    assert set(CELLS) <= task_ids()


def test_the_cell_of_a_task_is_the_one_in_the_notebook_page() -> None:
    page = (ROOT / "docs/notebook.md").read_text(encoding="utf-8")
    cells = {int(row[0]): row[1] for row in re.findall(r"^\| (\d+) \|(.*)$", page, re.MULTILINE)}

    assert {task: cell for task, cell in CELLS.items() if f"`{task}`" not in cells[cell]} == {}
