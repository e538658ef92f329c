"""The emulator, a shop and Airflow for the tests that need all three: started once, with all processes stopped."""

from __future__ import annotations

import csv
import io
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import oci
import psutil
import pytest
from airflow_processes import AirflowProcesses, is_running, title_of
from rest import APPROVAL, AWAITING, Rest
from shared_services import keep_running
from special_shop import SPECIAL_USERS, UNKNOWN_USER, fill_store

from demo.airflow_api import RUN_ENDED, progress_of
from demo.checks import Inspector
from demo.console import Console
from demo.homes import DAG_ID, Home, write_settings
from demo.options import Options
from demo.patience import Patience
from demo.processes import Service
from demo.releases import ReleaseRun
from demo.scheduler_log import PARKED
from demo.services import Services
from oci_emulator.control_client import ControlClient
from recdeploy_ops.context import ReleaseContext, open_context, utc_now
from recdeploy_ops.domain.events import Event, EventType, ModelTrained
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.oci_clients.profiles import OciProfile
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.settings import load_settings
from recdeploy_ops.storage.bundles import open_bundle
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from demo.airflow_api import Task
    from demo.cloud import Cloud, Endpoint
    from demo.releases import Outcome
    from demo.services import Running
    from recdeploy_ops.domain.entries import Entry

E = TypeVar("E", bound=Event)

# The longest wait without progress: see `demo.patience`.
PATIENCE_SECONDS = 240.0
# Between two looks: each one makes Airflow's web server read its database, two or three times.
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class EndedRun:
    """What is visible of a run after its end.

    Attributes:
        run_id: the id of the run.
        outcome: how it ended.
        before: production before the run.
        after: production after it.
        tests: the remaining test deployments.
        holder: the holder of the release lock.
        entries: the run's entries in the ledger.
        answers: the answers of production to the special users and an unknown user.
    """

    run_id: str
    outcome: Outcome
    before: Endpoint | None
    after: Endpoint | None
    tests: list[Endpoint]
    holder: str | None
    entries: list[Entry]
    answers: Mapping[str, Mapping[str, Any]]

    @property
    def kinds(self) -> list[str]:
        """Return the event types in the ledger, in order."""
        return [str(entry.type) for entry in self.entries]

    def event(self, kind: type[E]) -> E:
        """Return the newest event of a class."""
        return [entry.event for entry in self.entries if isinstance(entry.event, kind)][-1]


