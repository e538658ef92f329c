"""The row hashes of a version in storage: they outlive its extract."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError, KeyNotFoundError, MissingInputError
from recdeploy_ops.domain.events import DataChecked
from recdeploy_ops.evaluation.champions import read_source
from recdeploy_ops.evaluation.history import parse_day
from recdeploy_ops.evaluation.row_hashes import RowHashes, measure_hashed_history
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.storage.bundles import fetch_bundle, open_bundle, store_bundle, write_manifest
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.gates.history import HistoryFacts
    from recdeploy_ops.evaluation.champions import Unknown

log = logging.getLogger(__name__)

ROW_HASHES = "row_hashes"  # among the details of the report of the data gates
KIND = "row-hashes"


def store_row_hashes(context: ReleaseContext, extract: Path) -> dict[str, Any]:
    """Store the hashes of an extract beside it.

    Args:
        context: of the run.
        extract: its folder.

    Returns:
        Where they are, and their digest.
    """
    with workspace() as folder:
        RowHashes.of(extract, context.settings.source).write(folder)
        write_manifest(folder, {})
        bundle = store_bundle(context.store, context.prefix(KIND), folder)
    return {"prefix": bundle.prefix, "digest": bundle.digest}


def measure_stored_rows(context: ReleaseContext, unknown: Unknown, folder: Path) -> HistoryFacts | None:
    """Compare today's extract with a champion's whose extract is gone; None if its hashes are gone as well.

    Args:
        context: of the run.
        unknown: why the champion's extract cannot be compared.
        folder: has ``today``; receives the hashes.
    """
    version = None if unknown.unreadable is None else context.state.versions.get(unknown.unreadable)
    maker = context.state.releases.get(version.run_id) if version else None
    checked = maker.get(DataChecked) if maker else None
    if maker is None or checked is None:
        return None
    try:
        stored = read_report(context.store, checked)["details"][ROW_HASHES]
        bundle = open_bundle(context.store, stored["prefix"], digest=stored["digest"], made_by=DataChecked.task)
        fetch_bundle(context.store, bundle, folder / KIND)
    except (MissingInputError, IntegrityError, KeyNotFoundError, KeyError, TypeError) as err:
        log.warning("The row hashes of the champion v%s cannot be used: %s", unknown.unreadable, err)
        return None
    log.info("%s: its rows are compared by their hashes, so none that is gone can be named.", unknown.why)
    source, parameters = context.settings.source, read_source(context, maker.opened.settings.key).get("parameters")
    return measure_hashed_history(
        RowHashes.read(folder / KIND),
        folder / "today",
        source,
        since=parse_day(source.parameters.get("since")),
        approved_since=parse_day((parameters or {}).get("since")),
    )
