"""Errors and their remedies, as a person reads them in Airflow, in a notebook and in a terminal."""

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
    RunTask,
    TryAgain,
)
from recdeploy_ops.extraction import QueryFailedError, SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
REPORT = GateReport((Finding("user_coverage", Verdict.FAIL, 0.9, ">= 0.999", "19 users got no list."),))
# The arguments of the errors that make their own message; every other error takes a message and a remedy.
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


def name(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def test_every_error_is_in_the_tree_that_the_module_draws() -> None:
    drawn = set(re.findall(r"(\w+Error)\b", errors.__doc__ or "")) | {"RecdeployError"}

    assert {kind.__name__ for kind in CLASSES} == drawn
    assert {QueryFailedError, SourceUnavailableError} < set(CLASSES)


def test_every_kind_of_remedy_is_tried() -> None:
    assert {type(remedy) for remedy in REMEDIES} == set(subclasses(Remedy))


@pytest.mark.parametrize("remedy", REMEDIES, ids=name)
@pytest.mark.parametrize("kind", CLASSES, ids=name)
def test_an_error_says_what_happened_and_what_to_do_where_it_is_read(
    kind: type[RecdeployError], remedy: Remedy
) -> None:
    own = {Audience.AIRFLOW: OF_AIRFLOW, Audience.NOTEBOOK: OF_NOTEBOOKS, Audience.TERMINAL: OF_TERMINALS}
    for audience in Audience:
        error = make(kind)
        error.remedy, error.audience = remedy, audience
        said = str(error)

        assert said == f"{error.message} {remedy.describe(audience)}"
        assert error.message.endswith(".")
        assert remedy.action in said
        assert said.endswith(".")
        for foreign in (words for reader, words in own.items() if reader is not audience):
            assert not foreign.search(said), said


@pytest.mark.parametrize("audience", Audience)
@pytest.mark.parametrize("kind", CLASSES, ids=name)
def test_an_error_without_a_remedy_is_only_its_message(kind: type[RecdeployError], audience: Audience) -> None:
    error = make(kind)
    error.remedy, error.audience = None, audience

    assert str(error) == error.message


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
            "To import the one that is production, trigger recommender_adopt with deployment_id = ocid1.x, first "
            "without and then with apply. Move that file away.",
            "To import the one that is production, call manager.import_existing_deployment('ocid1.x'). Move that file "
            "away.",
            "To import the one that is production, trigger recommender_adopt with deployment_id = ocid1.x, first "
            "without and then with apply. Move that file away.",
        ),
        (
            ImportProduction(),
            "To import the one that is production, trigger recommender_adopt with deployment_id = OCID, first without "
            "and then with apply.",
            "To import the one that is production, call manager.import_existing_deployment('OCID').",
            "To import the one that is production, trigger recommender_adopt with deployment_id = OCID, first without "
            "and then with apply.",
        ),
        (GrantPolicy("Add a policy"), *["Add a policy."] * 3),
        (Remedy("Delete it"), *["Delete it."] * 3),
    ],
    ids=name,
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
    ids=name,
)
def test_errors_with_a_remedy_of_their_own_are_read_in_both_places(
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


@pytest.mark.parametrize("travel", [pickled, copy.copy, copy.deepcopy], ids=lambda travel: travel.__name__)
@pytest.mark.parametrize("remedy", [None, RunTask("Wait", task="extract", purpose="again")], ids=name)
@pytest.mark.parametrize("kind", CLASSES, ids=name)
def test_an_error_survives_the_way_to_another_process(
    kind: type[RecdeployError], remedy: Remedy | None, travel: Any
) -> None:
    error = make(kind)
    error.remedy, error.audience = remedy, Audience.NOTEBOOK

    found = travel(error)

    assert type(found) is kind
    assert (found.message, found.remedy, found.audience) == (error.message, remedy, Audience.NOTEBOOK)
    assert vars(found) == vars(error)
    assert str(found) == str(error)


def test_an_error_is_addressed_to_airflow_unless_somebody_says_otherwise() -> None:
    assert SettingsError("x.").audience is Audience.AIRFLOW
    assert pickled(SettingsError("x.")).audience is Audience.AIRFLOW


# Tasks that a person may be told to run again and that have no cell, and why.
WITHOUT_CELL = {
    "adopt_production": "a notebook calls manager.repair_production_state(), and the step needs nothing made before",
}


def task_ids() -> set[str]:
    dags = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dags").glob("*.py"))
    return set(re.findall(r'task_id="(\w+)"', dags))


def named_tasks() -> dict[str, str]:
    """Return every task that the product names as the one to run again, by where it does."""
    tasks = {f"event {event.type}": event.task for event in EVENTS.values()}
    for path in (ROOT / "plugins/recdeploy_ops").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for keyword in node.keywords if isinstance(node, ast.Call) else ():
                if keyword.arg in {"task", "made_by"}:
                    values = [n.value for n in ast.walk(keyword.value) if isinstance(n, ast.Constant)]
                    tasks |= {f"{path.name}:{node.lineno} {value}": value for value in values}
    return tasks


def test_every_task_that_a_remedy_names_is_one_of_a_dag_and_has_a_cell_or_a_reason_not_to() -> None:
    tasks = named_tasks()

    assert {"extract", "roll_back", "backup_production", "plan_release", "plan_rollback"} <= set(tasks.values())
    assert {where: task for where, task in tasks.items() if task not in task_ids()} == {}
    assert {where: task for where, task in tasks.items() if task not in {**CELLS, **WITHOUT_CELL}} == {}
    assert not set(CELLS) & set(WITHOUT_CELL)
    assert set(CELLS) <= task_ids()


def test_the_cell_of_a_task_is_the_one_that_the_notebooks_page_names() -> None:
    page = (ROOT / "docs/notebook.md").read_text(encoding="utf-8")
    cells = {int(row[0]): row[1] for row in re.findall(r"^\| (\d+) \|(.*)$", page, re.MULTILINE)}

    assert {task: cell for task, cell in CELLS.items() if f"`{task}`" not in cells[cell]} == {}
