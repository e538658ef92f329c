"""What the champion was made from: the approved data and recipe that a candidate is compared with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, KeyNotFoundError, MissingInputError
from recdeploy_ops.domain.events import CandidateEvaluated, DataExtracted, ModelTrained
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.storage.bundles import open_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.storage.bundles import Bundle

FIRST_RELEASE = "this is the first release, so there is no champion to compare with"


@dataclass(frozen=True)
class Champion:
    """The champion's data and results, in storage.

    Attributes:
        version: its number.
        extract: the data that it was trained on.
        results: the operator's results, with ``recommendations.csv``.
        inputs: what determines its model: ``top_k``, ``seed``, ``model``; empty if it was imported.
        metrics: as in ``metrics.json``.
        since: the first day of its interactions, as it was configured; None without one.
        floor: its noise floor; None if it is unknown.
    """

    version: int
    extract: Bundle
    results: Bundle
    inputs: Mapping[str, Any]
    metrics: Mapping[str, Any]
    since: object
    floor: float | None


@dataclass(frozen=True)
class Unknown:
    """There is no champion to compare with.

    Attributes:
        why: the reason, as a clause.
    """

    why: str


def find_champion(context: ReleaseContext) -> Champion | Unknown:
    """Return what the champion was made from, or why that is unknown.

    The champion is the one that served when the release was opened; for a release that is reopened after its own
    promotion, the one before.
    """
    release, state = context.release, context.state
    number = release.opened.champion
    if number == release.version and state.previous_champion:
        number = state.previous_champion.version
    if number is None:
        return Unknown(FIRST_RELEASE)
    version = state.versions.get(number)
    maker = state.releases.get(version.run_id) if version else None
    extracted, trained = (maker.get(DataExtracted), maker.get(ModelTrained)) if maker else (None, None)
    if maker is None or extracted is None or trained is None:
        return Unknown(f"the data that the champion v{number} was trained on are unknown: it was imported")
    if trained.is_imported:
        return Unknown(f"the champion v{number} was imported from a notebook without its data")
    try:
        return Champion(
            version=number,
            extract=open_bundle(context.store, extracted.prefix, digest=extracted.digest, made_by=DataExtracted.task),
            results=open_bundle(context.store, trained.prefix, digest=trained.digest, made_by=ModelTrained.task),
            inputs=trained.inputs,
            metrics=trained.metrics,
            since=_read_since(context, maker.opened.settings.key),
            floor=_read_floor(context, maker.get(CandidateEvaluated)),
        )
    except (MissingInputError, IntegrityError) as err:
        return Unknown(f"the data of the champion v{number} cannot be read: {err.message}")


def _read_since(context: ReleaseContext, key: str) -> object:
    try:
        return json.loads(context.store.read(key))["source"]["parameters"].get("since")
    except (KeyNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read_floor(context: ReleaseContext, evaluated: CandidateEvaluated | None) -> float | None:
    if evaluated is None:
        return None
    try:
        twins = read_report(context.store, evaluated)["details"]["twins"]
    except KeyNotFoundError:
        return None
    return float(twins["floor"]) if twins else None
