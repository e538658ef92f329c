"""Rollback, step 2: prove that the version can serve, before production is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.steps import rehearsals

if TYPE_CHECKING:
    from recdeploy_ops.releases import Releases
    from recdeploy_ops.steps.outcomes import Outcome


def advance(releases: Releases, run_id: str) -> Outcome:
    """Fetch, verify, load and ask the version that the rollback goes to.

    Raises:
        IntegrityError: its artifact is not the one that was recorded, or does not answer.
        StorageError: there is no whole copy of it anywhere.
    """
    release = releases.release(run_id)
    rehearsals.rehearse(releases, run_id, releases.ledger.book().versions[release.version])
    return dict(releases.facts(releases.release(run_id), Kind.ROLLBACK_REHEARSED))
