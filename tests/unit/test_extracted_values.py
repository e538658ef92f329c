"""Values of an extract: ids become text, ratings numbers, timestamps UTC; any other value is rejected."""

from __future__ import annotations

import datetime as dt
import tempfile
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shops
from artifacts import loaded_score, make_artifact
from hypothesis import given, settings
from hypothesis import strategies as st
from shops import extract, listed

from recdeploy_ops.domain.errors import SourceDataError
from recdeploy_ops.extraction import values
from recdeploy_ops.extraction.cursors import table_of
from recdeploy_ops.extraction.times import timestamps

HERE = values.Location("users.sql", "user_id", 1)


def column_of(*cells: Any) -> pa.ChunkedArray:
    return table_of(["column"], [(cell,) for cell in cells]).column(0)


def read_column(folder: Path, table: str, name: str) -> list[Any]:
    cells: list[Any] = pq.read_table(folder / f"{table}.parquet").column(name).to_pylist()
    return cells


# Ids


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, unique=True))
def test_any_text_id_comes_from_sqlite_to_parquet_unchanged(ids: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = shops.make_shop(
            Path(folder, "shop.db"),
            users=[(i, None) for i in ids],
            products=[(i, None, None) for i in ids],
            interactions=[(i, i, 1, None) for i in ids],
            kind="TEXT",
        )
        extract(Path(folder, "out"), shops.source_of(file))
        for name, table in [("user_id", "users"), ("product_id", "items")]:
            for file in (table, "interactions"):
                assert sorted(read_column(Path(folder, "out"), file, name)) == sorted(ids)


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        (["00420", "1e5", "NaN", " x ", "ユーザー7"], ["00420", "1e5", "NaN", " x ", "ユーザー7"]),
        ([7, -1, None], ["7", "-1", None]),
        ([2**70], [str(2**70)]),
        ([7.0, -0.0, 2.0**53 - 1], ["7", "0", str(2**53 - 1)]),
        ([Decimal("7"), Decimal("12345678901234567890")], ["7", "12345678901234567890"]),
        ([Decimal("7.00")], ["7"]),
        ([Decimal("1E+3")], ["1000"]),
        ([b"\x0a\xff", memoryview(b"\x01")], ["0AFF", "01"]),
        ([uuid.UUID(int=7)], [str(uuid.UUID(int=7))]),
        ([1, "01", b"\x01"], ["1", "01", "01"]),
        (["b", b"\x0a"], ["b", "0A"]),
        ([1, 2.0, Decimal(3)], ["1", "2", "3"]),
        ([None, None], [None, None]),
    ],
)
def test_ids_become_text_of_the_same_value(cells: list[Any], texts: list[str | None]) -> None:
    assert values.id_texts(column_of(*cells), HERE).to_pylist() == texts


@pytest.mark.parametrize("cell", [1.5, 2.0**53, float("nan"), Decimal("1.5"), dt.date(2026, 1, 1), True])
def test_an_id_without_a_unique_text_is_rejected_with_its_row_and_a_remedy(cell: Any) -> None:
    with pytest.raises(SourceDataError, match=r"users.sql, column user_id, row 2 .*CAST\(user_id AS VARCHAR"):
        values.id_texts(column_of(None, cell), HERE)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.int16(), pa.uint64(), pa.float32()])
def test_ids_of_every_arrow_type_become_plain_text(kind: pa.DataType) -> None:
    texts = values.id_texts(pa.chunked_array([pa.array([7]).cast(kind), pa.array([8]).cast(kind)]), HERE)
    assert texts.type == pa.string()
    assert texts.to_pylist() == ["7", "8"]


AS_ORACLE_GIVES_THEM = {
    "CLOB": (pa.array(["x" * 1000], pa.large_string()), ["x" * 1000]),
    "NVARCHAR2": (pa.array(["ü"], pa.large_string()), ["ü"]),
    "CHAR(8), padded": (pa.array(["u1      "]), ["u1      "]),
    "NUMBER without precision": (pa.array([123.0]), ["123"]),
    "NUMBER(38)": (pa.array([Decimal(10**37)], pa.decimal128(38, 0)), [str(10**37)]),
    "NUMBER(10, 2)": (pa.array([Decimal("7.00")], pa.decimal128(10, 2)), ["7"]),
    "RAW(16)": (pa.array([uuid.UUID(int=255).bytes], pa.binary()), [f"{255:032X}"]),
    "no rows": (pa.array([], pa.large_string()), []),
}


