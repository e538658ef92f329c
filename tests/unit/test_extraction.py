from __future__ import annotations

import datetime as dt
import hashlib
import sqlite3
import tempfile
import uuid
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shops
from hypothesis import given, settings
from hypothesis import strategies as st

from recdeploy_ops.domain.errors import SettingsError, SourceDataError
from recdeploy_ops.extraction import (
    ArrowSource,
    CursorSource,
    QueryFailedError,
    SourceUnavailableError,
    extract_tables,
    tables,
    values,
)
from recdeploy_ops.extraction.sources import table_of
from recdeploy_ops.extraction.statements import escape_colons, read_query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


FILES = ["interactions.parquet", "items.parquet", "users.parquet"]
HERE = values.Place("users.sql", "user_id", 1)


def extract(folder: Path, source: Any, **source_settings: Any) -> dict[str, Any]:
    return extract_tables(source, shops.settings_with(**source_settings), folder, list[str]().append)


def column(folder: Path, table: str, name: str) -> list[Any]:
    found: list[Any] = pq.read_table(folder / f"{table}.parquet").column(name).to_pylist()
    return found


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


class ListedSource:
    """A source of given tables; a query that mentions none of them fails."""

    def __init__(self, name: str = "the listed source", **given: list[pa.Table]) -> None:
        self.name = name
        self.given = given
        self.asked: list[tuple[str, dict[str, Any], int]] = []
        self.unorderable: set[int] = set()

    @contextmanager
    def batches(self, sql: str, parameters: Mapping[str, Any], batch_rows: int) -> Iterator[Iterator[pa.Table]]:
        yield self.tables(sql, parameters, batch_rows)

    def tables(self, sql: str, parameters: Mapping[str, Any], batch_rows: int) -> Iterator[pa.Table]:
        self.asked.append((sql, dict(parameters), batch_rows))
        table = next(name for name in self.given if f"FROM {name}" in sql)
        if sql.endswith("WHERE 1 = 0"):
            yield self.given[table][0].slice(0, 0)
            return
        positions = {int(p) for p in sql.partition("ORDER BY")[2].split(",")}
        if positions & self.unorderable:
            raise QueryFailedError(f"{self.name} says: no ordering operator for type json")
        yield from self.given[table]


def listed(**changed: list[pa.Table]) -> ListedSource:
    given: dict[str, Any] = {
        "interactions": [table_of(["user_id", "product_id", "rating", "ordered_at"], shops.INTERACTIONS)],
        "users": [table_of(["user_id"], [("u1",), ("u2",)])],
        "products": [table_of(["product_id"], [("p1",), ("p2",)])],
    }
    return ListedSource(**(given | changed))


# What is written


