"""The buttons *Page* and *Deployment in the OCI console*: on which tasks, and where they lead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.types import TaskInstanceKey
from airflow.serialization.serialized_objects import DagSerialization
from events import PRODUCTION, TEST, chain, complete, deployed, of, opened, registered

from recdeploy_ops.domain.replay import replay
from recdeploy_ops.operators import releases
from recdeploy_ops.operators.links import ConsoleLink, PageLink

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.domain.ledger_state import LedgerState

KEY = TaskInstanceKey("recommender_retrain", "promote", "run-2")
CONSOLE = "https://cloud.oracle.com/data-science/model-deployments"
SERVING_AND_TESTED = (*complete(1), *of("run-2", opened(2), registered(2), deployed()))
OPERATORS = {
    "deploy_test": releases.DeployTestOperator,
    "promote": releases.PromoteReleaseOperator,
    "roll_back": releases.RollBackOperator,
}


def task_after(
    name: str, state: LedgerState | None, *, region: str | None = "eu-frankfurt-1", endpoint: str | None = None
) -> Any:
    """Return a task whose step has read this state of the ledger; None if it read nothing."""
    task: Any = OPERATORS[name](task_id=name)
    task.release = SimpleNamespace(ledger=SimpleNamespace(last_known=state))
    profile = SimpleNamespace(region=region, service_endpoint=endpoint)
    task.__dict__["hook"] = SimpleNamespace(session=SimpleNamespace(profile=profile))
    return task


@pytest.mark.parametrize("name", ["retrain", "rollback", "adopt", "housekeeping"])
def test_every_task_opens_the_page(name: str, load_dag: Callable[..., Any]) -> None:
    stored = DagSerialization.from_dict(DagSerialization.to_dict(load_dag(f"recommender_{name}")))
    assert all("Page" in task.extra_links for task in stored.tasks)


def test_the_tasks_that_work_on_a_deployment_open_the_console(load_dag: Callable[..., Any]) -> None:
    found = set()
    for name in ("retrain", "rollback"):
        stored = DagSerialization.from_dict(DagSerialization.to_dict(load_dag(f"recommender_{name}")))
        found |= {task.task_id for task in stored.tasks if ConsoleLink.name in task.extra_links}
    assert found == set(OPERATORS)


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("https://airflow.example/team/", "https://airflow.example/team/plugin/recommender"),
        ("", "plugin/recommender"),
    ],
)
def test_the_page_is_below_airflows_address(base: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    assert PageLink().get_link(releases.PlanReleaseOperator(task_id="plan_release"), ti_key=KEY) == address


@pytest.mark.parametrize(("name", "ocid"), [("deploy_test", TEST), ("promote", PRODUCTION), ("roll_back", PRODUCTION)])
def test_the_console_opens_the_deployment_that_the_task_works_on(name: str, ocid: str) -> None:
    task = task_after(name, replay(chain(*SERVING_AND_TESTED)))
    assert ConsoleLink().get_link(task, ti_key=KEY) == f"{CONSOLE}/{ocid}?region=eu-frankfurt-1"


def test_without_a_region_the_console_takes_its_own() -> None:
    task = task_after("promote", replay(chain(*complete(1))), region=None)
    assert ConsoleLink().get_link(task, ti_key=KEY) == f"{CONSOLE}/{PRODUCTION}"


@pytest.mark.parametrize(
    ("name", "events"),
    [
        ("promote", of("run-2", opened(2))),
        ("deploy_test", of("run-2", opened(2))),
        ("deploy_test", of("run-2", opened(2), registered(2), deployed(deployment_id=None, url=None, lease=None))),
        ("deploy_test", complete(1)),
    ],
    ids=["no production", "not deployed", "skipped", "another run"],
)
def test_without_a_deployment_there_is_no_button(name: str, events: Any) -> None:
    assert ConsoleLink().get_link(task_after(name, replay(chain(*events))), ti_key=KEY) == ""


def test_a_task_that_could_not_begin_has_no_button() -> None:
    assert ConsoleLink().get_link(task_after("promote", None), ti_key=KEY) == ""
    assert ConsoleLink().get_link(releases.PromoteReleaseOperator(task_id="promote"), ti_key=KEY) == ""


def test_the_emulator_has_no_console() -> None:
    task = task_after("promote", replay(chain(*complete(1))), endpoint="http://127.0.0.1:9")
    assert ConsoleLink().get_link(task, ti_key=KEY) == ""
