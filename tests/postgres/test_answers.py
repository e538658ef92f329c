"""The lock of a question among several API servers, in a real PostgreSQL."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

import pytest
import sqlalchemy
from databases import running_postgres

from recdeploy_ops.ui.answers import release_lock, take_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

pytestmark = pytest.mark.more

QUESTION, OTHER = "/dags/a/dagRuns/r/taskInstances/t/-1/hitlDetails", "/dags/b/dagRuns/r/taskInstances/t/-1/hitlDetails"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running_postgres("") as url:
        engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
        yield engine
        engine.dispose()


def waiting(connection: Connection) -> int:
    """Return how many connections wait for a lock."""
    found: int = connection.execute(sqlalchemy.text(WAITING)).scalar_one()
    connection.commit()
    return found


def test_another_server_waits_until_the_first_answer_has_been_handled(engine: Engine) -> None:
    with engine.connect() as one, engine.connect() as two, engine.connect() as watcher:
        take_lock(one, QUESTION)
        second = Thread(target=take_lock, args=(two, QUESTION))
        second.start()
        while not waiting(watcher):
            assert second.is_alive()

        release_lock(one, QUESTION)

        second.join()
        assert waiting(watcher) == 0
        release_lock(two, QUESTION)


def test_another_question_does_not_wait_and_a_lost_server_leaves_no_lock(engine: Engine) -> None:
    with engine.connect() as one, engine.connect() as two:
        take_lock(one, QUESTION)
        take_lock(two, OTHER)
        one.invalidate()  # its connection ends, as if the server had been killed
        take_lock(two, QUESTION)
        release_lock(two, QUESTION)