def test_the_committed_queries_read_a_shop_in_key_order(tmp_path: Path) -> None:
    facts = extract(tmp_path / "out", shops.source_of(shops.make_shop(tmp_path / "shop.db")))

    assert facts == {
        "interactions": {
            "rows": 3,
            "columns": ["user_id", "product_id", "rating", "ordered_at"],
            "null_ids": 0,
        },
        "users": {"rows": 2, "columns": ["user_id", "name"], "null_ids": 0},
        "items": {"rows": 2, "columns": ["product_id", "title", "category"], "null_ids": 0},
        "newest_interaction": "2026-01-03T10:00:00+00:00",
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    table = pq.read_table(tmp_path / "out" / "interactions.parquet")
    assert table.to_pylist() == [
        {"user_id": u, "product_id": p, "rating": r, "ordered_at": dt.datetime.fromisoformat(f"{t}+00:00")}
        for u, p, r, t in sorted(shops.INTERACTIONS)
    ]
    assert pq.read_table(tmp_path / "out" / "users.parquet").to_pylist() == [
        {"user_id": "u1", "name": "Al"},
        {"user_id": "u2", "name": "Bo"},
    ]


def test_since_leaves_out_older_interactions(tmp_path: Path) -> None:
    shop = shops.source_of(shops.make_shop(tmp_path / "shop.db"))
    facts = extract(tmp_path / "out", shop, parameters={"since": "2026-01-02"})
    assert facts["interactions"]["rows"] == 2


def test_equal_rows_in_any_order_and_any_batches_give_equal_bytes(tmp_path: Path) -> None:
    twice = [*shops.INTERACTIONS, ("u1", "p1", 2.0, "2026-01-01 10:00:00"), ("u1", "p1", 2.0, None)]
    users = [*shops.USERS, ("u1", "Cy")]
    found = []
    for run, (order, batch_rows) in enumerate([(1, 50_000), (-1, 1), (-1, 2)]):
        file = shops.make_shop(tmp_path / f"{run}.db", interactions=twice[::order], users=users[::order])
        extract(tmp_path / str(run), shops.source_of(file), batch_rows=batch_rows)
        found.append(digests(tmp_path / str(run)))
    assert found[0] == found[1] == found[2]


def test_row_groups_do_not_depend_on_the_batches_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 4)
    ids = pa.table({"user_id": [f"u{i}" for i in range(11)]})
    whole, pieces = [ids], [ids.slice(0, 5), ids.slice(5, 0), ids.slice(5, 1), ids.slice(6)]
    extract(tmp_path / "whole", listed(users=whole))
    extract(tmp_path / "pieces", listed(users=pieces))
    assert digests(tmp_path / "whole") == digests(tmp_path / "pieces")
    metadata = pq.read_metadata(tmp_path / "pieces" / "users.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4, 4, 3]


def test_interactions_keep_only_what_training_needs_and_the_others_keep_all(tmp_path: Path) -> None:
    rows = table_of(["note", "ORDERED_AT", "RATING", "PRODUCT_ID", "USER_ID"], [("x", "2026-01-01", 1, "p1", "u1")])
    facts = extract(tmp_path, listed(interactions=[rows]))
    assert facts["interactions"]["columns"] == ["user_id", "product_id", "rating", "ordered_at"]


def test_keys_are_sorted_first_wherever_the_query_returns_them(tmp_path: Path) -> None:
    rows = table_of(["note", "ORDERED_AT", "RATING", "PRODUCT_ID", "USER_ID"], [("x", "2026-01-01", 1, "p1", "u1")])
    source = listed(interactions=[rows])
    extract(tmp_path, source)
    assert any(sql.endswith("ORDER BY 5, 4, 3, 2") for sql, _, _ in source.asked)


def test_columns_that_the_database_cannot_sort_are_sorted_by_key_alone(tmp_path: Path) -> None:
    source = listed(users=[pa.table({"user_id": ["u1"], "doc": ["{}"]})])
    source.unorderable = {2}
    source.given["products"] = [pa.table({"product_id": ["p1"]})]
    source.given["interactions"] = [pa.table({"user_id": ["u1"], "doc": ["{}"], "product_id": ["p1"], "rating": [1.0]})]
    facts = extract(tmp_path, source, timestamp_column=None)
    assert facts["users"]["columns"] == ["user_id", "doc"]
    assert facts["newest_interaction"] is None


def test_other_columns_become_text_whatever_they_are(tmp_path: Path) -> None:
    moment = dt.datetime(2026, 1, 1, 10, tzinfo=dt.UTC)
    users = pa.table(
        {
            "user_id": ["u1", "u2"],
            "born": [dt.date(2000, 1, 1), None],
            "photo": [b"\x00\xff", None],
            "price": [Decimal("1.50"), None],
            "tags": [["a"], None],
            "seen": [moment, None],
            "vip": [True, None],
            "age": pa.array([7, None], pa.int8()),
            "kind": pa.array(["a", None]).dictionary_encode(),
        }
    )
    extract(tmp_path, listed(users=[users]))
    first, second = pq.read_table(tmp_path / "users.parquet").to_pylist()
    assert first.pop("seen").startswith("2026-01-01 10:00:00")
    assert list(first.values()) == ["u1", "2000-01-01", "00FF", "1.50", "['a']", "true", "7", "a"]
    assert set(list(second.values())[1:]) == {None}
    assert {str(f.type) for f in pq.read_schema(tmp_path / "users.parquet")} == {"string"}


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
        for table, name in [
            ("users", "user_id"),
            ("items", "product_id"),
            ("interactions", "user_id"),
            ("interactions", "product_id"),
        ]:
            assert sorted(column(Path(folder, "out"), table, name)) == sorted(ids)


@pytest.mark.parametrize(
    ("found", "text"),
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
def test_ids_are_text_of_the_same_value(found: list[Any], text: list[str | None]) -> None:
    made = table_of(["user_id"], [(value,) for value in found])
    assert values.id_texts(made.column(0), HERE).to_pylist() == text


@pytest.mark.parametrize(
    "value",
    [1.5, 2.0**53, float("nan"), Decimal("1.5"), dt.date(2026, 1, 1), True],
)
def test_an_id_that_has_no_one_text_is_refused_with_place_and_fix(value: Any) -> None:
    made = table_of(["user_id"], [(None,), (value,)])
    with pytest.raises(SourceDataError, match=r"users.sql, column user_id, row 2 .*CAST\(user_id AS VARCHAR"):
        values.id_texts(made.column(0), HERE)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.int16(), pa.uint64(), pa.float32()])
