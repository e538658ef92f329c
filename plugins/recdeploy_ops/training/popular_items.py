"""The list for new users by popularity, for a shop that does not want ADS's order by predicted rating."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.settings import SourceSettings
    from recdeploy_ops.training.inputs import Inputs


def write_popular_items(interactions: Path, target: Path, inputs: Inputs, source: SourceSettings, top_k: int) -> None:
    """Write the items that most users have, the most popular first; of equally popular ones, in key order.

    The rating is ``low + (high - low) * (1 + s / (1 + s)) / 2`` of the share s of users who have the item, on the scale
    of the shop's ratings, as the recipes that predict no ratings write it.

    Args:
        interactions: the operator's, with ids and ratings.
        target: the CSV file; its columns are named like the item and rating columns of the settings.
        inputs: the catalogue.
        source: the settings' column names.
        top_k: the most rows.
    """
    columns = [source.user_column, source.item_column, source.rating_column]
    rows = pq.read_table(interactions, columns=columns)
    counts = rows.group_by(columns[1]).aggregate([(columns[0], "count_distinct")])
    places = pc.index_in(inputs.items, value_set=counts.column(columns[1])).fill_null(-1).to_numpy()
    taken = np.append(counts.column(f"{columns[0]}_count_distinct").to_numpy(), 0)[places]
    best = np.argsort(-taken, kind="stable")[:top_k]
    shares = taken[best] / max(len(inputs.users), 1)
    low, high = (float(value) for value in pc.min_max(rows.column(columns[2])).as_py().values())
    ratings = low + (high - low) * (1 + shares / (1 + shares)) / 2
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns[1:])
        writer.writerows(zip(inputs.items.take(best).to_pylist(), ratings.tolist(), strict=True))
