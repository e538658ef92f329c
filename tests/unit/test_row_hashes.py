"""Today's extract against the row hashes of one that is not kept: the same numbers as against the extract itself."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from dated_rows import DAMAGE, ITEMS, SOURCE, START, WEEKS, make_rows, write

from recdeploy_ops.evaluation.history import Extracts, measure_history
from recdeploy_ops.evaluation.row_hashes import FILE, RowHashes, measure_hashed_history

if TYPE_CHECKING:
    from pathlib import Path

    from dated_rows import Rows

    from recdeploy_ops.domain.gates.history import HistoryFacts


def measure(folder: Path, today: Rows, approved: Rows, **options: Any) -> tuple[HistoryFacts, HistoryFacts | None]:
    """Return the facts by both extracts, and by the hashes of the approved one, which went through a file."""
    titles = options.pop("titles", None)
    extracts = Extracts(write(folder / "today", today, titles), write(folder / "approved", approved), SOURCE, **options)
    (folder / "hashes").mkdir()
    RowHashes.of(extracts.approved, SOURCE).write(folder / "hashes")
    hashed = measure_hashed_history(
        RowHashes.read(folder / "hashes"),
        extracts.today,
        SOURCE,
        since=extracts.since,
        approved_since=extracts.approved_since,
    )
    return measure_history(extracts, windows=8)[0], hashed


def counts(facts: HistoryFacts | None) -> dict[str, int | None]:
    assert facts is not None
    values = vars(facts).items()
    return {name: getattr(value, "count", value) if not isinstance(value, int) else value for name, value in values}


@pytest.mark.parametrize("damage", [row[1] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_the_hashes_tell_what_the_extract_tells(tmp_path: Path, damage: Any) -> None:
    rows = make_rows()
    full, hashed = (counts(facts) for facts in measure(tmp_path, damage(rows), rows.until(WEEKS - 1)))
    late = hashed.pop("late"), full.pop("late")
    assert hashed == full
    assert late[0] is not None
    assert late[1] is not None
    # A row that was changed is lost in the eyes of both, and besides late in those of the hashes.
    assert late[1] <= late[0] <= late[1] + (full["lost"] or 0)


def test_rows_that_are_late_are_named_and_those_that_are_gone_are_counted(tmp_path: Path) -> None:
    rows = make_rows()
    is_first = np.arange(len(rows.users)) == 5
    added = replace(rows, users=np.where(is_first, "u999", rows.users))
    _, hashed = measure(tmp_path, added, rows.until(WEEKS - 1))
    assert hashed is not None
    assert (hashed.lost.count, hashed.lost.examples) == (1, ())
    assert hashed.late is not None
    assert hashed.late.examples == (f"user 'u999' item {str(rows.items[5])!r}",)


@pytest.mark.parametrize(
    ("titles", "missing", "renamed"),
    [
        (None, 0, 0),
        ({f"{n:04}": f"title {n}" for n in range(2, ITEMS)}, 2, 0),
        ({f"{n:04}": f"title {max(n, 3)}" for n in range(ITEMS)}, 0, 3),
        ({f"new-{n}": "title" for n in range(ITEMS)}, ITEMS, 0),
    ],
)
def test_items_that_vanish_or_change_their_title_are_counted(
    tmp_path: Path, titles: dict[str, str] | None, missing: int, renamed: int
) -> None:
    rows = make_rows()
    _, hashed = measure(tmp_path, rows, rows.until(WEEKS - 1), titles=titles)
    assert hashed is not None
    assert hashed.renamed is not None
    assert (hashed.missing.count, hashed.renamed.count) == (missing, renamed)


def test_a_configured_window_that_moves_is_not_a_loss(tmp_path: Path) -> None:
    rows, first_day = make_rows(), START + dt.timedelta(weeks=4)
    later, approved = rows.take(rows.times >= first_day.timestamp() * 1e6), rows.until(WEEKS - 1)
    full, narrowed = measure(tmp_path / "narrowed", later, approved, since=first_day)
    assert counts(narrowed) == counts(full)
    _, widened = measure(tmp_path / "widened", rows, later.until(WEEKS - 1), approved_since=first_day)
    assert widened is not None
    assert widened.late is not None
    assert (widened.lost.count, widened.late.count) == (0, 0)
    full, beyond = measure(tmp_path / "beyond", later, approved, since=START + dt.timedelta(weeks=WEEKS + 1))
    assert beyond is not None
    assert (beyond.approved, full.approved) == (0, 0)


def test_without_timestamps_rows_are_compared_and_none_is_late(tmp_path: Path) -> None:
    rows = make_rows()
    today = write(tmp_path / "today", rows.take(rows.users > "u005"), has_times=False)
    hashes = RowHashes.of(write(tmp_path / "approved", rows, has_times=False), SOURCE)
    facts = measure_hashed_history(hashes, today, SOURCE, since=START, approved_since=None)
    assert facts is not None
    assert facts.lost.count > 0
    assert facts.late is None


@pytest.mark.parametrize("has_times", [True, False])
def test_timestamps_on_one_side_only_leave_nothing_to_compare(tmp_path: Path, has_times: bool) -> None:
    rows = make_rows()
    today = write(tmp_path / "today", rows, has_times=has_times)
    hashes = RowHashes.of(write(tmp_path / "approved", rows, has_times=not has_times), SOURCE)
    assert measure_hashed_history(hashes, today, SOURCE, since=None, approved_since=None) is None


def test_no_id_can_be_read_from_the_file_which_has_eight_bytes_a_row(tmp_path: Path) -> None:
    rows = make_rows()
    RowHashes.of(write(tmp_path / "approved", rows), SOURCE).write(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert not any(str(user).encode() in content for user in np.unique(rows.users))
    assert len(content) < 8 * len(rows.users) + 8 * 2 * (ITEMS + 7 * WEEKS) + 2_000