def test_ids_of_every_arrow_type_become_plain_text(kind: pa.DataType) -> None:
    found = values.id_texts(pa.chunked_array([pa.array([7]).cast(kind), pa.array([8]).cast(kind)]), HERE)
    assert found.type == pa.string()
    assert found.to_pylist() == ["7", "8"]


def test_rows_without_an_id_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [("u1", "p1", 1, None), (None, "p1", 1, None), ("u1", "", 1, None), (None, None, 1, None)]
    file = shops.make_shop(tmp_path / "shop.db", interactions=rows, users=[("u1", ""), (None, ""), ("", "")])
    facts = extract(tmp_path / "out", shops.source_of(file))
    assert [facts[name]["null_ids"] for name in ("interactions", "users", "items")] == [3, 2, 0]
    assert [facts[name]["rows"] for name in ("interactions", "users", "items")] == [1, 1, 2]
    assert column(tmp_path / "out", "interactions", "user_id") == ["u1"]


@pytest.mark.parametrize("batch_rows", [1, 50_000])
@pytest.mark.parametrize("odd", [1.5, True])
def test_an_id_that_has_no_one_text_is_refused_however_its_column_is_cut(
    tmp_path: Path, odd: Any, batch_rows: int
) -> None:
    rows = [("x",), (odd,)]
    cut = [table_of(["user_id"], rows[i : i + batch_rows]) for i in range(0, 2, batch_rows)]
    with pytest.raises(SourceDataError, match=r"users.sql, column user_id, row 2 .*is not an id"):
        extract(tmp_path, listed(users=cut))


def test_a_column_of_uuids_and_texts_is_one_of_ids(tmp_path: Path) -> None:
    made = table_of(["user_id"], [(uuid.UUID(int=7),), ("u1",), ("u2",)])
    extract(tmp_path, listed(users=[made]))


# Ratings and timestamps


def test_bytes_beside_numbers_are_no_rating(tmp_path: Path) -> None:
    """As SQLite returns them: in hex, b"5" would be a rating of 35."""
    names = ["user_id", "product_id", "rating", "ordered_at"]
    made = table_of(names, [("u1", "p1", 3, None), ("u1", "p2", b"5", None)])
    with pytest.raises(SourceDataError, match=r"interactions.sql, column rating, row 2 .*stands there as bytes"):
        extract(tmp_path, listed(interactions=[made]))


