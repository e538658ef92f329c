"""One call of ``make demo`` from beginning to end."""

from __future__ import annotations

import fcntl
import signal
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from demo.airflow_api import RUN_ENDED, AirflowApi, progress_of
from demo.checks import Inspector
from demo.errors import DemoError
from demo.homes import Home
from demo.releases import ReleaseRun, is_of_demo, new_run_id
from demo.reports import describe, make_report
from demo.services import Services
from demo.shops import Shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.console import Console
    from demo.options import Options
    from demo.releases import Outcome
    from demo.reports import Report
    from demo.services import Running

ABANDON_SECONDS = 120.0
FIRST_WITH_DAMAGE = (
    "nothing is in production, so there is no champion to compare with, and most damages cannot be seen; "
    "to promote an honest release first: make demo DECISION=promote"
)


class Session:
    """One call of ``make demo``.

    Args:
        options: of this call.
        console: for the output.
    """

    def __init__(self, options: Options, console: Console) -> None:
        self._options = options
        self._console = console
        self._home = Home(options.home)
        self._services = Services(self._home, console)
        self._shop = Shop(self._home, options, console, today=datetime.now(UTC).date())
        self._leave = False

    def run(self) -> int:
        """Run the demo and return its exit code; stop what it started unless ``KEEP=1``.

        Raises:
            DemoError: it cannot go on.
        """
        with only_one(self._home):
            self._leave = self._services.are_kept
            self._shop.prepare()
            try:
                running = self._services.start(self._options, self._fill_store)
                self._leave = running.attached or self._options.keep
                if self._options.keep:
                    self._services.keep()
                if self._shop.is_other:
                    self._replace_store(running)
                report = self._release(running)
                if self._options.decision is None and not self._leave:
                    if report.damage_check:
                        self._console.say(report.damage_check)
                    self._linger(running)
            finally:
                self._finish()
        self._home.summary.write_text(report.summary, encoding="utf-8")
        self._console.say(report.summary if self._options.decision else report.conclusion)
        if report.damage_check:
            self._console.say(report.damage_check)
        return 0 if report.succeeded else 1

    def _release(self, running: Running) -> Report:
        inspector = Inspector(running.cloud, self._home)
        before = running.cloud.production()
        self._require_promotable(inspector)
        if self._options.damage and before is None:
            self._console.step(FIRST_WITH_DAMAGE)
        with (
            AirflowApi(running.airflow_url, "admin") as admin,
            AirflowApi(running.airflow_url, "approver") as approver,
        ):
            watch = ReleaseRun(
                approver,
                self._home,
                self._console,
                services=self._services,
                timeout_minutes=self._options.timeout_minutes,
            )
            outcome = self._follow(admin, watch)
            failures = watch.explain_failures(outcome)
        report = make_report(
            inspector,
            outcome,
            failures,
            decision=self._options.decision,
            before=before,
            damage=self._shop.damage,
        )
        for line in [*failures, *describe(report.checks)]:
            self._console.say(line)
        return report

    def _follow(self, admin: AirflowApi, watch: ReleaseRun) -> Outcome:
        """Resume a run that a killed demo left unfinished, else start one."""
        decision = self._options.decision
        comment = f"make demo DECISION={decision}"
        unfinished = admin.unfinished_runs()
        if unfinished:
            if decision and not is_of_demo(unfinished[0]):
                raise DemoError(
                    f"The release {unfinished[0]}, which was not started by make demo, is in progress: "
                    f"DECISION={decision} would answer it. Answer it in Airflow yourself, or leave DECISION out."
                )
            self._require_plantable(unfinished)
            self._console.step(f"resuming the unfinished release {unfinished[0]}")
            outcome = watch.follow(unfinished[0], decision, comment)
            if outcome.state == "success":
                return outcome
            self._console.step(f"the interrupted release {unfinished[0]} failed; starting a new one")
        unfinished = admin.unfinished_runs()
        self._require_plantable(unfinished)
        if not unfinished:
            self._shop.grow()
        run_id = new_run_id()
        admin.trigger(run_id, {})
        self._shop.note_release()
        self._console.step(f"triggered the release {run_id}")
        return watch.follow(run_id, decision, comment)

    def _require_promotable(self, inspector: Inspector) -> None:
        """Require that DECISION=promote would not be refused: nobody then waits for a release that it cannot promote.

        Raises:
            DemoError: promotions are frozen, e.g. after a rollback.
        """
        freezes = inspector.state().freezes
        if self._options.decision == "promote" and freezes:
            raise DemoError(
                f"Promotions are frozen {freezes[-1]}. DECISION=promote would be refused. To resume them: "
                'make resume REASON="..."'
            )

    def _require_plantable(self, unfinished: list[str]) -> None:
        """Require that no release in progress reads a store without the wanted damage.

        Raises:
            DemoError: one does.
        """
        wanted = self._options.damage
        if unfinished and wanted not in {None, self._shop.damage}:
            raise DemoError(
                f"The release {unfinished[0]} is in progress and reads the store, so DAMAGE={wanted} cannot be planted "
                "now. Let it end first: make demo without DAMAGE continues it."
            )

    def _fill_store(self) -> None:
        """Fill the store while services start; different data waits until nothing reads the old store."""
        if not self._shop.is_other:
            self._shop.fill()

    def _replace_store(self, running: Running) -> None:
        """End the releases that an earlier demo left unfinished, then replace the store with different data.

        Raises:
            DemoError: a release that a person has started is under way.
        """
        with AirflowApi(running.airflow_url, "admin") as admin:
            unfinished = admin.unfinished_runs()
            own = [run_id for run_id in unfinished if not is_of_demo(run_id)]
            if own:
                raise DemoError(
                    f"A release of other data is under way: {', '.join(own)}, not started by make demo. End it "
                    f"at {running.airflow_url}, leave DATA out, or use another folder: make demo DEMO_HOME=.demo-2"
                )
            self._abandon(admin, unfinished)
        self._shop.fill()

    def _abandon(self, admin: AirflowApi, runs: list[str]) -> None:
        for run_id in runs:
            self._console.step(f"ending the unfinished release {run_id}: it is of other data")
            admin.fail_run(run_id)
        patience = self._services.patience(ABANDON_SECONDS)
        while any(admin.run_state(run_id) not in RUN_ENDED for run_id in runs):
            if patience.is_over([progress_of(admin.tasks(run_id)) for run_id in runs]):
                raise DemoError(f"The releases {', '.join(runs)} do not end. Remove the demo: make clean")
            time.sleep(1)
        for run_id in runs:
            admin.fail_run(run_id)  # again: its teardown succeeded, which makes Airflow mark the run as successful

    def _linger(self, running: Running) -> None:
        self._console.say(f"\nAirflow stays at {running.airflow_url} until you press Ctrl-C.")
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(1)
                self._services.require_alive()

    def _finish(self) -> None:
        if self._leave and self._services.are_running:
            self._console.say("Everything is left running; stop it with: make stop")
            return
        # A second Ctrl-C must not interrupt the clean-up.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if self._services.are_running:
            self._console.step("stopping Airflow and the emulator")
        self._services.stop()


def stop(home: Home, console: Console) -> None:
    """Stop what runs in a demo folder."""
    was_running = Services(home, console).stop()
    console.say("stopped" if was_running else f"nothing of {home.path} was running")


@contextmanager
def only_one(home: Home) -> Iterator[None]:
    """Require that no other ``make demo`` works in the same folder.

    Raises:
        DemoError: another one does.
    """
    home.path.mkdir(parents=True, exist_ok=True)
    with (home.path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise DemoError(
                f"Another make demo works in {home.path}. End it with Ctrl-C there, "
                "or use another folder: make demo DEMO_HOME=.demo-2"
            ) from err
        yield
