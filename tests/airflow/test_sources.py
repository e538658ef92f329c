"""The shop's database through Airflow's connections: what a hook receives, and which connections are refused."""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import shops
from shops import FakeOracleShop

from recdeploy_ops.domain.errors import SettingsError, SourceDataError, TransientError
from recdeploy_ops.extraction import ArrowSource, CursorSource, extract_tables
from recdeploy_ops.extraction.oracle import ORACLE_SESSION
from recdeploy_ops.hooks.sources import source_for

if TYPE_CHECKING:
    from pathlib import Path


TCPS = "tcps://adb.eu-frankfurt-1.oraclecloud.com:1522/g1_shop_low.adb.oraclecloud.com"
ALIAS = "shop_low = (DESCRIPTION=(ADDRESS=(PROTOCOL=tcps)(HOST=adb.example.com)(PORT=1522)))\n"


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Define the Airflow connection ``shop``."""

    def connection(**fields: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(fields))

    return connection


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> list[FakeOracleShop]:
    """Every connection that is opened to Oracle."""
    import oracledb

    opened: list[FakeOracleShop] = []
    tables = {
        "interactions": pa.table(
            {"USER_ID": ["u1"], "PRODUCT_ID": ["00420"], "RATING": [4.0], "ORDERED_AT": ["2026-01-01"]}
        ),
        "users": pa.table({"USER_ID": ["u1"]}),
        "products": pa.table({"PRODUCT_ID": ["00420"]}),
    }

    def connect(**opened_with: Any) -> FakeOracleShop:
        opened.append(FakeOracleShop(tables, **opened_with))
        return opened[-1]

    monkeypatch.setattr(oracledb, "connect", connect)
    return opened


def open_once(conn_id: str = "shop") -> None:
    with source_for(conn_id).batches("SELECT * FROM users", {}, 10) as batches:
        list(batches)


SERVICE = "(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=db)(PORT=1521))(CONNECT_DATA=(SERVICE_NAME=shop)))"
WALLET = {"dsn": "shop_low", "wallet_location": "/w", "wallet_password": "wp"}
CONNECTIONS = {
    "tcps": ({"extra": {"dsn": TCPS}}, {"dsn": TCPS}),
    "tcps in the host": (
        {"host": "tcps://adb.example.com", "port": 1522, "extra": {}},
        {"dsn": "tcps://adb.example.com:1522"},
    ),
    "wallet": ({"extra": WALLET}, WALLET),
    "alias": ({"extra": {"dsn": "shop_low", "config_dir": "/tns"}}, {"dsn": "shop_low"}),
    "host and service": ({"host": "db", "extra": {"service_name": "shop"}}, {"dsn": SERVICE}),
}


@pytest.mark.parametrize(("fields", "received"), CONNECTIONS.values(), ids=CONNECTIONS)
def test_oracle_receives_what_the_connection_says(
    fields: dict[str, Any], received: dict[str, Any], oracle: list[FakeOracleShop], define: Any
) -> None:
    define(conn_type="oracle", login="shop", password="geheim", **fields)
    source = source_for("shop")
    assert isinstance(source, ArrowSource)
    assert not oracle, "nothing is connected before the first query"
    open_once()
    assert [connection.opened_with for connection in oracle] == [{"user": "shop", "password": "geheim", **received}]
    assert oracle[0].executed == [ORACLE_SESSION]
    assert oracle[0].closed


@pytest.mark.parametrize(
    ("extra", "searched"),
    [
        ({"config_dir": "/tns"}, "/tns"),
        ({"config_dir": "/tns", "wallet_location": "/wallet"}, "/tns"),
        ({"wallet_location": "/wallet"}, "/wallet"),
        ({}, None),
    ],
)
def test_the_folder_of_tnsnames_is_known_while_connecting(
    extra: dict[str, str], searched: str | None, oracle: list[FakeOracleShop], define: Any
) -> None:
    import oracledb

    define(conn_type="oracle", login="shop", password="geheim", extra={"dsn": "shop_low", **extra})
    open_once()
    assert oracle[0].config_dir == searched
    assert oracledb.defaults.config_dir is None


def test_a_tns_alias_is_found_in_that_folder(tmp_path: Path, define: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import oracledb

    (tmp_path / "tnsnames.ora").write_text(ALIAS)
    found: list[str] = []

    def connect(dsn: str, **_: Any) -> Any:
        parameters = oracledb.ConnectParams()
        parameters.parse_connect_string(dsn)
        found.append(parameters.host)
        return FakeOracleShop({"users": pa.table({"USER_ID": ["u1"]})})

    monkeypatch.setattr(oracledb, "connect", connect)
    define(conn_type="oracle", login="shop", extra={"dsn": "shop_low", "config_dir": str(tmp_path)})
    open_once()
    assert found == ["adb.example.com"]


def test_tables_come_through_the_oracle_hook_into_parquet(
    tmp_path: Path, oracle: list[FakeOracleShop], define: Any
) -> None:
    define(conn_type="oracle", login="shop", password="geheim", extra={"dsn": TCPS})
    facts = extract_tables(source_for("shop"), shops.settings_with(), tmp_path, list[str]().append)
    assert facts["interactions"]["columns"] == ["user_id", "product_id", "rating", "ordered_at"]
    assert all(connection.closed for connection in oracle)


def test_a_session_that_cannot_be_set_up_is_closed(
    oracle: list[FakeOracleShop], define: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import oracledb

    def refuse(*_: Any) -> None:
        raise oracledb.DatabaseError("ORA-01031: insufficient privileges")

    monkeypatch.setattr(FakeOracleShop, "execute", refuse)
    define(conn_type="oracle", login="shop", extra={"dsn": TCPS})
    with pytest.raises(SourceDataError, match="No connection to the oracle database of connection 'shop': ORA"):
        open_once()
    assert oracle[0].closed


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"host": "db", "schema": "SHOP"}, "schema 'SHOP' but no service name"),
        ({"host": "db", "extra": {"service_name": "shop", "dsn": TCPS}}, "the extra dsn, which"),
    ],
)
def test_an_oracle_connection_that_the_hook_misreads_is_refused(
    fields: dict[str, Any], problem: str, define: Any
) -> None:
    define(conn_type="oracle", **fields)
    with pytest.raises(SettingsError, match=problem):
        source_for("shop")


def test_a_missing_connection_says_how_to_define_it() -> None:
    with pytest.raises(SettingsError, match=r"no Airflow connection 'recommender_db'.*AIRFLOW_CONN_RECOMMENDER_DB"):
        source_for("recommender_db")


@pytest.mark.parametrize("conn_type", ["nonesuch", "fs"])
def test_a_connection_to_no_database_is_refused(conn_type: str, define: Any) -> None:
    define(conn_type=conn_type, host="x")
    with pytest.raises(SettingsError, match=f"of type '{conn_type}' is not a database connection"):
        source_for("shop")


def test_a_sqlite_connection_is_read_by_cursor(tmp_path: Path, define: Any) -> None:
    file = shops.make_shop(tmp_path / "our shop.db")
    define(conn_type="sqlite", host=str(file))
    source = source_for("shop")
    assert isinstance(source, CursorSource)
    facts = extract_tables(source, shops.settings_with(), tmp_path / "out", list[str]().append)
    assert facts["interactions"]["rows"] == 3


def test_a_database_that_cannot_be_reached_is_worth_another_try(define: Any) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        define(conn_type="postgres", host="127.0.0.1", port=taken.getsockname()[1], login="a", password="b", schema="s")

        with pytest.raises(TransientError, match=r"postgres database of connection 'shop': .*Connection refused"):
            open_once()


def test_a_sqlite_file_that_is_not_there_is_not_made(tmp_path: Path, define: Any) -> None:
    define(conn_type="sqlite", host=str(tmp_path / "shop.db"))
    with pytest.raises(SettingsError, match=re.escape(f"there is no SQLite file {tmp_path / 'shop.db'}")):
        open_once()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif("RECDEPLOY_ORACLE_DSN" not in os.environ, reason="needs a database: RECDEPLOY_ORACLE_DSN")
def test_a_live_oracle_database_is_read(define: Any) -> None:
    """With RECDEPLOY_ORACLE_USER and RECDEPLOY_ORACLE_PASSWORD, and RECDEPLOY_ORACLE_EXTRA as JSON."""
    extra = json.loads(os.environ.get("RECDEPLOY_ORACLE_EXTRA", "{}"))
    define(
        conn_type="oracle",
        login=os.environ["RECDEPLOY_ORACLE_USER"],
        password=os.environ["RECDEPLOY_ORACLE_PASSWORD"],
        extra={"dsn": os.environ["RECDEPLOY_ORACLE_DSN"], **extra},
    )
    sql = "SELECT q.*, SYSDATE d FROM (SELECT LEVEL n, TO_CHAR(LEVEL, '000') id FROM dual CONNECT BY LEVEL <= :top) q"
    with source_for("shop").batches(sql, {"top": 25}, 10) as rows:
        batches = list(rows)
    assert [len(batch) for batch in batches if len(batch)] == [10, 10, 5]
    assert batches[0].column_names == ["N", "ID", "D"]