@pytest.mark.parametrize(
    ("found", "ratings"),
    [
        ([1, None, 5], [1.0, None, 5.0]),
        ([Decimal("4.5")], [4.5]),
        (["4.5", " 3 ", "1e1", None], [4.5, 3.0, 10.0, None]),
        ([True, False], [1.0, 0.0]),
        ([1, 2.5], [1.0, 2.5]),
        ([None], [None]),
    ],
)
def test_ratings_are_numbers(found: list[Any], ratings: list[float | None]) -> None:
    made = table_of(["rating"], [(value,) for value in found])
    assert values.ratings(made.column(0), HERE).to_pylist() == ratings


def test_numbers_that_are_not_finite_are_left_to_the_data_gate() -> None:
    made = values.ratings(pa.array(["NaN", "inf"]), HERE).to_pylist()
    assert [str(value) for value in made] == ["nan", "inf"]


@pytest.mark.parametrize("value", ["4,5", "", "good", "1_0", b"5", dt.date(2026, 1, 1)])
def test_a_rating_that_is_no_number_names_the_first_such_row(value: Any, tmp_path: Path) -> None:
    rows = [("u1", f"p{i}", 1, None) for i in range(5)]
    rows[3:3] = [("u1", "p25", value, None)]
    made = table_of(["user_id", "product_id", "rating", "ordered_at"], rows)
    if not isinstance(value, str):
        made = made.set_column(2, "rating", pa.array([value] * len(made)))
    with pytest.raises(SourceDataError, match=r"interactions.sql, column rating, row \d .*is not a number"):
        extract(tmp_path, listed(interactions=[made]))
    assert list(tmp_path.iterdir()) == []


NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(dt.timezone(dt.timedelta(hours=9))),
        "2026-01-31 12:00:00",
        "2026-01-31T12:00:00Z",
        "2026-01-31T14:00:00.000+02:00",
        int(NOON.timestamp()),
        float(NOON.timestamp()),
        Decimal(int(NOON.timestamp())),
        str(int(NOON.timestamp())),
    ],
)
def test_timestamps_of_every_kind_are_read_and_those_without_a_zone_are_utc(value: Any) -> None:
    made = table_of(["ordered_at"], [(None,), (value,)])
    assert values.timestamps(made.column(0), HERE).to_pylist() == [None, NOON]


def test_timestamps_with_and_without_a_zone_may_be_mixed() -> None:
    tokyo = NOON.astimezone(dt.timezone(dt.timedelta(hours=9)))
    made = table_of(["ordered_at"], [(NOON.replace(tzinfo=None),), (tokyo,), (dt.date(2026, 1, 31),)])
    midnight = NOON.replace(hour=0)
    for pair in ([NOON.replace(tzinfo=None), tokyo], [tokyo, NOON.replace(tzinfo=None)]):
        twice = table_of(["ordered_at"], [(moment,) for moment in pair])
        assert values.timestamps(twice.column(0), HERE).to_pylist() == [NOON, NOON]
    assert values.timestamps(made.column(0), HERE).to_pylist() == [NOON, NOON, midnight]
    assert values.timestamps(pa.array([dt.date(2026, 1, 31)]), HERE).to_pylist() == [midnight]


def test_nanoseconds_lose_what_microseconds_cannot_hold() -> None:
    found = values.timestamps(pa.array([1_000_000_001], pa.timestamp("ns")), HERE)
    assert found.cast(pa.int64()).to_pylist() == [1_000_000]


@pytest.mark.parametrize("value", ["yesterday", 1_769_860_800_000, "1769860800000", True, float("inf")])
def test_a_timestamp_that_is_none_names_the_row_and_the_fix(value: Any) -> None:
    made = table_of(["ordered_at"], [(value,)])
    with pytest.raises(SourceDataError, match=r"row 1 .*is not a point in time.*milliseconds by 1000"):
        values.timestamps(made.column(0), HERE)


# Errors


def failure(folder: Path, source: Any, **source_settings: Any) -> str:
    with pytest.raises(SourceDataError) as caught:
        extract(folder, source, **source_settings)
    assert not list(folder.rglob("*")), "a file was left behind"
    return str(caught.value)


