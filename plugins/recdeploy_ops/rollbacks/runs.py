"""The steps of a rollback outside Airflow, the same for a notebook and a terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import NEEDS_A_PERSON, RecdeployError
from recdeploy_ops.steps import close_release, rehearse_rollback, roll_back

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome, Summary

log = logging.getLogger(__name__)

Take = Callable[[Callable[..., "Outcome"]], "Summary"]  # advances a step of the run until it is done


def switch_back(
    take: Take, *, rehearse: bool = True, stays_open: Callable[[RecdeployError], bool] | None = None
) -> dict[str, Any]:
    """Rehearse an opened rollback, switch production and verify it; if that fails, close the release.

    Args:
        take: advances a step of the run until it is done.
        rehearse: whether to rehearse first; False once production is being switched.
        stays_open: returns whether the release stays open after an error, for another call to continue; by default it
            never does.

    Returns:
        ``version``, ``url`` and ``digest`` of what production serves; the caller closes the release.

    Raises:
        RecdeployError: the failure; or that production still needs a person after the release was closed.
    """
    try:
        if rehearse:
            take(rehearse_rollback.advance)
        return dict(take(roll_back.advance))
    except RecdeployError as err:
        if stays_open is None or not stays_open(err):
            close_after_failure(take)
        raise


def close_after_failure(take: Take) -> None:
    """Close the release; only report an error if production needs a person: the first failure matters more."""
    try:
        closed = take(close_release.advance)
        log.info("The release is closed: %s.", closed["outcome"])
    except RecdeployError as err:
        if err.message.startswith(NEEDS_A_PERSON):
            raise
        log.warning("The release could not be closed: %s", err)