@dataclass
class Installation:
    """A user's installation: a shop, a tenancy, and Airflow with the DAGs.

    Attributes:
        dag_id: the DAG whose runs are triggered and followed.
    """

    home: Home
    services: Services
    running: Running
    console: Console
    dag_id: str = DAG_ID
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _others: dict[str, Installation] = field(default_factory=dict)
    _triggered: list[str] = field(default_factory=list)

    def of(self, dag_id: str) -> Installation:
        """Return the same installation for another DAG."""
        if dag_id not in self._others:
            self._others[dag_id] = replace(self, dag_id=dag_id, _others={})
        return self._others[dag_id]

    @property
    def cloud(self) -> Cloud:
        return self.running.cloud

    @cached_property
    def admin(self) -> Rest:
        return Rest(self.running.airflow_url, "admin", self.dag_id)

    @cached_property
    def approver(self) -> Rest:
        return Rest(self.running.airflow_url, "approver", self.dag_id)

    @cached_property
    def viewer(self) -> Rest:
        return Rest(self.running.airflow_url, "viewer", self.dag_id)

    @cached_property
    def emulator(self) -> ControlClient:
        return ControlClient(self.cloud.url, self.cloud.control_token)

    @cached_property
    def processes(self) -> AirflowProcesses:
        return AirflowProcesses(self.home, self.admin.task_instance_id)

    @cached_property
    def inspector(self) -> Inspector:
        return Inspector(self.cloud, self.home)

    @cached_property
    def objects(self) -> Any:
        return open_store(load_settings(self.home.settings).storage, None)

    def close(self) -> None:
        for other in self._others.values():
            other.close()
        for name in ("admin", "approver", "viewer"):
            if name in self.__dict__:
                self.__dict__[name].__exit__()

    def trigger(self, name: str, **params: Any) -> str:
        """Start a run, after ending the runs that a failed test has left: they would hold the release lock."""
        for left in [run_id for run_id in self.admin.unfinished_runs() if run_id in self._triggered]:
            self.admin.fail_run(left)
            self.wait_for_end(left)
        return self.trigger_beside(name, **params)

    def trigger_beside(self, name: str, **params: Any) -> str:
        """Start a run, whatever else runs."""
        run_id = f"{name}-{next(self._numbers)}"
        self._triggered.append(run_id)
        self.admin.trigger(run_id, params)
        return run_id

    def follow(self, run_id: str, decision: Any = None, comment: str = "seen") -> Outcome:
        """Watch a run to its end; answer the approval when the scheduler has stored the question, like the demo."""
        watch = ReleaseRun(
            self.approver,
            self.home,
            self.console,
            services=self.services,
            timeout_minutes=PATIENCE_SECONDS / 60,
        )
        return watch.follow(run_id, decision, comment)

    def state(self, run_id: str, task: str) -> str:
        return self.task(run_id, task).state

    def task(self, run_id: str, name: str) -> Task:
        return next(task for task in self.admin.tasks(run_id) if task.name == name)

    def wait_for(
        self, what: str, condition: Callable[[], Any], *, every: float = POLL_SECONDS, sign: Any = None
    ) -> Any:
        """Wait until a condition returns a true value, and return it; fail if a service ends or makes no progress.

        Args:
            what: the awaited fact, for the message.
            condition: called repeatedly.
            every: seconds between two calls.
            sign: returns a value that changes with progress.
        """
        patience = self.services.patience(PATIENCE_SECONDS)
        while not (result := condition()):
            self.services.require_alive()
            if patience.is_over(seen := sign() if sign else None):
                unhealthy = ", ".join(self.admin.unhealthy()) or "nothing"
                lines = (f"no progress for {PATIENCE_SECONDS} s, waiting for: {what}", f"unhealthy: {unhealthy}")
                pytest.fail("\n".join((*lines, f"last seen: {seen}")))
            time.sleep(every)
        return result

    def wait_for_end(self, run_id: str) -> None:
        """Wait until a run has ended."""
        self.wait_for(
            f"{run_id} has ended",
            lambda: self.admin.run_state(run_id) in RUN_ENDED,
            sign=lambda: progress_of(self.admin.tasks(run_id)),
        )

    def wait_for_state(self, run_id: str, task: str, *states: str, every: float = POLL_SECONDS) -> None:
        """Wait until a task is in one of these states; fail if its run has ended in another one."""
        wanted = f"{task} of {run_id} is {' or '.join(states)}"

        def is_reached() -> bool:
            ended = self.admin.run_state(run_id) in RUN_ENDED
            state = self.state(run_id, task)
            assert state in states or not ended, f"{wanted}: the run has ended, and the task is {state}"
            return state in states

        self.wait_for(wanted, is_reached, every=every, sign=lambda: progress_of(self.admin.tasks(run_id)))

    def wait_until_asked(self, run_id: str) -> None:
        """Wait until an approval can be answered: the scheduler has stored the question too."""
        self.wait_for_state(run_id, APPROVAL, AWAITING)
        attempt = self.task(run_id, APPROVAL).attempt
        log = self.services.scheduler_log
        what = f"the scheduler has stored the question of {run_id}"
        self.wait_for(what, lambda: log.has_parked(self.dag_id, run_id, APPROVAL, attempt))

    def count_parkings(self, run_id: str) -> int:
        """Return how often the scheduler has stored a question of a run: an answer that is refused makes another."""
        parked = PARKED.finditer(Service("airflow", self.home.path).log.read_bytes())
        return sum(match[3] == run_id.encode() for match in parked)

    def expire_approval(self, run_id: str) -> timedelta:
        """Let an approval time out now, and return the time that was left."""
        moment = "%Y-%m-%d %H:%M:%S.%f"
        parked = (run_id, APPROVAL, AWAITING)
        where = "WHERE run_id = ? AND task_id = ? AND state = ?"
        with closing(sqlite3.connect(self.home.airflow / "airflow.db", timeout=PATIENCE_SECONDS)) as database, database:
            select = f"SELECT trigger_timeout FROM task_instance {where}"
            [[limit]] = database.execute(select, parked).fetchall()
            now = datetime.now(UTC).replace(tzinfo=None)
            update = f"UPDATE task_instance SET trigger_timeout = ? {where}"
            database.execute(update, (f"{now:{moment}}", *parked))
        return datetime.strptime(limit, moment) - now  # noqa: DTZ007 - Airflow keeps UTC

    def entries(self, run_id: str) -> list[Entry]:
        entries = Ledger(self.objects, load_settings(self.home.settings).project_name, utc_now).entries()
        return [entry for entry in entries if entry.run_id == run_id]

    def inspect_run(self, run_id: str, outcome: Outcome, before: Endpoint | None) -> EndedRun:
        """Return what is visible now of a run that has ended."""
        after = self.cloud.production()
        users = (*SPECIAL_USERS, UNKNOWN_USER) if after else ()
        return EndedRun(
            run_id=run_id,
            outcome=outcome,
            before=before,
            after=after,
            tests=self.cloud.endpoints("test"),
            holder=self.inspector.state().holder,
            entries=self.entries(run_id),
            answers={user: self.cloud.recommend(after, user, 10) for user in users if after},
        )

    def recommendations(self, seen: EndedRun) -> dict[str, list[tuple[str, float]]]:
        """Return the lists of the run's ``recommendations.csv``, read through storage as text."""
        trained = seen.event(ModelTrained)
        bundle = open_bundle(self.objects, trained.prefix, digest=trained.digest, made_by="run_ads_operator")
        text = self.objects.read(bundle.key("recommendations.csv")).decode("utf-8")
        lists: dict[str, list[tuple[str, float]]] = {}
        for row in csv.DictReader(io.StringIO(text, newline="")):
            lists.setdefault(row["user_id"], []).append((row["product_id"], float(row["rating"])))
        return lists

    def production(self) -> Endpoint:
        production = self.cloud.production()
        assert production is not None, "nothing is in production"
        return production

    def releases(self) -> ReleaseContext:
        """Return a new context, as the product's steps use it."""
        session = OciSession(OciProfile.from_fields(self.cloud.connection(), source="the test"))
        return open_context(load_settings(self.home.settings), self.objects, session, "the test")

    def accepted_updates(self, seen: EndedRun, begun: EventType, done: EventType) -> int:
        """Return the number of updates of production that OCI accepted between two entries, or since the first."""
        moments = {entry.type: entry.at for entry in reversed(seen.entries)}
        until = moments.get(done, datetime.now(UTC))
        since = moments.get(begun, until)
        requests = oci.pagination.list_call_get_all_results(
            self.cloud._science.list_work_requests, self.cloud.compartment, resource_id=self.production().ocid
        ).data
        return sum(since <= request.time_accepted <= until for request in requests)

    def models(self) -> list[str]:
        """Return the names of the catalog's models."""
        models = self.cloud._science.list_models(self.cloud.compartment).data
        return sorted(model.display_name for model in models if model.lifecycle_state != "DELETED")

    def partial_objects(self) -> list[str]:
        """Return the objects that a writer has begun, and neither finished nor removed."""
        return [str(path) for path in self.home.storage.rglob(".partial*")]

    @contextmanager
    def emptied_table(self, table: str) -> Iterator[None]:
        """Empty a table of the shop while the block lasts."""
        with closing(sqlite3.connect(self.home.store, timeout=PATIENCE_SECONDS)) as shop:
            with shop:
                shop.execute(f"CREATE TABLE kept AS SELECT * FROM {table}")
                shop.execute(f"DELETE FROM {table}")
            try:
                yield
            finally:
                with shop:
                    shop.execute(f"INSERT INTO {table} SELECT * FROM kept")
                    shop.execute("DROP TABLE kept")