def test_a_missing_table_is_named_in_the_words_of_the_database(tmp_path: Path) -> None:
    file = shops.make_shop(tmp_path / "shop.db")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DROP TABLE products")
    message = failure(tmp_path / "out", shops.source_of(file))
    assert message.startswith("items.sql: the test shop says: no such table: products")


def test_a_missing_column_lists_what_the_query_returned(tmp_path: Path) -> None:
    folder = shops.write_queries(tmp_path / "sql", interactions="SELECT user_id, product_id FROM interactions")
    shop = shops.source_of(shops.make_shop(tmp_path / "shop.db"))
    message = failure(tmp_path / "out", shop, sql_folder=folder)
    assert "interactions.sql returns no column 'rating'; it returns: user_id, product_id" in message
    assert "AS rating" in message


@pytest.mark.parametrize("names", [["user_id", "USER_ID"], ["user_id", "a", "A"]])
def test_a_column_returned_twice_is_ambiguous(names: list[str], tmp_path: Path) -> None:
    message = failure(tmp_path, listed(users=[table_of(names, [("x",) * len(names)])]))
    assert message.startswith("users.sql returns")
    assert "once" in message


def make_shop_without(table: str, file: Path) -> Path:
    shops.make_shop(file)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(f"DELETE FROM {table}")
    return file


@pytest.mark.parametrize("table", ["interactions", "users", "products"])
def test_an_empty_table_is_an_error(table: str, tmp_path: Path) -> None:
    shop = shops.source_of(make_shop_without(table, tmp_path / "shop.db"))
    message = failure(tmp_path / "out", shop)
    name = "items" if table == "products" else table
    assert message.startswith(f"{name}.sql")
    assert "returned no rows from the test shop" in message


def test_a_filter_that_leaves_nothing_is_quoted(tmp_path: Path) -> None:
    shop = shops.source_of(shops.make_shop(tmp_path / "shop.db"))
    assert "{'since': '2030-01-01'}" in failure(tmp_path / "out", shop, parameters={"since": "2030-01-01"})


def test_a_table_with_nothing_but_null_ids_is_an_error(tmp_path: Path) -> None:
    shop = shops.source_of(shops.make_shop(tmp_path / "shop.db", users=[(None, "x")]))
    assert "only NULL or empty ids in its 1 rows" in failure(tmp_path / "out", shop)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "Cannot read the query file"),
        ("-- nothing\n;", "holds no query"),
        ("SELECT 1; DELETE", "more than"),
    ],
)
def test_a_query_file_must_hold_one_query(text: str | None, problem: str, tmp_path: Path) -> None:
    folder = shops.write_queries(tmp_path / "sql")
    (folder / "users.sql").unlink() if text is None else (folder / "users.sql").write_text(text)
    shop = shops.source_of(shops.make_shop(tmp_path / "shop.db"))
    folder.joinpath("items.sql").write_text("SELECT * FROM products")
    message = failure(tmp_path / "out", shop, sql_folder=folder)
    assert problem in message
    assert "users.sql" in message


def test_a_bind_variable_without_a_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"interactions.sql names the bind variable :since.*`since: null`"):
        extract(tmp_path, listed(), parameters={})


def test_a_parameter_that_no_query_names_is_reported_and_not_bound(tmp_path: Path) -> None:
    source, lines = listed(), list[str]()
    chosen = shops.settings_with(parameters={"since": "2026", "sinse": 1})
    extract_tables(source, chosen, tmp_path, lines.append)
    assert lines[0] == "No query names the parameters sinse of the settings; they have no effect."
    assert [bound for sql, bound, _ in source.asked if "FROM interactions" in sql] == [{"since": "2026"}] * 2
    assert [bound for sql, bound, _ in source.asked if "FROM users" in sql] == [{}] * 2