@pytest.mark.parametrize(("ids", "texts"), AS_ORACLE_GIVES_THEM.values(), ids=AS_ORACLE_GIVES_THEM)
def test_ids_in_the_types_of_oracle_keep_their_value(ids: pa.Array, texts: list[str]) -> None:
    assert values.id_texts(ids, HERE).to_pylist() == texts


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.float64(), pa.decimal128(38, 0), pa.null()])
def test_columns_without_rows_are_converted(kind: pa.DataType) -> None:
    nothing = pa.chunked_array([], kind)
    for convert in (values.id_texts, values.ratings, timestamps):
        assert convert(nothing, HERE).to_pylist() == []  # type: ignore[operator]
    assert values.texts(nothing).to_pylist() == []


def test_rows_without_an_id_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [("u1", "p1", 1, None), (None, "p1", 1, None), ("u1", "", 1, None), (None, None, 1, None)]
    file = shops.make_shop(tmp_path / "shop.db", interactions=rows, users=[("u1", ""), (None, ""), ("", "")])
    facts = extract(tmp_path / "out", shops.source_of(file))
    assert [facts[name]["null_ids"] for name in ("interactions", "users", "items")] == [3, 2, 0]
    assert [facts[name]["rows"] for name in ("interactions", "users", "items")] == [1, 1, 2]
    assert read_column(tmp_path / "out", "interactions", "user_id") == ["u1"]


@pytest.mark.parametrize("user", ["", None])
def test_an_empty_id_is_no_id_to_the_extraction_and_to_score(tmp_path: Path, user: str | None) -> None:
    file = shops.make_shop(tmp_path / "shop.db", users=[("u1", ""), (user, "")])
    facts = extract(tmp_path / "extract", shops.source_of(file))
    assert (facts["users"]["rows"], facts["users"]["null_ids"]) == (1, 1)
    with loaded_score(make_artifact(tmp_path, lists={"u1": [("p1", 1.0)]})) as score:
        assert score.predict({"user_id": user})["error"]["code"] == "InvalidUserId"


@pytest.mark.parametrize("batch_rows", [1, 50_000])
@pytest.mark.parametrize("cell", [1.5, True])
def test_an_id_without_a_unique_text_is_rejected_in_batches_of_any_size(
    tmp_path: Path, cell: Any, batch_rows: int
) -> None:
    rows = [("x",), (cell,)]
    batches = [table_of(["user_id"], rows[i : i + batch_rows]) for i in range(0, 2, batch_rows)]
    with pytest.raises(SourceDataError, match=r"users.sql, column user_id, row 2 .*is not an id"):
        extract(tmp_path, listed(users=batches))


def test_a_column_may_mix_uuids_and_texts(tmp_path: Path) -> None:
    extract(tmp_path, listed(users=[table_of(["user_id"], [(uuid.UUID(int=7),), ("u1",), ("u2",)])]))


# Ratings and timestamps


INTERACTION = ["user_id", "product_id", "rating", "ordered_at"]


def test_bytes_beside_numbers_are_not_a_rating(tmp_path: Path) -> None:
    """SQLite returns such bytes: in hex, b"5" would be a rating of 35."""
    batch = table_of(INTERACTION, [("u1", "p1", 3, None), ("u1", "p2", b"5", None)])
    with pytest.raises(SourceDataError, match=r"interactions.sql, column rating, row 2 .*is bytes"):
        extract(tmp_path, listed(interactions=[batch]))


@pytest.mark.parametrize(
    ("cells", "ratings"),
    [
        ([1, None, 5], [1.0, None, 5.0]),
        ([Decimal("4.5")], [4.5]),
        (["4.5", " 3 ", "1e1", None], [4.5, 3.0, 10.0, None]),
        ([True, False], [1.0, 0.0]),
        ([1, 2.5], [1.0, 2.5]),
        ([None], [None]),
    ],
)
def test_ratings_become_numbers(cells: list[Any], ratings: list[float | None]) -> None:
    assert values.ratings(column_of(*cells), HERE).to_pylist() == ratings


