"""A shop from CSV files: real ratings, replayed week by week."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from simulation.shops import SECOND, Shop, Table, first_times, make_interactions

if TYPE_CHECKING:
    from pathlib import Path


def read_shop(folder: Path, *, segment: str | None = None) -> Shop:
    """Read a shop; users and items appear with their first interaction, and those without one never do.

    Args:
        folder: has ``users.csv`` and ``items.csv``, whose first columns are the ids and whose second column of items
            is the title, and ``interactions.csv`` with both ids, ``rating`` and ``timestamp`` in seconds since 1970.
        segment: column of ``users.csv``; None for none.

    Raises:
        FileNotFoundError: a file is missing.
        KeyError: a column is missing.
    """
    tables = {
        name: pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
        for name in ("interactions", "users", "items")
    }
    rows, users, items = tables["interactions"], tables["users"], tables["items"]
    user, item, title = users.columns[0], items.columns[0], items.columns[1]
    times = rows["timestamp"].to_numpy(np.int64) * SECOND
    codes = [pd.Index(table[name]).get_indexer(rows[name]) for table, name in ((users, user), (items, item))]
    ids = [pa.array(table[name], pa.string()) for table, name in ((users, user), (items, item))]
    names = [users[segment] if segment else [""] * len(users), items[title]]
    ratings = rows["rating"].to_numpy(np.float64)
    return Shop(
        make_interactions(codes[0], codes[1], ratings, times, (ids[0], ids[1])),
        *(
            Table(
                pa.table({"id": ids[side], "name": pa.array(names[side], pa.string())}),
                first_times(codes[side], times, len(ids[side])),
            )
            for side in range(2)
        ),
    )
