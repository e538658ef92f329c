"""The stages of a model version, as data."""

from __future__ import annotations

from enum import StrEnum

from recdeploy_ops.domain.errors import IllegalTransitionError


class Stage(StrEnum):
    """Where one model version stands; see the glossary in ``docs/glossary.md``."""

    CANDIDATE = "candidate"
    VALIDATED = "validated"
    CHAMPION = "champion"
    REJECTED = "rejected"
    RETIRED = "retired"


TRANSITIONS: dict[Stage, frozenset[Stage]] = {
    Stage.CANDIDATE: frozenset({Stage.VALIDATED, Stage.REJECTED}),
    # Clearing a validated release's tasks makes it a candidate again.
    Stage.VALIDATED: frozenset({Stage.CANDIDATE, Stage.CHAMPION, Stage.REJECTED}),
    Stage.CHAMPION: frozenset({Stage.RETIRED}),
    Stage.REJECTED: frozenset({Stage.CANDIDATE}),
    Stage.RETIRED: frozenset({Stage.CHAMPION}),
}


def advance(current: Stage, target: Stage) -> Stage:
    """Return ``target`` if a version may go there from ``current``.

    Raises:
        IllegalTransitionError: the table has no such transition.
    """
    if target not in TRANSITIONS[current]:
        raise IllegalTransitionError(current, target)
    return target
