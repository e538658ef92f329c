"""The asset of production: when it gets an event, with what, and that a DAG which waits for it is triggered."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse
from events import adopted, chain, complete, of, opened, registered, rolled_back, serving

from recdeploy_ops.domain.errors import PromotionFailedError
from recdeploy_ops.operators import assets
from recdeploy_ops.storage.directories import DirectoryStore
from recdeploy_ops.storage.keys import entry_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recdeploy_ops.domain.entries import Entry

URI = "recommender://product-recommender/production"
pytestmark = pytest.mark.usefixtures("airflow_database", "no_pauses")


BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"
DAGS = f"""
from datetime import datetime, UTC
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset
from recdeploy_ops.operators import releases, upkeep

always = dict(start_date=datetime(2026, 1, 1, tzinfo=UTC), is_paused_upon_creation=False)
for name in ("Promote", "Close"):
    with DAG(f"with_{{name}}", schedule=None, **always):
        getattr(releases, f"{{name}}ReleaseOperator")(task_id="task")
with DAG("with_Housekeeping", schedule=None, **always):
    upkeep.HousekeepingOperator(task_id="task")
with DAG("waits", schedule=[Asset("{URI}")], **always):
    EmptyOperator(task_id="begin")
"""


@pytest.fixture
def world(surroundings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A storage with a ledger that a test fills, DAGs of one task, and steps that only read the ledger."""
    (tmp_path / "dags").mkdir()
    surroundings.dags = tmp_path / "dags" / "assets.py"
    surroundings.dags.write_text(DAGS)
    where = {"classpath": BUNDLE, "kwargs": {"path": str(tmp_path / "dags")}}
    listed = json.dumps([{"name": "assets", **where}])
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", listed)
    surroundings.apply()
    for step in ("promote", "close_release", "housekeeping", "roll_back"):
        module = importlib.import_module(f"recdeploy_ops.steps.{step}")
        monkeypatch.setattr(module, "advance", lambda release, **_: {"seq": release.refresh().seq})
    forget_events()
    return surroundings


def forget_events() -> None:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(AssetEvent))


def events() -> list[tuple[str, dict[str, Any]]]:
    """Return URI and extra of each event, oldest first."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        statement = (
            select(AssetModel.uri, AssetEvent.extra)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .order_by(AssetEvent.id)
        )
        return [(uri, extra) for uri, extra in session.execute(statement)]


def versions() -> list[int]:
    return [extra["version"] for _, extra in events()]


def fill_ledger(world: Any, entries: Sequence[Entry]) -> None:
    store = DirectoryStore(world.storage.as_uri())
    for entry in entries:
        store.create(entry_key(entry.seq), entry.encode())


def run(world: Any, operator: str) -> str:
    """Run the DAG with one task of this operator, and return the task's state."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=world.dags, bundle_path=world.dags.parent, bundle_name="assets")
    assert not bag.import_errors
    [instance] = bag.dags[f"with_{operator}"].test().get_task_instances()
    return str(instance.state)


def test_a_promotion_updates_the_asset_with_version_and_digest(world: Any) -> None:
    fill_ledger(world, chain(*complete(1)))

    assert run(world, "Promote") == "success"

    [(uri, extra)] = events()
    assert uri == URI
    assert (extra["version"], extra["digest"]) == (1, "d1")
    assert set(extra) == {"version", "digest", "deployment_id", "url", "since"}


def test_the_asset_has_one_event_for_each_change_whichever_tasks_run(world: Any) -> None:
    ledger = chain(
        *complete(1),
        *complete(2),
        *of("back", opened(1, dag_id="recommender_rollback"), registered(1), rolled_back(1)),
    )
    known = 0
    for end, operator in ((6, "Promote"), (6, "Promote"), (6, "Close"), (11, "Promote"), (14, "Housekeeping")):
        fill_ledger(world, ledger[known:end])
        known = end
        run(world, operator)
    assert versions() == [1, 2, 1]


def test_what_oci_serves_after_an_adoption_is_said_by_the_next_task(world: Any) -> None:
    fill_ledger(world, chain(("adopt", adopted(production=serving(1)))))
    run(world, "Housekeeping")
    assert versions() == [1]


def test_a_promotion_that_fails_does_not_update_the_asset(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_ledger(world, chain(*complete(1)))

    def fail(release: Any) -> None:
        raise PromotionFailedError("v2 was not promoted: v1 serves")

    monkeypatch.setattr("recdeploy_ops.steps.promote.advance", fail)
    assert run(world, "Promote") == "failed"
    assert events() == []


def test_without_a_production_there_is_nothing_to_say(world: Any) -> None:
    fill_ledger(world, chain(*of("run-1", opened(1))))
    assert run(world, "Close") == "success"
    assert events() == []


def test_a_promotion_succeeds_even_if_airflow_does_not_say_what_was_said_last(
    world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill_ledger(world, chain(*complete(1)))

    def refuse(asset: Any) -> None:
        raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500}))

    monkeypatch.setattr(assets, "_newest_extra", refuse)
    assert run(world, "Promote") == "success"
    assert events() == []


def test_only_tasks_that_may_change_production_have_the_outlet(load_dag: Any) -> None:
    found = {}
    for name in ("retrain", "rollback", "adopt", "housekeeping"):
        dag = load_dag(f"recommender_{name}")
        found[name] = {task.task_id for task in dag.tasks if task.outlets}
    assert found == {
        "retrain": {"promote", "close_release"},
        "rollback": {"roll_back", "close_release"},
        "adopt": {"adopt_production"},
        "housekeeping": {"housekeeping"},
    }
    assert assets.production_asset("product-recommender") == Asset(URI)


def test_a_dag_that_waits_for_the_asset_is_queued(world: Any) -> None:
    from airflow.models.asset import AssetDagRunQueue
    from airflow.utils.session import create_session
    from sqlalchemy import select

    fill_ledger(world, chain(*complete(1)))
    run(world, "Promote")
    with create_session() as session:
        assert session.scalars(select(AssetDagRunQueue.target_dag_id)).all() == ["waits"]
