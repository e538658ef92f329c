"""The page with a release's evidence, as a person opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.approvals.fingerprints import PAGE_PART
from recdeploy_ops.domain.errors import MissingInputError
from recdeploy_ops.domain.events import ApprovalRequested
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.evaluation.release_report import RUNS, page_key

if TYPE_CHECKING:
    from recdeploy_ops.domain.ledger_state import Release
    from recdeploy_ops.ledger.ledger import Ledger
    from recdeploy_ops.storage.stores import Store


def find_page(store: Store, ledger: Ledger, dag_id: str, run_id: str) -> bytes:
    """Return the newest page of a run: that of its question or, if a gate said FAIL, that of this gate.

    Args:
        store: with the page.
        ledger: of the project.
        dag_id: the DAG that the run must be of.
        run_id: the run.

    Raises:
        MissingInputError: the ledger does not have the run, or it has no page yet.
        KeyNotFoundError: the page was deleted.
    """
    release = ledger.read().releases.get(run_id)
    if release is None or release.opened.dag_id != dag_id:
        raise MissingInputError(f"{dag_id} has no release of the run {run_id}", task="plan_release")
    key = find_page_key(release)
    if key is None:
        raise MissingInputError(f"The run {run_id} has no report yet", task="request_approval")
    return store.read(key)


def find_page_key(release: Release) -> str | None:
    """Return the storage key of the newest page of a release; None if it has none."""
    for kind in RUNS.values():
        judged = release.get(kind)
        if judged is not None and judged.verdict is Verdict.FAIL:
            return page_key(release.run_id, judged.sha256)
    question = release.get(ApprovalRequested)
    name = question.parts.get(PAGE_PART) if question else None
    return page_key(release.run_id, name) if name else None
