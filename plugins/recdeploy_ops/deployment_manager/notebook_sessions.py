"""A notebook session as a release: a run id of its own, the lock from the first cell to the decision.

The ledger says which release belongs to which session, so that a second manager in the same kernel goes on with
it. Airflow cannot be asked from here whether a holder of the lock has ended: it is taken to be alive. A notebook has
nobody who knows whether its kernel lives: its release ends with the lease of a TEST deployment.
"""

from __future__ import annotations

import getpass
import logging
import os
import re
import uuid
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import (
    ApprovalError,
    CellOrderError,
    DeploymentFailedError,
    IntegrityError,
    LockHeldError,
    MissingInputError,
    PromotionFailedError,
)
from recdeploy_ops.domain.ledger import NOTEBOOK, RETRAIN, ROLLBACK, Kind
from recdeploy_ops.rollout import locks, takeovers
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import backup_production, plan_release, plan_rollback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from recdeploy_ops.domain.ledger import Book, Release
    from recdeploy_ops.domain.waiting import Outcome, Summary
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)

SESSION = uuid.uuid4().hex[:12]  # of this kernel: gone when it ends
OCID = re.compile(r"\((?P<ocid>ocid1\.[^()]+)\)$")
TASK_ADVICE = "then clear this task"  # what Airflow's users are told
CELL_OF = {
    "plan_release": 2,
    "backup_production": 2,
    "extract": 5,
    "check_data": 5,
    "run_ads_operator": 6,
    "build_artifact": 8,
    "check_candidate": 9,
    "register_model": 9,
    "deploy_test": 10,
    "validate_test": 11,
    "request_approval": 12,
    "promote": 12,
}


class NotebookSession:
    """What one kernel does to the releases.

    Args:
        releases: what the steps work with.
        caller: who runs the cells, as the ledger shall name them.
        session: tells kernels apart; the same one goes on with its release.
    """

    def __init__(self, releases: Releases, caller: str, session: str = SESSION) -> None:
        self.releases = releases
        self.caller = caller
        self.session = session

    def own(self, purpose: str = RETRAIN) -> Release | None:
        """Return this session's open release, or None."""
        book = self.releases.ledger.book()
        release = book.releases.get(book.holder or "")
        mine = release is not None and self._is_mine(release) and release.purpose == purpose
        return release if mine else None

    def newest(self) -> Release | None:
        """Return this session's newest release, open or closed, or None."""
        found = [r for r in self.releases.ledger.book().releases.values() if self._is_mine(r) and r.purpose == RETRAIN]
        return found[-1] if found else None

    def find_tested(self, deployment_id: str | None) -> Release | None:
        """Return the open release of any notebook whose TEST deployment this is, or None."""
        book = self.releases.ledger.book()
        release = book.releases.get(book.holder or "")
        tested = release.get(Kind.TEST_DEPLOYED) if release and _is_from_notebook(release) else None
        return release if deployment_id and tested and tested["deployment_id"] == deployment_id else None

    def require(self, message: str) -> Release:
        """Return this session's open release.

        Raises:
            CellOrderError: there is none; begins with ``message``.
        """
        release = self.own()
        if release is None:
            raise CellOrderError(f"{message}: {self._why_none()}")
        return release

    def require_undecided(self, message: str) -> Release:
        """Return this session's open release while it may still be changed.

        Raises:
            CellOrderError: there is none, or its promotion has begun: to go back would lose what it has to put right.
        """
        return _undecided(self.require(message))

    def open(self, params: dict[str, Any]) -> Release:
        """Return this session's release, opened and backed up when there is none yet.

        Raises:
            LockHeldError: somebody else's release is under way; says whose and what to do.
        """
        release = self.own()
        if release is not None:
            _undecided(release)
        run_id = release.run_id if release else self._new_run_id()
        if release is None:
            self._plan(plan_release.advance, run_id, params)
        if release is None or release.get(Kind.PRODUCTION_BACKED_UP) is None:
            self.finish(backup_production.advance, run_id)
        return self.releases.release(run_id)

    def open_rollback(self, params: dict[str, Any]) -> str:
        """Open a rollback, or go on with this session's when it is the same one, and return its run id.

        Raises:
            CellOrderError: this session's unfinished rollback goes elsewhere, or has another reason.
        """
        release = self.own(ROLLBACK)
        if release is not None:
            _require_same(release, params)
        run_id = release.run_id if release else self._new_run_id()
        self._plan(plan_rollback.advance, run_id, params)
        return run_id

    def change_params(self, release: Release, **params: Any) -> Release:
        """Open this session's release again with other params; what was made so far stays valid."""
        wanted = {**release.params, **params}
        if wanted == release.params:
            return release
        opened = release.facts[Kind.RELEASE_OPENED]
        locks.take(self.releases, release.run_id, {**opened, "params": wanted, "opening": opened["opening"] + 1})
        return self.releases.release(release.run_id)

    def resume(self) -> Release:
        """Go on with the notebook release of the same user that an ended kernel has left open.

        Raises:
            CellOrderError: there is none.
        """
        release = self._open_one_of_caller("resume")
        self.session = release.params["session"]
        return release

    def abandon(self) -> Release:
        """Close the open notebook release of the same user, whichever kernel it belongs to.

        The takeover first changes production's etag, so that a change which the other kernel has prepared is refused.

        Raises:
            CellOrderError: there is none.
        """
        release = self._open_one_of_caller("abandon")
        new_run_id = self._new_run_id()
        finish(
            self.releases,
            lambda: (
                takeovers.advance_takeover(
                    self.releases, new_run_id, has_ended=lambda _, run_id: run_id == release.run_id
                )
                or {}
            ),
        )
        return release

    def finish(self, advance: Callable[..., Outcome], run_id: str, **arguments: Any) -> Summary:
        """Take a step to its end."""
        with self.explaining():
            return finish(self.releases, partial(advance, self.releases, run_id, **arguments))

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Say of an error that speaks of Airflow's tasks which cell, or which method, helps here."""
        try:
            yield
        except MissingInputError as err:
            what = str(err).partition(": clear the task")[0]
            raise CellOrderError(f"{what}: run Cell {CELL_OF.get(err.clear_task, 2)} again.") from err
        except (LockHeldError, DeploymentFailedError, PromotionFailedError, ApprovalError, IntegrityError) as err:
            text = str(err).replace(TASK_ADVICE, "then run this cell again")
            raise type(err)(text + (self._advice() if isinstance(err, LockHeldError) else "")) from err

    def _plan(self, advance: Callable[..., Outcome], run_id: str, params: Mapping[str, Any]) -> None:
        opening = locks.Opening(
            dag_id=NOTEBOOK,
            params={**params, "session": self.session},
            triggered_by=self.caller,
            has_ended=partial(locks.has_notebook_ended, self.releases),
        )
        self.finish(advance, run_id, opening=opening)

    def _is_mine(self, release: Release) -> bool:
        return release.params.get("session") == self.session

    def _open_one_of_caller(self, verb: str) -> Release:
        book = self.releases.ledger.book()
        release = book.releases.get(book.holder or "")
        if release is None:
            raise CellOrderError(f"There is nothing to {verb}: no release is under way.")
        if not _is_of(book, self.caller):
            opened = release.facts[Kind.RELEASE_OPENED]
            raise CellOrderError(
                f"The release v{release.version} (run {release.run_id}) is not yours to {verb}: it was opened by "
                f"{opened['triggered_by'] or 'a schedule'} in {opened['dag_id']}. End it there."
            )
        return release

    def _why_none(self) -> str:
        book = self.releases.ledger.book()
        last = self.newest()
        if last is not None and not last.is_open:
            return f"the release v{last.version} of this session is closed ({last.outcome}). Begin again with Cell 1."
        if book.holder is not None:
            return f"run Cells 1 to 10 first, in order. The lock is taken: {book.holder} holds it.{self._advice()}"
        return "run Cells 1 to 10 first, in order."

    def _advice(self) -> str:
        book = self.releases.ledger.book()
        if book.holder is None or not _is_of(book, self.caller):
            return ""
        return (
            f" That release is your own ({self.caller}). If its kernel has ended: manager.resume_release() goes on "
            "with it here, manager.abandon_release() closes it."
        )

    def _new_run_id(self) -> str:
        user = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.caller.partition(" ")[0])
        return f"notebook-{self.releases.now():%Y%m%dT%H%M%S}-{user}-{uuid.uuid4().hex[:4]}"