def test_numbers_that_are_not_finite_are_left_to_the_data_gate() -> None:
    ratings = values.ratings(pa.array(["NaN", "inf"]), HERE).to_pylist()
    assert [str(rating) for rating in ratings] == ["nan", "inf"]


@pytest.mark.parametrize("cell", ["4,5", "", "good", "1_0", b"5", dt.date(2026, 1, 1)])
def test_a_rating_that_is_not_a_number_is_rejected_with_its_row(cell: Any, tmp_path: Path) -> None:
    rows = [("u1", f"p{i}", 1, None) for i in range(5)]
    rows[3:3] = [("u1", "p25", cell, None)]
    batch = table_of(INTERACTION, rows)
    if not isinstance(cell, str):
        batch = batch.set_column(2, "rating", pa.array([cell] * len(batch)))
    with pytest.raises(SourceDataError, match=r"interactions.sql, column rating, row \d .*is not a number"):
        extract(tmp_path, listed(interactions=[batch]))
    assert list(tmp_path.iterdir()) == []


NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
MIDNIGHT = NOON.replace(hour=0)
WITHOUT_ZONE, IN_TOKYO = NOON.replace(tzinfo=None), NOON.astimezone(dt.timezone(dt.timedelta(hours=9)))


@pytest.mark.parametrize(
    "cell",
    [
        NOON,
        WITHOUT_ZONE,
        IN_TOKYO,
        "2026-01-31 12:00:00",
        "2026-01-31T12:00:00Z",
        "2026-01-31T14:00:00.000+02:00",
        int(NOON.timestamp()),
        float(NOON.timestamp()),
        Decimal(int(NOON.timestamp())),
        str(int(NOON.timestamp())),
    ],
)
def test_timestamps_of_every_kind_are_read_and_those_without_a_zone_are_utc(cell: Any) -> None:
    assert timestamps(column_of(None, cell), HERE).to_pylist() == [None, NOON]


@pytest.mark.parametrize(
    ("cells", "moments"),
    [
        ([WITHOUT_ZONE, IN_TOKYO], [NOON, NOON]),
        ([IN_TOKYO, WITHOUT_ZONE], [NOON, NOON]),
        ([WITHOUT_ZONE, IN_TOKYO, MIDNIGHT.date()], [NOON, NOON, MIDNIGHT]),
    ],
)
def test_timestamps_with_and_without_a_zone_may_be_mixed(cells: list[Any], moments: list[dt.datetime]) -> None:
    assert timestamps(column_of(*cells), HERE).to_pylist() == moments


def test_a_date_is_its_midnight() -> None:
    assert timestamps(pa.array([MIDNIGHT.date()]), HERE).to_pylist() == [MIDNIGHT]


def test_nanoseconds_are_cut_to_microseconds() -> None:
    moments = timestamps(pa.array([1_000_000_001], pa.timestamp("ns")), HERE)
    assert moments.cast(pa.int64()).to_pylist() == [1_000_000]


@pytest.mark.parametrize("cell", ["yesterday", 1_769_860_800_000, "1769860800000", True, float("inf")])
def test_a_value_that_is_not_a_timestamp_is_rejected_with_its_row_and_a_remedy(cell: Any) -> None:
    with pytest.raises(SourceDataError, match=r"row 1 .*is not a point in time.*milliseconds by 1000"):
        timestamps(column_of(cell), HERE)


@pytest.mark.parametrize(("length", "is_refused"), [(1024, False), (1025, True)])
def test_an_id_has_at_most_a_length_that_score_knows(length: int, *, is_refused: bool) -> None:
    ids = pa.array(["u1", None, "ü" * length])
    if not is_refused:
        assert values.id_texts(ids, HERE).to_pylist() == ids.to_pylist()
        return
    with pytest.raises(SourceDataError, match=r"row \d+ of the sorted result: 'ü+…ü+' has 1,025 characters") as raised:
        values.id_texts(ids, HERE)
    assert len(str(raised.value)) < 400
