"""The extraction: the files that it writes, the errors that it reports, and the queries that it sends."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import oracledb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shops
import sqlalchemy
from shops import FakeOracle, ListedSource, extract, listed

from recdeploy_ops.domain.errors import SettingsError, SourceDataError
from recdeploy_ops.extraction import (
    ArrowSource,
    CursorSource,
    QueryFailedError,
    SourceUnavailableError,
    extract_tables,
    tables,
)
from recdeploy_ops.extraction.cursors import table_of
from recdeploy_ops.extraction.statements import escape_colons, read_query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


FILES = ["interactions.parquet", "items.parquet", "users.parquet"]


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def failure(folder: Path, source: Any, **source_settings: Any) -> str:
    with pytest.raises(SourceDataError) as caught:
        extract(folder, source, **source_settings)
    assert not list(folder.rglob("*")), "a file was left behind"
    return str(caught.value)


# What is written


def test_the_committed_queries_read_a_shop_in_key_order(tmp_path: Path) -> None:
    facts = extract(tmp_path / "out", shops.source_of(shops.make_shop(tmp_path / "shop.db")))

    assert facts == {
        "interactions": {
            "rows": 3,
            "columns": ["user_id", "product_id", "rating", "ordered_at"],
            "null_ids": 0,
            "merged": 0,
        },
        "users": {"rows": 2, "columns": ["user_id"], "null_ids": 0},
        "items": {"rows": 2, "columns": ["product_id", "title"], "null_ids": 0},
        "newest_interaction": "2026-01-03T10:00:00+00:00",
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    table = pq.read_table(tmp_path / "out" / "interactions.parquet")
    assert table.to_pylist() == [
        {"user_id": u, "product_id": p, "rating": r, "ordered_at": dt.datetime.fromisoformat(f"{t}+00:00")}
        for u, p, r, t in sorted(shops.INTERACTIONS)
    ]
    assert pq.read_table(tmp_path / "out" / "users.parquet").to_pylist() == [
        {"user_id": "u1"},
        {"user_id": "u2"},
    ]


def test_since_leaves_out_older_interactions(tmp_path: Path) -> None:
    shop = shops.source_of(shops.make_shop(tmp_path / "shop.db"))
    facts = extract(tmp_path / "out", shop, parameters={"since": "2026-01-02"})
    assert facts["interactions"]["rows"] == 2


def test_equal_rows_in_any_order_and_any_batches_give_equal_bytes(tmp_path: Path) -> None:
    twice = [*shops.INTERACTIONS, ("u1", "p1", 2.0, "2026-01-01 10:00:00"), ("u1", "p1", 2.0, None)]
    users = [*shops.USERS, ("u1", "Cy")]
    extracts = []
    for run, (order, batch_rows) in enumerate([(1, 50_000), (-1, 1), (-1, 2)]):
        file = shops.make_shop(tmp_path / f"{run}.db", interactions=twice[::order], users=users[::order])
        extract(tmp_path / str(run), shops.source_of(file), batch_rows=batch_rows)
        extracts.append(digests(tmp_path / str(run)))
    assert extracts[0] == extracts[1] == extracts[2]


def test_row_groups_do_not_depend_on_the_batches_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 4)
    ids = pa.table({"user_id": [f"u{i}" for i in range(11)]})
    whole, pieces = [ids], [ids.slice(0, 5), ids.slice(5, 0), ids.slice(5, 1), ids.slice(6)]
    extract(tmp_path / "whole", listed(users=whole))
    extract(tmp_path / "pieces", listed(users=pieces))
    assert digests(tmp_path / "whole") == digests(tmp_path / "pieces")
    metadata = pq.read_metadata(tmp_path / "pieces" / "users.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4, 4, 3]


def test_needed_columns_of_interactions_are_kept_and_sorted_by_key_first_in_any_order(tmp_path: Path) -> None:
    rows = table_of(["note", "ORDERED_AT", "RATING", "PRODUCT_ID", "USER_ID"], [("x", "2026-01-01", 1, "p1", "u1")])
    source = listed(interactions=[rows])
    facts = extract(tmp_path, source)
    assert facts["interactions"]["columns"] == ["user_id", "product_id", "rating", "ordered_at"]
    wanted = 'SELECT q."USER_ID", q."PRODUCT_ID", q."RATING", q."ORDERED_AT" FROM ('
    assert any(sql.startswith(wanted) and sql.endswith("ORDER BY 1, 2, 3, 4") for sql, _ in source.queries)


def test_columns_that_the_database_cannot_sort_are_sorted_by_key_alone(tmp_path: Path) -> None:
    source = listed(users=[pa.table({"user_id": ["u1"], "doc": ["{}"]})])
    source.unorderable = {"doc"}
    facts = extract(tmp_path, source, segment_column="doc")
    assert facts["users"]["columns"] == ["user_id", "doc"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([dt.date(2000, 1, 1), None], "2000-01-01"),
        ([b"\x00\xff", None], "00FF"),
        ([Decimal("1.50"), None], "1.50"),
        ([["a"], None], "['a']"),
        ([True, None], "true"),
        (pa.array([7, None], pa.int8()), "7"),
        (pa.array(["a", None]).dictionary_encode(), "a"),
        (pa.array(["a", None], pa.large_string()), "a"),
    ],
)
def test_a_column_for_people_becomes_text_of_any_type(tmp_path: Path, values: Any, text: str) -> None:
    extract(tmp_path, listed(users=[pa.table({"user_id": ["u1", "u2"], "plan": values})]), segment_column="plan")
    assert pq.read_table(tmp_path / "users.parquet").column("plan").to_pylist() == [text, None]
    assert {str(f.type) for f in pq.read_schema(tmp_path / "users.parquet")} == {"string"}


@pytest.mark.parametrize("spelling", ["title", "TITLE", "Title"])
def test_titles_are_found_in_any_spelling(tmp_path: Path, spelling: str) -> None:
    extract(tmp_path, listed(products=[pa.table({"PRODUCT_ID": ["p1"], spelling: ["Ink"]})]))
    assert pq.read_table(tmp_path / "items.parquet").to_pylist() == [{"product_id": "p1", "title": "Ink"}]


def test_the_titles_of_a_table_with_names_in_upper_case_are_kept(tmp_path: Path) -> None:
    file = shops.make_shop(tmp_path / "shop.db")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("ALTER TABLE products RENAME COLUMN product_id TO PRODUCT_ID")
        database.execute("ALTER TABLE products RENAME COLUMN title TO TITLE")
    own = shops.write_queries(tmp_path / "sql", items="SELECT * FROM products")
    for number, chosen in enumerate(({}, {"sql_folder": own})):
        extract(tmp_path / str(number), shops.source_of(file), **chosen)
        titles = pq.read_table(tmp_path / str(number) / "items.parquet").column("title").to_pylist()
        assert titles == ["Ink", "Tea"]


def test_a_column_for_people_that_is_not_returned_is_reported(tmp_path: Path) -> None:
    lines: list[str] = []
    extract_tables(listed(), shops.settings_with(segment_column="country"), tmp_path, lines.append)
    assert "users.sql returns no column 'country' (source in the settings): it is shown nowhere." in lines
    assert "items.sql returns no column 'title' (source in the settings): it is shown nowhere." in lines


@pytest.mark.parametrize("selects_all", [False, True])
def test_what_nobody_needs_does_not_leave_the_database(tmp_path: Path, *, selects_all: bool) -> None:
    file = shops.make_shop(tmp_path / "shop.db")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("ALTER TABLE users ADD password_hash TEXT DEFAULT 'secret'")
        database.execute("ALTER TABLE products ADD picture BLOB")
        database.execute("UPDATE products SET picture = zeroblob(1000000)")
    own = shops.write_queries(tmp_path / "sql", items="SELECT * FROM products")
    extract(tmp_path / "out", shops.source_of(file), **({"sql_folder": own} if selects_all else {}))
    for name, columns in (("users", ["user_id"]), ("items", ["product_id", "title"])):
        assert pq.read_schema(tmp_path / "out" / f"{name}.parquet").names == columns
    assert all(b"secret" not in path.read_bytes() for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("absent", [["users"], ["items"], ["users", "items"]])
def test_without_a_query_users_and_items_are_those_of_the_interactions(tmp_path: Path, absent: list[str]) -> None:
    folder = shops.write_queries(tmp_path / "sql", items="SELECT * FROM products")
    for name in absent:
        (folder / f"{name}.sql").unlink()
    shop = shops.source_of(shops.make_shop(tmp_path / "shop.db", users=[("u3", "Cy")], products=[("p3", "Pen", "x")]))
    extract(tmp_path / "out", shop, sql_folder=folder)
    users, items = (pq.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("users", "items"))
    assert users.column("user_id").to_pylist() == (["u1", "u2"] if "users" in absent else ["u3"])
    assert items.column("product_id").to_pylist() == (["p1", "p2"] if "items" in absent else ["p3"])


# Errors


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


@pytest.mark.parametrize("names", [["user_id", "USER_ID"], ["user_id", "plan", "PLAN"]])
def test_a_column_that_is_returned_twice_is_rejected(names: list[str], tmp_path: Path) -> None:
    message = failure(tmp_path, listed(users=[table_of(names, [("x",) * len(names)])]), segment_column="plan")
    assert message.startswith("users.sql returns")
    assert "once" in message


@pytest.mark.parametrize(
    ("tables", "since", "message"),
    [
        ({"interactions": []}, None, r"^interactions\.sql.*returned no rows from the test shop"),
        ({"users": []}, None, r"^users\.sql.*returned no rows from the test shop"),
        ({"products": []}, None, r"^items\.sql.*returned no rows from the test shop"),
        ({"users": [(None, "x")]}, None, "only NULL or empty ids in its 1 rows"),
        ({}, "2030-01-01", "{'since': '2030-01-01'}"),
    ],
)
def test_a_table_without_usable_rows_is_an_error(tables: Any, since: str | None, message: str, tmp_path: Path) -> None:
    shop = shops.source_of(shops.make_shop(tmp_path / "shop.db", **tables))
    assert re.search(message, failure(tmp_path / "out", shop, parameters={"since": since}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [(None, "Cannot read the query file"), ("-- nothing\n;", "has no query"), ("SELECT 1; DELETE", "more than")],
)
def test_a_query_file_must_hold_one_query(text: str | None, problem: str, tmp_path: Path) -> None:
    folder = shops.write_queries(tmp_path / "sql")
    file = folder / "interactions.sql"
    file.unlink() if text is None else file.write_text(text)
    message = failure(tmp_path / "out", listed(), sql_folder=folder)
    assert problem in message
    assert "interactions.sql" in message


def test_a_bind_variable_without_a_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"interactions.sql names the bind variable :since.*`since: null`"):
        extract(tmp_path, listed(), parameters={})


def test_a_parameter_that_no_query_names_is_reported_and_not_bound(tmp_path: Path) -> None:
    source, lines = listed(), list[str]()
    chosen = shops.settings_with(parameters={"since": "2026", "sinse": 1})
    extract_tables(source, chosen, tmp_path, lines.append)
    assert "No query names the parameters sinse of the settings; they have no effect." in lines
    assert [bound for sql, bound in source.queries if "FROM interactions" in sql] == [{"since": "2026"}]
    assert [bound for sql, bound in source.queries if "FROM users" in sql] == [{}]


def test_columns_of_the_settings_must_differ(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must differ"):
        extract(tmp_path, listed(), user_column="Rating")


def test_a_failure_after_the_first_rows_leaves_no_file_and_no_older_extract(tmp_path: Path) -> None:
    extract(tmp_path, listed())
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "left by a killed try").touch()

    products = [pa.table({"product_id": ["p1"]}), QueryFailedError("the listed source says: snapshot too old")]
    with pytest.raises(SourceDataError, match=r"items.sql: the listed source says: snapshot too old"):
        extract(tmp_path, listed(products=products))
    assert list(tmp_path.iterdir()) == []


def test_memory_is_bounded_by_batch_and_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 10_000)
    held: list[int] = []
    before = pa.total_allocated_bytes()

    def users() -> pa.Table:
        return pa.table({"user_id": pa.array(range(7_000)).cast(pa.string())})

    class LongSource(ListedSource):
        def tables(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[pa.Table]:
            for batch in super().tables(sql, parameters):
                yield batch
                for _ in range(99 if "FROM users" in sql and len(batch) else 0):
                    held.append(pa.total_allocated_bytes() - before)
                    yield users()

    facts = extract(tmp_path, LongSource(**listed(users=[users()]).given))
    assert facts["users"]["rows"] == 700_000
    written = 700_000 * 8
    assert max(held) < written / 4, "batches pile up"


def test_progress_is_reported_while_rows_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 2)
    monkeypatch.setattr(tables, "REPORT_SECONDS", 0.0)
    lines: list[str] = []
    extract_tables(listed(), shops.settings_with(), tmp_path, lines.append)
    first = next(line for line in lines if line.startswith("interactions: 3 rows, "))
    assert first.endswith(" rows/s")
    assert lines[-1].startswith("items: 2 rows, ")


# Queries


def test_bind_variables_are_found_outside_literals_and_comments(tmp_path: Path) -> None:
    text = """
    /* :not */ SELECT ':not', "a:not", q'[it's :not]', x::text, nq'!:not!' -- :not
    FROM t WHERE a = :One AND b = :two_2 AND c = ':no''t' AND d = '12:30' ; -- :not
    """
    (tmp_path / "q.sql").write_text(text)
    query = read_query(tmp_path / "q.sql")
    assert query.variables == {"One", "two_2"}
    assert query.text.endswith("'12:30'")


def test_a_literal_with_colons_is_not_a_bind_variable(tmp_path: Path) -> None:
    file = shops.make_shop(tmp_path / "shop.db")
    sql = "SELECT ':x' AS a, '12:30:00' AS b, :v AS c, '50%' AS d, \"user_id\" AS \"e:f\" FROM users -- :y"
    with shops.source_of(file).batches(sql + "\nLIMIT 1", {"v": 7}, 10) as batches:
        (table,) = batches
    assert table.to_pylist() == [{"a": ":x", "b": "12:30:00", "c": 7, "d": "50%", "e:f": "u2"}]
    assert escape_colons("a::text, ':x', :v") == r"a::text, '\:x', :v"


# Sources


def test_the_arrow_source_fetches_decimals_in_batches_of_the_given_size() -> None:
    connection = FakeOracle([pa.table({"USER_ID": [Decimal(7)]})])
    with ArrowSource(lambda: connection, "db").batches("SELECT :x FROM t", {"x": 1}, 500) as batches:
        assert [batch.column_names for batch in batches] == [["USER_ID"]]
    query = {"statement": "SELECT :x FROM t", "parameters": {"x": 1}, "size": 500, "fetch_decimals": True}
    assert connection.query == query
    assert connection.is_closed


def test_an_abandoned_arrow_source_is_closed() -> None:
    connection = FakeOracle([pa.table({"a": [1]})] * 3)
    with ArrowSource(lambda: connection, "db").batches("SELECT 1", {}, 1) as batches:
        next(batches)
        assert not connection.is_closed
    assert connection.is_closed
    assert list(batches) == []


def test_an_error_of_oracle_is_quoted_and_the_connection_closed(tmp_path: Path) -> None:
    connection = FakeOracle([], oracledb.DatabaseError("ORA-00942: table or view does not exist\nHelp: https://x"))
    message = failure(tmp_path, ArrowSource(lambda: connection, "the oracle database"))
    assert message.startswith("interactions.sql: the oracle database says: ORA-00942: table or view does not exist")
    assert connection.is_closed


def test_no_connection_by_arrow_is_a_clear_error(tmp_path: Path) -> None:
    def connect() -> Any:
        raise oracledb.OperationalError("ORA-01017: invalid credential or not authorized; logon denied")

    message = failure(tmp_path, ArrowSource(connect, "the oracle database"))
    assert message.startswith("No connection to the oracle database: ORA-01017")
    assert "Check host, user and password" in message
    assert not re.search("airflow|worker", message, re.IGNORECASE)  # a notebook shows it as well


def test_no_connection_by_cursor_is_a_clear_error_without_the_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://someone:geheim@127.0.0.1:1/shop"
    source = CursorSource(lambda: sqlalchemy.create_engine(url), "the postgres database")
    with pytest.raises(SourceUnavailableError, match=r"No connection to the postgres database: .*refused") as raised:
        extract(tmp_path, source)
    assert "geheim" not in str(raised.value)


def test_oracle_rows_in_upper_case_are_extracted(tmp_path: Path) -> None:
    moment = dt.datetime(2026, 1, 31, 12)  # noqa: DTZ001 - as Oracle returns a DATE
    frames = {
        "interactions": table_of(
            ["USER_ID", "PRODUCT_ID", "RATING", "ORDERED_AT"], [(Decimal(10**20), "00420", Decimal("4.5"), moment)]
        ),
        "users": pa.table({"USER_ID": [Decimal(10**20)], "BIO": pa.array(["x"], pa.large_string())}),
        "products": pa.table({"PRODUCT_ID": ["00420"]}),
    }

    class Oracle(FakeOracle):
        def fetch_df_batches(self, statement: str, *_: Any, **__: Any) -> Iterator[pa.Table]:
            frame = next(frame for name, frame in frames.items() if f"FROM {name}" in statement)
            yield frame.select(re.findall(r'q\."(.*?)"', statement.partition("FROM")[0]) or frame.column_names)

    facts = extract(tmp_path, ArrowSource(lambda: Oracle([]), "db"))
    assert pq.read_table(tmp_path / "interactions.parquet").to_pylist() == [
        {"user_id": str(10**20), "product_id": "00420", "rating": 4.5, "ordered_at": moment.replace(tzinfo=dt.UTC)}
    ]
    assert facts["newest_interaction"] == "2026-01-31T12:00:00+00:00"