def wait_for(what: str, condition: Callable[[], Any], *, every: float = 0.2) -> Any:
    """Wait until a condition returns a true value, and return it."""
    patience = Patience(PATIENCE_SECONDS)
    while not (result := condition()):
        assert not patience.is_over(), f"timed out waiting for: {what}"
        time.sleep(every)
    return result


@contextmanager
def started(
    folder: Path, fill: Callable[[Path], object] = fill_store, *, queries: Path | None = None
) -> Iterator[Installation]:
    """Run the emulator and Airflow on a shop while the block lasts; fail if a process outlives it.

    Args:
        folder: for everything that they write.
        fill: writes the shop into the file of this name.
        queries: folder of the queries that read it; by default those of the project.
    """
    home, console = Home(folder), Console()
    services = Services(home, console)

    def prepare() -> None:
        fill(home.store)
        write_settings(home, has_timestamps=True, sql_folder=queries)

    family: list[psutil.Process] = []
    try:
        running = services.start(Options(home=folder), prepare)
        installation = Installation(home, services, running, console)
        try:
            yield installation
        finally:
            installation.close()
            family = [p for name in ("airflow", "emulator") for p in Service(name, folder).processes()]
    finally:
        services.stop()
    left = [process for process in family if is_running(process)]
    left += [process for process in psutil.process_iter() if str(folder) in title_of(process)]
    assert not left, f"these processes outlive the services: {left}"


INSTALLATION = pytest.StashKey[Installation]()


@pytest.fixture(scope="session")
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The `Installation` that all folders share whose ``conftest.py`` imports this."""
    stash = request.config.stash
    if INSTALLATION not in stash:
        stash[INSTALLATION] = keep_running(request.config, started(tmp_path_factory.mktemp("installation")))
    return stash[INSTALLATION]


def order_by_installation(items: list[pytest.Item]) -> None:
    """Order the tests: without an installation first, then those that share one, then those that share `Weeks`.

    Among these, tests in a browser come last, and tests that lose the ledger after those that read it.
    """

    def rank(item: pytest.Item) -> tuple[bool, ...]:
        fixtures = getattr(item, "fixturenames", ())
        return (
            bool({"installation", "weeks"} & set(fixtures)),
            "weeks" in fixtures,
            "browser" in item.path.parts,
            "lost_ledger" in fixtures,
        )

    items.sort(key=rank)
