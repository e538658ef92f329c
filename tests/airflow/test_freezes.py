"""The DAG `recommender_freeze` as Airflow runs it, with the ledger in storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from events import chain, complete, frozen, of

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.events import PromotionsResumed
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.operators import upkeep
from recdeploy_ops.settings import load_settings
from recdeploy_ops.storage.keys import entry_key
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("airflow_database", "no_pauses")
TESTER = "dag_test"  # who has triggered a run of `DAG.test`, as Airflow records it
KNOWN = (*complete(1), *of("before", frozen()))


@pytest.fixture
def ledger(surroundings: Any) -> Ledger:
    """A ledger with a version in production, and a person's freeze."""
    surroundings.apply()
    settings = load_settings()
    store = open_store(settings.storage, None)
    for entry in chain(*KNOWN):
        store.create(entry_key(entry.seq), entry.encode())
    return Ledger(store, settings.project_name, utc_now)


def run(load_dag: Callable[..., Any], **params: Any) -> str:
    dag = load_dag("recommender_freeze")
    for task in dag.tasks:
        task.retries = 0
    return str(dag.test(run_conf=params).state)


def test_a_run_freezes_promotions_with_its_reason(ledger: Ledger, load_dag: Callable[..., Any]) -> None:
    assert run(load_dag, freeze=True, reason="a new catalogue") == "success"

    assert [(freeze.reason, freeze.by) for freeze in ledger.read().freezes] == [
        ("Black Friday", "ann"),
        ("a new catalogue", TESTER),
    ]


def test_the_person_who_triggered_a_run_resumes_them(ledger: Ledger, load_dag: Callable[..., Any]) -> None:
    assert run(load_dag, freeze=False, reason="it is over") == "success"

    assert ledger.read().freezes == ()
    assert ledger.entries()[-1].event == PromotionsResumed(reason="it is over", by=TESTER)


def test_a_run_that_nobody_triggered_does_not_resume_them(
    ledger: Ledger, load_dag: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "name_requester", lambda run: None)  # as of a run that another DAG has triggered

    assert run(load_dag, freeze=False, reason="it is over") == "failed"
    assert len(ledger.read().freezes) == 1
