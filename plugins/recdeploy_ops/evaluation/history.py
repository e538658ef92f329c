"""Measurements of today's extract against the champion's, for the history gates and those over the newest rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recdeploy_ops.domain.gates.history import Differences, HistoryFacts
from recdeploy_ops.domain.gates.newest import NewestFacts, WindowFacts
from recdeploy_ops.evaluation.interactions import Interactions, hash_pairs, hash_rows, positions, read_all_interactions
from recdeploy_ops.training.recommendations import ITEMS

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from recdeploy_ops.settings import SourceSettings

EXAMPLES = 3
FEWEST_ROWS = 20  # of a window, and before it
FEWEST_RATINGS = 5  # of an item, for its mean
DAY = 86_400e6  # microseconds


@dataclass(frozen=True)
class Extracts:
    """Today's extract and the champion's.

    Attributes:
        today: folder of today's.
        approved: folder of the champion's.
        source: names the columns of both.
        since: the first day of interactions in today's, as configured; None without one.
        approved_since: likewise in the champion's.
    """

    today: Path
    approved: Path
    source: SourceSettings
    since: datetime | None = None
    approved_since: datetime | None = None


def parse_day(value: object) -> datetime | None:
    """Return a configured day as a time in UTC; None if there is none, or it is not a date."""
    try:
        day = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return day if day.tzinfo else day.replace(tzinfo=UTC)


def measure_history(extracts: Extracts, *, windows: int) -> tuple[HistoryFacts, NewestFacts | None]:
    """Compare two extracts.

    Args:
        extracts: both.
        windows: how many earlier windows the newest interactions are compared with.

    Returns:
        What became of the approved rows and items; and the newest interactions with earlier windows, None without
        timestamps.
    """
    approved = read_all_interactions(extracts.approved, extracts.source)
    today = read_all_interactions(extracts.today, extracts.source)
    newest = None
    if approved.times is not None and today.times is not None and len(approved) and len(today):
        newest = _measure_newest(approved, approved.times, today, today.times, windows)
    return _measure_history(extracts, approved, today), newest


def _measure_history(extracts: Extracts, approved: Interactions, today: Interactions) -> HistoryFacts:
    has_times = approved.times is not None and today.times is not None
    if not has_times:  # the hashes of both must have the same parts
        approved = Interactions(approved.users, approved.items, approved.ratings, None)
        today = Interactions(today.users, today.items, today.ratings, None)
    cut = int(approved.times.max()) if approved.times is not None and len(approved) else None
    approved, today = take_since(approved, extracts.since), take_since(today, extracts.approved_since)
    then, now = hash_rows(approved), hash_rows(today)
    distinct, first, counts = np.unique(then, return_index=True, return_counts=True)
    lost = first[~np.isin(distinct, now)]
    late = None
    if has_times and today.times is not None and cut is not None:
        before = np.flatnonzero(today.times <= cut)
        added = before[~np.isin(now[before], distinct)]
        added = added[~np.isin(hash_pairs(today)[added], hash_pairs(approved))]  # changed ones count as lost
        copies = find_copies(now[before], distinct, counts)
        added = np.sort(np.append(added, before[copies]))
        late = Differences(len(added), name_rows(today, added))
    missing, kept, renamed = _compare_items(extracts)
    return HistoryFacts(
        approved=len(distinct),
        lost=Differences(len(lost), name_rows(approved, np.sort(lost))),
        late=late,
        approved_items=missing[0],
        missing=missing[1],
        kept_items=kept,
        renamed=renamed,
    )


def find_copies(hashes: NDArray[np.uint64], known: NDArray[np.uint64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows that are there more often than approved: all but the first ``counts`` of each known hash.

    Args:
        hashes: of rows.
        known: different hashes in ascending order.
        counts: how often each was approved.
    """
    if not len(known):
        return np.empty(0, np.int64)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    index = np.minimum(np.searchsorted(known, ordered), len(known) - 1)
    occurrence = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    copies: NDArray[np.int64] = order[(known[index] == ordered) & (occurrence >= counts[index])]
    return copies


def take_since(interactions: Interactions, day: datetime | None) -> Interactions:
    """Return the interactions from a day on: what a window that moves leaves behind was not lost."""
    if day is None or interactions.times is None:
        return interactions
    return interactions.take(interactions.times >= int(day.timestamp() * 1e6))


