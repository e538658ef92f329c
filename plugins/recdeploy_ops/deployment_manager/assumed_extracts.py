"""An extract for lists that were made elsewhere: users and products are those of the lists themselves.

The gates need an extract. With this one they compare the lists with themselves, which detects only damage. Therefore
the data gate says HOLD, and the approver reads why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.events import DataChecked, DataExtracted, ModelTrained
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.evaluation.gate_runs import record_report
from recdeploy_ops.storage.bundles import store_bundle, write_manifest
from recdeploy_ops.training.recommendations import INTERACTIONS, ITEMS, USERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.settings import SourceSettings

MAX_ASSUMED = 20_000_000  # ratings, which are held in memory

NOT_JUDGED = GateReport(
    (
        Finding(
            gate="data",
            verdict=Verdict.HOLD,
            value=None,
            threshold="an extract",
            message=(
                "The model was imported from a notebook without the data that it was trained on: users and products "
                "are taken from its own lists, so the data gate and the coverage of users could not be judged."
            ),
        ),
    )
)


def store_assumed_extract(
    context: ReleaseContext,
    folder: Path,
    rankings: Iterable[tuple[str, Sequence[tuple[str, float]]]],
    items: list[str],
    top_k: int,
) -> str:
    """Store and record an extract that agrees with the lists; return its digest.

    Args:
        context: of the run.
        folder: for its files; created here.
        rankings: each user with products and ratings.
        items: the products.
        top_k: a user with fewer recommendations is assumed to have rated all other products.

    Raises:
        SettingsError: too many ratings would have to be assumed.
    """
    folder.mkdir()
    rows = _write(folder, context.settings.source, rankings, items, top_k)
    write_manifest(folder, {ModelTrained.IMPORTED: True})
    stored = store_bundle(context.store, context.prefix("extract"), folder)
    context.record(DataExtracted(prefix=stored.prefix, digest=stored.digest, rows=rows, newest_interaction=None))
    record_report(context, DataChecked, NOT_JUDGED, {"extract": stored.digest})
    return stored.digest


def _write(
    folder: Path,
    source: SourceSettings,
    rankings: Iterable[tuple[str, Sequence[tuple[str, float]]]],
    items: list[str],
    top_k: int,
) -> dict[str, int]:
    """Write the tables; return the number of rows of each that are known."""
    users: list[str] = []
    rated_by: list[str] = []
    rated: list[str] = []
    for user, ranking in rankings:
        users.append(user)
        if len(ranking) < top_k:
            listed = {item for item, _ in ranking}
            others = [item for item in items if item not in listed]
            rated_by += [user] * len(others)
            rated += others
        if len(rated) > MAX_ASSUMED:
            raise SettingsError(
                f"Too many users have fewer than {top_k} recommendations: without data it is assumed that they have "
                "rated all other products.",
                Remedy("Run Cell 5 (manager.extract_data) first, or pass a top_k that most lists have"),
            )
    text = pa.string()
    interactions = {
        source.user_column: pa.array(rated_by, text),
        source.item_column: pa.array(rated, text),
        source.rating_column: pa.nulls(len(rated), pa.float64()),
    }
    pq.write_table(pa.table(interactions), folder / INTERACTIONS)
    pq.write_table(pa.table({source.user_column: pa.array(users, text)}), folder / USERS)
    pq.write_table(pa.table({source.item_column: pa.array(items, text)}), folder / ITEMS)
    return {"interactions": 0, "users": len(users), "items": len(items)}
