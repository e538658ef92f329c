"""Bad input stops the run at the right task, whose error names the thing and the fix; nothing is left behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.events import EventType
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.settings import load_settings
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.usefixtures("airflow_database", "no_pauses")
OPENED_AND_CLOSED = [
    EventType.RELEASE_OPENED,
    EventType.PRODUCTION_BACKED_UP,
    EventType.RELEASE_REJECTED,
    EventType.RELEASE_CLOSED,
]


def change_shop(surroundings: Any, statements: str) -> None:
    with closing(sqlite3.connect(surroundings.shop)) as shop:
        shop.executescript(statements)


def without_table(surroundings: Any) -> None:
    change_shop(surroundings, "DROP TABLE products")


def without_column(surroundings: Any) -> None:
    change_shop(surroundings, "ALTER TABLE interactions RENAME COLUMN rating TO stars")


def without_id_column(surroundings: Any) -> None:
    change_shop(surroundings, "ALTER TABLE users RENAME COLUMN user_id TO customer")


def with_empty_table(surroundings: Any) -> None:
    change_shop(surroundings, "DELETE FROM users")


def with_repeated_users(surroundings: Any) -> None:
    change_shop(surroundings, "INSERT INTO users SELECT * FROM users LIMIT 3")


def without_connection(surroundings: Any) -> None:
    surroundings.database = None


def without_database_file(surroundings: Any) -> None:
    surroundings.database["host"] = str(surroundings.shop.with_name("none.db"))


def with_connection_to_no_database(surroundings: Any) -> None:
    surroundings.database = {"conn_type": "http", "host": "127.0.0.1"}


def with_other_key(surroundings: Any) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    del surroundings.oci["key_file"]
    surroundings.oci["key_content"] = pem.decode()


def with_missing_key_file(surroundings: Any) -> None:
    surroundings.oci["key_file"] = "/nowhere/key.pem"


def with_unknown_compartment(surroundings: Any) -> None:
    surroundings.oci["compartment_id"] = "ocid1.compartment.oc1..unknown"


def without_compartment(surroundings: Any) -> None:
    del surroundings.oci["compartment_id"]


def with_unwritable_storage(surroundings: Any) -> None:
    # The tests may run as root, who may write everywhere, but not below a file.
    in_the_way = surroundings.storage.with_name("a file")
    in_the_way.touch()
    surroundings.settings["storage"] = (in_the_way / "storage").as_uri()


@pytest.mark.parametrize(
    ("spoil", "task", "said", "recorded"),
    [
        (without_table, "extract", ["items.sql", "no such table: products", "Correct the query"], OPENED_AND_CLOSED),
        (without_column, "extract", ["interactions.sql", "rating", "Correct the query"], OPENED_AND_CLOSED),
        (
            without_id_column,
            "extract",
            ["users.sql", "no such column: user_id", "Correct the query"],
            OPENED_AND_CLOSED,
        ),
        (with_empty_table, "extract", ["users.sql", "no rows", "check that the table is filled"], OPENED_AND_CLOSED),
        (without_connection, "extract", ["recommender_db", "AIRFLOW_CONN_RECOMMENDER_DB"], OPENED_AND_CLOSED),
        (without_database_file, "extract", ["recommender_db", "none.db", "Correct its host"], OPENED_AND_CLOSED),
        (with_connection_to_no_database, "extract", ["recommender_db", "'http'", "database type"], OPENED_AND_CLOSED),
        (
            with_repeated_users,
            "check_data",
            ["unique_users", "3 of 33 rows of users repeat a user"],
            [*OPENED_AND_CLOSED[:2], EventType.DATA_EXTRACTED, EventType.DATA_CHECKED, *OPENED_AND_CLOSED[2:]],
        ),
        (with_other_key, "plan_release", ["401", "NotAuthenticated", "Check tenancy, user, fingerprint and key"], []),
        (with_missing_key_file, "plan_release", ["oci_default", "/nowhere/key.pem"], []),
        (with_unknown_compartment, "plan_release", ["404", "Correct the OCID in the OCI connection"], []),
        (without_compartment, "plan_release", ["oci_default", "lacks compartment_id", "AIRFLOW_CONN_"], []),
        (with_unwritable_storage, "plan_release", ["storage", "Not a directory", "include/recommender.yaml"], []),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_bad_input_stops_the_run_and_leaves_nothing(
    surroundings: Any,
    load_dag: Callable[[], Any],
    spoil: Callable[[Any], None],
    task: str,
    said: list[str],
    recorded: list[EventType],
) -> None:
    spoil(surroundings)
    surroundings.apply()

    states, failures = run(load_dag())

    assert list(failures) == [task]
    assert states[task] == "failed"
    assert isinstance(failures[task], AirflowFailException)
    for words in said:
        assert words in str(failures[task])
    assert set(states.values()) <= {"success", "failed", "upstream_failed"}
    assert states["register_model"] == "upstream_failed"
    assert surroundings.cloud.endpoints("test") == surroundings.cloud.endpoints("production") == []
    ledger = Ledger(open_store(surroundings.storage.as_uri(), None), load_settings().project_name, utc_now)
    expected = [EventType.LEDGER_STARTED, *recorded] if recorded else []  # refused before anything is written
    assert [entry.type for entry in ledger.entries()] == expected
    assert ledger.state.holder is None
    assert unfinished(surroundings.storage) == []


def test_a_run_that_failed_does_not_block_the_next(surroundings: Any, load_dag: Callable[[], Any]) -> None:
    whole = surroundings.shop.read_bytes()
    surroundings.apply()
    with_empty_table(surroundings)
    _, failures = run(load_dag())
    assert list(failures) == ["extract"]
    surroundings.shop.write_bytes(whole)
    with_repeated_users(surroundings)

    states, failures = run(load_dag())

    assert list(failures) == ["check_data"]
    assert states["plan_release"] == states["extract"] == "success"


def run(dag: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Run the DAG in this process; returns the states of its tasks, and the errors of those that failed."""
    failures: dict[str, Any] = {}
    for task in dag.tasks:
        task.on_failure_callback = [lambda context: failures.update({context["ti"].task_id: context["exception"]})]
    ended = dag.test()
    return {task.task_id: str(task.state) for task in ended.get_task_instances()}, failures


def unfinished(storage: Any) -> list[str]:
    """Return the partial objects, and the folders without a manifest."""
    partial = [str(path) for path in storage.rglob(".partial*")]
    bundles = [path for path in storage.glob("releases/*/*/*") if path.is_dir()]
    return partial + [str(path) for path in bundles if not (path / "manifest.json").exists()]
