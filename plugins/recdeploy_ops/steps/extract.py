"""Step 3: interactions, users and items from the source database to Parquet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.extraction import extract_tables
from recdeploy_ops.storage.bundles import SIZES, measure_files, store_bundle, write_manifest
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from recdeploy_ops.domain.waiting import Outcome
    from recdeploy_ops.extraction import Source
    from recdeploy_ops.releases import Releases

log = logging.getLogger(__name__)


def advance(releases: Releases, run_id: str, *, source: Source) -> Outcome:
    """Run the three queries and store what they return.

    Args:
        releases: what the steps work with.
        run_id: the run.
        source: the database.

    Raises:
        SourceDataError: a table or column is missing, a table is empty, or a value cannot be used.
    """
    releases.release(run_id)
    with workspace() as folder:
        facts = extract_tables(source, releases.settings, folder, log.info)
        write_manifest(folder, {**facts, SIZES: measure_files(folder)})
        bundle = store_bundle(releases.store, releases.folder(run_id, "extract"), folder)
    rows = {table: facts[table]["rows"] for table in ("interactions", "users", "items")}
    recorded = {
        "prefix": bundle.prefix,
        "digest": bundle.digest,
        "rows": rows,
        "newest_interaction": facts["newest_interaction"],
    }
    releases.record(Kind.DATA_EXTRACTED, run_id, recorded)
    return {"prefix": bundle.prefix, **rows}
