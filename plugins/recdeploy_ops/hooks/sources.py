"""The database behind an Airflow connection, as a source of Arrow batches.

Oracle connections (type ``oracle``) are opened by Airflow's own ``OracleHook``; three things are ours:

- the extra ``config_dir`` (the folder of ``tnsnames.ora``), which that hook ignores. Without it and without
  ``TNS_ADMIN``, ``tnsnames.ora`` is read from the wallet's folder, where a downloaded wallet has it;
- a ``schema`` without the extra ``service_name`` is refused: the hook would use it both as the service name and as the
  schema;
- the session sorts by bytes and reads ISO dates, independently of the database's territory.

Autonomous Database: leave host and schema empty, and set the extra ``dsn`` to a ``tcps://`` address (TLS), or to a TNS
alias together with ``wallet_location`` and ``wallet_password`` (mTLS).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.extraction import ArrowSource, CursorSource, set_oracle_session

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from recdeploy_ops.extraction import Source


def source_for(conn_id: str) -> Source:
    """Return the source behind an Airflow connection; it connects later.

    Args:
        conn_id: the setting ``connections.database``: any connection type with a DB-API hook.

    Raises:
        SettingsError: no such connection exists, or it is not a database's.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

    try:
        connection: Any = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as err:
        raise SettingsError(
            f"There is no Airflow connection {conn_id!r} (setting connections.database). Define it in "
            f"Airflow's UI, or as the variable AIRFLOW_CONN_{conn_id.upper()}, for example "
            '\'{"conn_type": "oracle", "login": "...", "password": "...", "extra": {"dsn": "tcps://..."}}\'.'
        ) from err
    try:
        hook = connection.get_hook()
    except AirflowException as err:
        raise _no_database(connection, str(err)) from err
    name = f"the {connection.conn_type} database of connection {conn_id!r}"
    if connection.conn_type == "oracle":
        _check_oracle(connection)
        return ArrowSource(lambda: _open_oracle(hook, connection), name)
    if not isinstance(hook, DbApiHook):
        raise _no_database(connection, f"{type(hook).__name__} is not a database hook")
    return CursorSource(lambda: _engine(hook, connection), name)


def _engine(hook: Any, connection: Any) -> Engine:
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import NullPool

    try:
        engine: Engine = hook.get_sqlalchemy_engine(engine_kwargs={"poolclass": NullPool})
    except (ArgumentError, NotImplementedError, ImportError) as err:
        raise _no_database(connection, f"SQLAlchemy cannot use it: {type(err).__name__}") from err
    file = engine.url.database
    if engine.dialect.name == "sqlite" and file and ":" not in file and not Path(file).is_file():
        # SQLite would create an empty database there, and the queries would then fail.
        raise SettingsError(f"Connection {connection.conn_id!r}: there is no SQLite file {file}. Correct its host.")
    return engine


def _no_database(connection: Any, why: str) -> SettingsError:
    return SettingsError(
        f"Connection {connection.conn_id!r} of type {connection.conn_type!r} is not a database connection "
        f"({why}). Give it a database type, such as oracle, postgres, mysql or sqlite, and install the "
        "Airflow provider of that type."
    )


def _check_oracle(connection: Any) -> None:
    extra = connection.extra_dejson
    addressed = bool(extra.get("service_name") or extra.get("sid"))
    if connection.schema and not addressed:
        raise SettingsError(
            f"Connection {connection.conn_id!r} has the schema {connection.schema!r} but no service name: "
            "Airflow's Oracle hook would use the schema for both. Set the extra service_name (or the extra dsn to the "
            "whole address, and leave host and schema empty)."
        )
    if connection.host and addressed and extra.get("dsn"):
        raise SettingsError(
            f"Connection {connection.conn_id!r} has a host with a service name and also the extra dsn, which "
            "Airflow's Oracle hook then ignores. Keep one of the two; for an Autonomous Database, the dsn."
        )


def _open_oracle(hook: Any, connection: Any) -> Any:
    import oracledb

    default = oracledb.defaults.config_dir
    extra = connection.extra_dejson
    try:
        oracledb.defaults.config_dir = extra.get("config_dir") or default or extra.get("wallet_location")
        session = hook.get_conn()
    finally:
        oracledb.defaults.config_dir = default
    return set_oracle_session(session)
