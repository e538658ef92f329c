"""The shop's database behind the guide's ``connection_parameters``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.extraction import ArrowSource, CursorSource, set_oracle_session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.extraction import Source

ORACLE = ("user_name", "password", "service_name")
WALLET = ("wallet_location", "wallet_password")


def source_of(connection_parameters: Mapping[str, Any]) -> Source:
    """Return the database behind the guide's parameters; it connects later.

    Args:
        connection_parameters: ``user_name``, ``password``, ``service_name`` and, for a wallet, ``wallet_location``
            and ``wallet_password``; or ``url`` alone, the SQLAlchemy URL of any database.

    Raises:
        SettingsError: a parameter is missing or unknown.
    """
    unknown = sorted(set(connection_parameters) - {*ORACLE, *WALLET, "url"})
    if unknown:
        raise SettingsError(f"connection_parameters has unknown entries: {', '.join(unknown)}.")
    if connection_parameters.get("url"):
        return CursorSource(lambda: _engine(connection_parameters["url"]), "the notebook's database")
    missing = [name for name in ORACLE if not connection_parameters.get(name)]
    if missing:
        raise SettingsError(
            f"connection_parameters lacks {', '.join(missing)} (Cell 3). Take them from environment variables or from "
            "OCI Vault, never from the notebook's text."
        )
    return ArrowSource(lambda: _open_oracle(connection_parameters), f"Oracle {connection_parameters['service_name']}")


def _engine(url: str) -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    return create_engine(url, poolclass=NullPool)


def _open_oracle(parameters: Mapping[str, Any]) -> Any:
    import oracledb

    wallet = parameters.get("wallet_location")
    session = oracledb.connect(
        user=parameters["user_name"],
        password=parameters["password"],
        dsn=parameters["service_name"],
        config_dir=wallet,
        wallet_location=wallet,
        wallet_password=parameters.get("wallet_password"),
    )
    return set_oracle_session(session)
