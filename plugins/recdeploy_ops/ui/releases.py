"""One release, and two versions side by side, as JSON for the page: guarded GET routes."""

import logging
from dataclasses import asdict
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Response

from recdeploy_ops.approvals.pages import find_page_key
from recdeploy_ops.domain.entries import Entry
from recdeploy_ops.domain.errors import MissingInputError, RecdeployError
from recdeploy_ops.domain.events import Promoted
from recdeploy_ops.domain.ledger_state import Release
from recdeploy_ops.domain.promotions import Call, list_calls
from recdeploy_ops.domain.release_status import describe_progress
from recdeploy_ops.domain.timelines import summarise_releases
from recdeploy_ops.domain.version_differences import compare_facts
from recdeploy_ops.evaluation.release_report import RUNS
from recdeploy_ops.evaluation.version_facts import read_facts
from recdeploy_ops.rollout.live_deployments import observe_calls
from recdeploy_ops.settings import Settings
from recdeploy_ops.ui.projects import ledger_of, opened_project, opened_tenancy

log = logging.getLogger(__name__)

RETRAIN_SUFFIX = "_retrain"  # of the id of a project's retraining DAG

router = APIRouter()


@router.get("/api/release/{dag_id}/{run_id:path}", dependencies=[Depends(requires_access_dag("GET"))])
def show_release(dag_id: Annotated[str, Path()], run_id: Annotated[str, Path()], response: Response) -> dict[str, Any]:
    """Return what a release did, its gates, and the calls of its promotion, planned or with what happened.

    A release that a notebook or a terminal opened has no DAG: it is shown to readers of the project's retraining DAG.
    """
    response.headers["Cache-Control"] = "no-store"
    with opened_project(dag_id, "the ledger") as (settings, store):
        ledger = ledger_of(settings, store)
        entries = ledger.entries()
        release = ledger.state.releases.get(run_id)
        if release is None or not _is_shown_by(release, dag_id):
            raise HTTPException(404, "The ledger has no release of this run.")
        calls = list_calls(entries, run_id, answers=settings.probes.consecutive_answers)
        problem = ""
        if not release.is_open and release.get(Promoted):
            calls, problem = _observe(dag_id, settings, entries, run_id, calls)
        [summary] = [summary for summary in summarise_releases(entries) if summary.run_id == run_id]
        gates = {name: event.verdict for name, kind in RUNS.items() if (event := release.get(kind)) is not None}
        return {
            **asdict(summary),
            "is_open": release.is_open,
            "is_waiting": release.is_open and release.is_waiting_for_approval,
            "progress": describe_progress(release),
            "has_report": find_page_key(release) is not None,
            "gates": [{"name": name, "verdict": str(verdict)} for name, verdict in gates.items()],
            "calls": [asdict(call) for call in calls],
            "problem": problem,
        }


@router.get("/api/comparison/{dag_id}", dependencies=[Depends(requires_access_dag("GET"))])
def compare_versions(
    dag_id: Annotated[str, Path()],
    one: Annotated[int, Query(ge=1)],
    other: Annotated[int, Query(ge=1)],
    response: Response,
) -> dict[str, Any]:
    """Return what differs between two versions."""
    response.headers["Cache-Control"] = "no-store"
    with opened_project(dag_id, "the reports") as (settings, store):
        state = ledger_of(settings, store).read()
        try:
            facts = [read_facts(store, state, number) for number in (one, other)]
        except MissingInputError as err:
            raise HTTPException(404, err.message) from err
        return {"one": one, "other": other, "sections": compare_facts(*facts)}


def _is_shown_by(release: Release, dag_id: str) -> bool:
    return release.opened.dag_id == dag_id or (release.is_outside_airflow and dag_id.endswith(RETRAIN_SUFFIX))


def _observe(
    dag_id: str, settings: Settings, entries: tuple[Entry, ...], run_id: str, calls: tuple[Call, ...]
) -> tuple[tuple[Call, ...], str]:
    """Return the calls with what OCI says of them; unchanged, and why, if it cannot be read."""
    answers = settings.probes.consecutive_answers
    try:
        with opened_tenancy(dag_id, "OCI") as (context, _):
            observed = observe_calls(context, calls)
    except (HTTPException, RecdeployError) as err:
        log.warning("The calls of %s cannot be read in OCI: %s", run_id, err)
        return calls, "At present OCI cannot be read, so that some calls are not known."
    return list_calls(entries, run_id, answers=answers, observed=observed), ""