def test_columns_of_the_settings_must_differ(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must differ"):
        extract(tmp_path, listed(), user_column="Rating")


def test_a_failure_half_way_leaves_nothing_not_even_an_older_extract(tmp_path: Path) -> None:
    extract(tmp_path, listed())
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "left by a killed try").touch()

    def broken() -> Iterator[pa.Table]:
        yield pa.table({"product_id": ["p1"]})
        raise QueryFailedError("the listed source says: snapshot too old")

    source = listed()
    source.given["products"] = _Once(broken)  # type: ignore[assignment]
    with pytest.raises(SourceDataError, match=r"items.sql: the listed source says: snapshot too old"):
        extract(tmp_path, source)
    assert list(tmp_path.iterdir()) == []


class _Once:
    """A list of one table whose iteration fails after it."""

    def __init__(self, broken: Any) -> None:
        self._broken = broken

    def __getitem__(self, index: int) -> pa.Table:
        return next(self._broken())

    def __iter__(self) -> Iterator[pa.Table]:
        return iter(self._broken())


def test_memory_is_bounded_by_batch_and_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 10_000)
    held: list[int] = []
    before = pa.total_allocated_bytes()

    class Endless(ListedSource):
        def tables(self, sql: str, parameters: Mapping[str, Any], batch_rows: int) -> Iterator[pa.Table]:
            for batch in super().tables(sql, parameters, batch_rows):
                yield batch
                if "FROM users" not in sql or len(batch) == 0:
                    continue
                for _ in range(99):
                    held.append(pa.total_allocated_bytes() - before)
                    yield pa.table({"user_id": pa.array(range(len(batch))).cast(pa.string())})

    batch = pa.table({"user_id": pa.array(range(7_000)).cast(pa.string())})
    source = Endless()
    source.given = listed(users=[batch]).given
    facts = extract(tmp_path, source)
    assert facts["users"]["rows"] == 700_000
    written = 700_000 * 8
    assert max(held) < written / 4, "batches pile up"


def test_progress_is_reported_while_rows_come_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 2)
    monkeypatch.setattr(tables, "REPORT_SECONDS", 0.0)
    lines: list[str] = []
    extract_tables(listed(), shops.settings_with(), tmp_path, lines.append)
    assert lines[0].startswith("interactions: 3 rows, ")
    assert lines[0].endswith(" rows/s")
    assert lines[-1].startswith("items: 2 rows, ")


# Queries


def test_bind_variables_are_found_where_they_count(tmp_path: Path) -> None:
    text = """
    /* :not */ SELECT ':not', "a:not", q'[it's :not]', x::text, nq'!:not!' -- :not
    FROM t WHERE a = :One AND b = :two_2 AND c = ':no''t' AND d = '12:30' ; -- :not
    """
    (tmp_path / "q.sql").write_text(text)
    query = read_query(tmp_path / "q.sql")
    assert query.variables == {"One", "two_2"}
    assert query.text.endswith("'12:30'")


def test_a_literal_with_colons_is_no_bind_variable(tmp_path: Path) -> None:
    file = shops.make_shop(tmp_path / "shop.db")
    sql = "SELECT ':x' AS a, '12:30:00' AS b, :v AS c, '50%' AS d, \"user_id\" AS \"e:f\" FROM users -- :y"
    with shops.source_of(file).batches(sql + "\nLIMIT 1", {"v": 7}, 10) as batches:
        (table,) = batches
    assert table.to_pylist() == [{"a": ":x", "b": "12:30:00", "c": 7, "d": "50%", "e:f": "u2"}]
    assert escape_colons("a::text, ':x', :v") == r"a::text, '\:x', :v"


# Sources


class FakeOracle:
    """What `ArrowSource` uses of a python-oracledb connection."""

    def __init__(self, frames: list[pa.Table], fails: Exception | None = None) -> None:
        self.frames, self.fails = frames, fails
        self.closed = False
        self.asked: dict[str, Any] = {}

    def fetch_df_batches(self, statement: str, parameters: Any, **how: Any) -> Iterator[pa.Table]:
        self.asked = {"statement": statement, "parameters": parameters, **how}
        yield from self.frames
        if self.fails:
            raise self.fails

    def close(self) -> None:
        self.closed = True


