"""What the champion was made from: the approved data and recipe that a candidate is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, KeyNotFoundError, MissingInputError
from recdeploy_ops.domain.events import CandidateEvaluated, DataExtracted, ModelTrained
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.storage.bundles import fetch_bundle, open_bundle
from recdeploy_ops.storage.documents import read_object
from recdeploy_ops.training.recommendations import RECOMMENDATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.storage.bundles import Bundle

COLUMNS = ("user_column", "item_column", "rating_column", "timestamp_column")
FIRST_RELEASE = "this is the first release, so there is no champion to compare with"


@dataclass(frozen=True)
class Champion:
    """The champion's data and results, in storage.

    Attributes:
        version: its number.
        run_id: the run that made it.
        extract: the data that it was trained on.
        results: the operator's results, with ``recommendations.csv``.
        inputs: what determines its model: ``top_k``, ``seed``, ``model``.
        metrics: as in ``metrics.json``.
        since: the first day of its interactions, as it was configured; None without one.
        floor: its noise floor; None if it is unknown.
    """

    version: int
    run_id: str
    extract: Bundle
    results: Bundle
    inputs: Mapping[str, Any]
    metrics: Mapping[str, Any]
    since: object
    floor: float | None


@dataclass(frozen=True)
class Unknown:
    """Nothing to compare with: the champion is missing or unknown.

    Attributes:
        why: the reason, as a clause.
        unreadable: the champion whose files are gone or damaged; None if it is another reason.
    """

    why: str
    unreadable: int | None = None


def find_champion(context: ReleaseContext) -> Champion | Unknown:
    """Return what the champion was made from, or why that is unknown.

    The champion is the one that served when the release was opened; for a release that is reopened after its own
    promotion, the one before.
    """
    release, state = context.release, context.state
    number = release.opened.champion
    if number == release.version:
        number = state.previous_champion.version if state.previous_champion else None
    return Unknown(FIRST_RELEASE) if number is None else find_version(context, number)


def find_version(context: ReleaseContext, number: int) -> Champion | Unknown:
    """Return the data and results of a version that is or was champion, or why they are unknown."""
    state = context.state
    version = state.versions.get(number)
    maker = state.releases.get(version.run_id) if version else None
    extracted, trained = (maker.get(DataExtracted), maker.get(ModelTrained)) if maker else (None, None)
    if maker is None or extracted is None or trained is None:
        return Unknown(f"the data that the champion v{number} was trained on are unknown: it was imported")
    if trained.is_imported:
        return Unknown(f"the champion v{number} was imported from a notebook without its data")
    source = read_source(context, maker.opened.settings.key)
    renamed = [name for name in COLUMNS if name in source and source[name] != getattr(context.settings.source, name)]
    if renamed:
        return Unknown(f"the champion v{number} was trained on other columns: {', '.join(renamed)} was changed since")
    try:
        return Champion(
            version=number,
            run_id=maker.run_id,
            extract=open_bundle(context.store, extracted.prefix, digest=extracted.digest, made_by=DataExtracted.task),
            results=open_bundle(context.store, trained.prefix, digest=trained.digest, made_by=ModelTrained.task),
            inputs=trained.inputs,
            metrics=trained.metrics,
            since=(source.get("parameters") or {}).get("since"),
            floor=_read_floor(context, maker.get(CandidateEvaluated)),
        )
    except (MissingInputError, IntegrityError) as err:
        return Unknown(f"the data of the champion v{number} cannot be read: {err.message}", unreadable=number)


def fetch_champion(context: ReleaseContext, champion: Champion, bundle: Bundle, folder: Path) -> Unknown | None:
    """Fetch files of the champion into a folder; return why that is impossible, or None."""
    names = [RECOMMENDATIONS] if bundle is champion.results else None
    try:
        fetch_bundle(context.store, bundle, folder, names)
    except (IntegrityError, KeyNotFoundError) as err:
        why = f"the data of the champion v{champion.version} cannot be read: {err}"
        return Unknown(why, unreadable=champion.version)
    return None


def read_source(context: ReleaseContext, key: str) -> Mapping[str, Any]:
    """Return the section ``source`` of a release's settings; empty if they are gone."""
    try:
        source = read_object(context.store, key).get("source")
    except (KeyNotFoundError, IntegrityError):
        return {}
    return source if isinstance(source, dict) else {}


def _read_floor(context: ReleaseContext, evaluated: CandidateEvaluated | None) -> float | None:
    if evaluated is None:
        return None
    try:
        twins = read_report(context.store, evaluated).get("details", {}).get("twins")
    except (KeyNotFoundError, IntegrityError):
        return None
    floor = twins.get("floor") if isinstance(twins, dict) else None
    return float(floor) if isinstance(floor, int | float) else None