def name_rows(interactions: Interactions, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the user and item of the first of these rows, in words."""
    return tuple(interactions.name(int(row)) for row in rows[:EXAMPLES])


def _compare_items(extracts: Extracts) -> tuple[tuple[int, Differences], int, Differences | None]:
    """Return the number of approved items and those that are gone; those kept, and of them those renamed."""
    item, title = extracts.source.item_column, extracts.source.title_column
    then, now = (pq.read_table(folder / ITEMS) for folder in (extracts.approved, extracts.today))
    approved, today = (pc.unique(table.column(item)) for table in (then, now))
    where = positions(approved, today)
    gone = np.flatnonzero(where < 0)
    missing = Differences(len(gone), tuple(repr(approved[int(row)].as_py()) for row in gone[:EXAMPLES]))
    kept = np.flatnonzero(where >= 0)
    if title is None or title not in then.column_names or title not in now.column_names:
        return (len(approved), missing), len(kept), None
    before, after = (_titles(table, ids, item, title) for table, ids in ((then, approved), (now, today)))
    changed = [int(row) for row in kept if before[row] != after[where[row]]]
    examples = tuple(
        f"{approved[row].as_py()!r} was {before[row]!r}, is {after[where[row]]!r}" for row in changed[:EXAMPLES]
    )
    return (len(approved), missing), len(kept), Differences(len(changed), examples)


def _titles(table: pa.Table, ids: pa.Array, item: str, title: str) -> list[str]:
    """Return the title of each id, of repeated ids the first one."""
    first = positions(ids, table.column(item).combine_chunks())
    titles: list[object] = table.column(title).take(first).to_pylist()
    return ["" if text is None else str(text) for text in titles]


def _measure_newest(
    approved: Interactions,
    approved_times: NDArray[np.int64],
    today: Interactions,
    today_times: NDArray[np.int64],
    windows: int,
) -> NewestFacts:
    cut, end = int(approved_times.max()), int(today_times.max())
    length = max(end - cut, 1)
    finite = np.isfinite(approved.ratings)
    lowest, highest = (float(bound(approved.ratings[finite])) for bound in (np.min, np.max))
    new = today.take(today_times > cut)
    outside = (new.ratings < lowest) | (new.ratings > highest)
    earlier = []
    for back in range(1, windows + 1):
        start = cut - back * length
        window = approved.take((approved_times > start) & (approved_times <= start + length))
        known = approved.take(approved_times <= start)
        if len(window) < FEWEST_ROWS or len(known) < FEWEST_ROWS:
            continue
        earlier.append(describe_window(window, known))
    return NewestFacts(
        newest=describe_window(new, approved) if len(new) else None,
        earlier=tuple(earlier),
        outside_range=float(outside.mean()) if len(new) else 0.0,
        lowest=lowest,
        highest=highest,
        days=length / DAY,
    )


def describe_window(rows: Interactions, known: Interactions) -> WindowFacts:
    """Describe interactions by what was known before them.

    Args:
        rows: at least one.
        known: the earlier ones.
    """
    items = rows.items.within(known.items.ids)
    counts = np.bincount(known.items.codes, minlength=len(known.items.ids))
    sums = np.bincount(known.items.codes, known.ratings, minlength=len(known.items.ids))
    by_user, by_item = (np.bincount(codes.codes, minlength=len(codes.ids)) for codes in (rows.users, rows.items))
    is_known = (items >= 0) & (counts[items] > 0)
    has_mean = is_known & (counts[items] >= FEWEST_RATINGS)
    means, ratings = sums[items[has_mean]] / counts[items[has_mean]], rows.ratings[has_mean]
    varied = len(means) > FEWEST_RATINGS and means.std() > 0 and ratings.std() > 0
    return WindowFacts(
        rows=len(rows),
        user_share=float(by_user.max() / len(rows)),
        user=rows.users.ids[int(by_user.argmax())].as_py(),
        item_share=float(by_item.max() / len(rows)),
        item=rows.items.ids[int(by_item.argmax())].as_py(),
        unknown_items=float(1 - is_known.mean()),
        popularity=float(_percentiles(counts)[items[is_known]].mean()) if is_known.any() else None,
        correlation=float(np.corrcoef(means, ratings)[0, 1]) if varied else None,
        pairs=len(means),
        repeated=_share_repeated(rows, known),
    )


def _share_repeated(rows: Interactions, known: Interactions) -> float:
    """Return the share of rows whose user had the item before, in earlier rows or in these."""
    pairs = hash_pairs(rows)
    _, first = np.unique(pairs, return_index=True)
    is_first = np.zeros(len(pairs), bool)
    is_first[first] = True
    return float(1 - (is_first & ~np.isin(pairs, hash_pairs(known))).mean())


def _percentiles(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each count the share of the positive counts that it exceeds, equal ones counting half."""
    rated = np.sort(counts[counts > 0])
    below = np.searchsorted(rated, counts, side="left")
    up_to = np.searchsorted(rated, counts, side="right")
    return np.asarray((below + up_to) / (2 * len(rated)))
