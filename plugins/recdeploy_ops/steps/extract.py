"""Step 3: extract interactions, users and items from the source database to Parquet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.events import DataExtracted
from recdeploy_ops.extraction import extract_tables
from recdeploy_ops.storage.bundles import SIZES, measure_files, store_bundle, write_manifest
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.extraction import Source

log = logging.getLogger(__name__)


def advance(context: ReleaseContext, *, source: Source) -> Outcome:
    """Run the three queries and store their rows.

    Args:
        context: of the run.
        source: the database.

    Raises:
        SourceDataError: a table or column is missing, a table is empty, or a value cannot be used.
    """
    context.confirm_lock()
    with workspace() as folder:
        facts = extract_tables(source, context.settings, folder, log.info)
        write_manifest(folder, {**facts, SIZES: measure_files(folder)})
        bundle = store_bundle(context.store, context.prefix("extract"), folder)
    rows = {table: facts[table]["rows"] for table in ("interactions", "users", "items")}
    newest = facts["newest_interaction"]
    context.record(DataExtracted(prefix=bundle.prefix, digest=bundle.digest, rows=rows, newest_interaction=newest))
    return {"prefix": bundle.prefix, **rows}