def test_the_arrow_source_fetches_decimals_in_batches_of_the_given_size() -> None:
    connection = FakeOracle([pa.table({"USER_ID": [Decimal(7)]})])
    with ArrowSource(lambda: connection, "db").batches("SELECT :x FROM t", {"x": 1}, 500) as batches:
        assert [batch.column_names for batch in batches] == [["USER_ID"]]
    assert connection.asked == {
        "statement": "SELECT :x FROM t",
        "parameters": {"x": 1},
        "size": 500,
        "fetch_decimals": True,
    }
    assert connection.closed


def test_an_abandoned_arrow_source_is_closed() -> None:
    connection = FakeOracle([pa.table({"a": [1]})] * 3)
    with ArrowSource(lambda: connection, "db").batches("SELECT 1", {}, 1) as batches:
        next(batches)
        assert not connection.closed
    assert connection.closed
    assert list(batches) == []


def test_what_oracle_refuses_is_quoted_and_the_connection_closed(tmp_path: Path) -> None:
    import oracledb

    connection = FakeOracle([], oracledb.DatabaseError("ORA-00942: table or view does not exist\nHelp: https://x"))
    message = failure(tmp_path, ArrowSource(lambda: connection, "the oracle database"))
    assert message.startswith("interactions.sql: the oracle database says: ORA-00942: table or view does not exist")
    assert connection.closed


def test_no_connection_is_a_clear_error_without_the_password(tmp_path: Path) -> None:
    import oracledb

    def connect() -> Any:
        raise oracledb.OperationalError("ORA-01017: invalid credential or not authorized; logon denied")

    message = failure(tmp_path, ArrowSource(connect, "the oracle database"))
    assert message.startswith("No connection to the oracle database: ORA-01017")
    assert "Check host, user and password" in message


def test_no_connection_by_cursor_is_a_clear_error_without_the_password(tmp_path: Path) -> None:
    import sqlalchemy

    url = "postgresql+psycopg://someone:geheim@127.0.0.1:1/shop"
    source = CursorSource(lambda: sqlalchemy.create_engine(url), "the postgres database")
    with pytest.raises(SourceUnavailableError, match=r"No connection to the postgres database: .*refused") as raised:
        extract(tmp_path, source)
    assert "geheim" not in str(raised.value)


def test_oracle_rows_in_upper_case_are_extracted(tmp_path: Path) -> None:
    moment = dt.datetime(2026, 1, 31, 12)  # noqa: DTZ001 - as Oracle returns a DATE
    frames = {
        "interactions": pa.table(
            {
                "USER_ID": [Decimal(10**20)],
                "PRODUCT_ID": ["00420"],
                "RATING": [Decimal("4.5")],
                "ORDERED_AT": [moment],
            }
        ),
        "users": pa.table({"USER_ID": [Decimal(10**20)], "BIO": pa.array(["x"], pa.large_string())}),
        "products": pa.table({"PRODUCT_ID": ["00420"]}),
    }

    class Oracle(FakeOracle):
        def fetch_df_batches(self, statement: str, *_: Any, **__: Any) -> Iterator[pa.Table]:
            yield next(frame for name, frame in frames.items() if f"FROM {name}" in statement)

    facts = extract(tmp_path, ArrowSource(lambda: Oracle([]), "db"))
    assert pq.read_table(tmp_path / "interactions.parquet").to_pylist() == [
        {
            "user_id": str(10**20),
            "product_id": "00420",
            "rating": 4.5,
            "ordered_at": moment.replace(tzinfo=dt.UTC),
        }
    ]
    assert facts["newest_interaction"] == "2026-01-31T12:00:00+00:00"