def are_same_person(one: str, other: str | None) -> bool:
    """Return whether two names as `name_caller` gives them are of one person.

    Where OCI knows both, its OCIDs decide: the system's name is whatever LOGNAME says.
    """
    ocids = [match["ocid"] if match else None for match in (OCID.search(name or "") for name in (one, other))]
    return ocids[0] == ocids[1] if all(ocids) else one == other


def name_caller(key: Mapping[str, str]) -> str:
    """Return who runs this: the system's user, with the OCI user or notebook session where they are known.

    In a notebook session of OCI every system user is called datascience.

    Args:
        key: of the OCI profile.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"uid-{os.getuid()}"
    ocid = key.get("user") or os.environ.get("USER_OCID") or os.environ.get("NB_SESSION_OCID")
    return f"{user} ({ocid})" if ocid else user


def _undecided(release: Release) -> Release:
    if release.get(Kind.PROMOTION_STARTED) or release.get(Kind.PROMOTED):
        raise CellOrderError(f"The promotion of v{release.version} is under way and must end first: run Cell 12 again.")
    return release


def _require_same(release: Release, params: Mapping[str, Any]) -> None:
    version, reason = release.params["version"], release.params["reason"]
    if str(params["version"]) in {str(version), str(release.version)} and params["reason"] == reason:
        return
    raise CellOrderError(
        f"The rollback to v{release.version} ({reason!r}) is not finished: call manager.roll_back_production("
        f"{version!r}, {reason!r}) again to finish it, or manager.abandon_release() to give it up. Only then can "
        f"production go to {params['version']!r} ({params['reason']!r})."
    )


def _is_from_notebook(release: Release) -> bool:
    return bool(release.facts[Kind.RELEASE_OPENED]["dag_id"] == NOTEBOOK)


def _is_of(book: Book, caller: str) -> bool:
    release = book.releases[book.holder or ""]
    return _is_from_notebook(release) and release.facts[Kind.RELEASE_OPENED]["triggered_by"] == caller
