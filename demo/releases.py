"""One release from a user's view: trigger the DAG, watch its tasks, answer or wait for the answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from demo.airflow_api import RUN_ENDED, AirflowApi, Task, progress_of
from demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from demo.console import Console
    from demo.homes import Home
    from demo.options import Decision
    from demo.patience import Patience
    from demo.services import Services

PREFIX = "demo-"
APPROVAL = "request_approval"
AWAITING = "awaiting_input"
# A scheduler may be killed before it logs that the task waits; its successor loses no answer.
ANSWER_ANYWAY_SECONDS = 60.0
POLL_SECONDS = 1.0
ANSWERS = {"promote": "Promote", "reject": "Reject"}
SHOWN = frozenset({"running", "deferred", AWAITING, "success", "failed", "skipped", "upstream_failed", "up_for_retry"})


@dataclass
class Outcome:
    """The outcome of a run.

    Attributes:
        run_id: of the DAG run.
        state: ``success`` or ``failed``.
        tasks: state and seconds by task.
        answers: how many times the approval was answered.
    """

    run_id: str
    state: str = "running"
    tasks: dict[str, Task] = field(default_factory=dict)
    answers: int = 0


class ReleaseRun:
    """Watches one run to its end.

    Args:
        api: as the user who answers.
        home: for the paths of logs.
        console: gets a line per change of a task.
        services: which the run needs, with the scheduler's log.
        timeout_minutes: how long the run may go without a change of a task, not counting the wait for a person.
    """

    def __init__(
        self,
        api: AirflowApi,
        home: Home,
        console: Console,
        *,
        services: Services,
        timeout_minutes: float,
    ) -> None:
        self._api = api
        self._home = home
        self._console = console
        self._services = services
        self._timeout = timeout_minutes * 60
        self._seen: dict[str, tuple[str, int]] = {}
        self._asked: dict[int, Patience] = {}
        self._answered: set[int] = set()

    def follow(self, run_id: str, decision: Decision | None, comment: str) -> Outcome:
        """Watch until the run ends; answer with ``decision``, or tell a person where to answer.

        Raises:
            DemoError: it takes too long, or Airflow ends.
        """
        outcome = Outcome(run_id)
        patience = self._services.patience(self._timeout)
        while outcome.state not in RUN_ENDED:
            time.sleep(POLL_SECONDS)
            self._services.require_alive()
            outcome.state = self._api.run_state(run_id)
            tasks = self._api.tasks(run_id)
            self._show(run_id, tasks)
            outcome.tasks = {task.name: task for task in tasks}
            asked = outcome.tasks.get(APPROVAL)
            waiting = asked is not None and asked.state == AWAITING
            if asked is not None and waiting:
                self._attend(run_id, asked, decision, comment)
            if waiting and not decision:
                patience.renew()
            if patience.is_over(progress_of(tasks)):
                raise DemoError(self._explain_timeout(run_id, tasks))
        outcome.answers = len(self._answered)
        return outcome

    def explain_failures(self, outcome: Outcome) -> list[str]:
        """Return the error of each failed task and the path of its log."""
        return [self._explain(outcome.run_id, task) for task in outcome.tasks.values() if task.state == "failed"]

    def _attend(self, run_id: str, task: Task, decision: Decision | None, comment: str) -> None:
        first = task.attempt not in self._asked
        anyway = self._asked.setdefault(task.attempt, self._services.patience(ANSWER_ANYWAY_SECONDS))
        if first and len(self._asked) > 1:
            self._console.step(f"{APPROVAL} asks again (try {task.attempt})")
        if decision is None:
            if first:
                self._invite(run_id)
            return
        if task.attempt in self._answered:
            return
        is_parked = self._services.scheduler_log.has_parked(self._api.dag_id, run_id, task.name, task.attempt)
        if not is_parked and not anyway.is_over():
            return
        answer = ANSWERS[decision]
        if self._api.answer(run_id, task.name, answer, comment):
            self._console.step(f"answered {answer!r}; the question was: {self._read_verdict(run_id, task.name)}")
        self._answered.add(task.attempt)

    def _read_verdict(self, run_id: str, task: str) -> str:
        """Return the heading of a question: the verdict in words."""
        lines = self._api.question_body(run_id, task).splitlines()
        return next((line for line in lines if line.startswith("#")), "").lstrip("# ").replace("*", "")

    def _invite(self, run_id: str) -> None:
        self._console.say(
            f"""
        The candidate waits for your decision:

          open   {self._api.url}/dags/{self._api.dag_id}/runs/{run_id}/tasks/{APPROVAL}/required_actions
          user   admin   password  admin    (or approver / approver; viewer / viewer may only look)
          then   read the evidence, click Promote or Reject
"""
        )

    def _show(self, run_id: str, tasks: list[Task]) -> None:
        for task in tasks:
            now = (task.state, task.attempt)
            if task.state not in SHOWN or self._seen.get(task.name) == now:
                continue
            self._seen[task.name] = now
            attempt = f"  (try {task.attempt})" if task.attempt > 1 else ""
            seconds = f"{task.seconds:7.1f} s" if task.seconds is not None and task.state in RUN_ENDED else ""
            self._console.step(f"{task.name:<18} {task.state:<14}{seconds}{attempt}".rstrip())
            if task.state == "up_for_retry":
                self._console.say(_indent(self._explain(run_id, task)))

    def _explain(self, run_id: str, task: Task) -> str:
        events = self._api.task_log(run_id, task.name, task.attempt)
        log = self._home.task_log(self._api.dag_id, run_id, task.name, task.attempt)
        return f"{task.name}: {last_error(events) or 'its log has no error'}\nlog: {log}"

    def _explain_timeout(self, run_id: str, tasks: list[Task]) -> str:
        unfinished = [f"{t.name} ({t.state})" for t in tasks if t.state in SHOWN - {"success", "skipped"}]
        return (
            f"No task of the release {run_id} has changed for {self._timeout / 60:g} minutes; "
            f"unfinished: {', '.join(unfinished) or 'all'}. "
            f"Look into {self._home.task_logs}, or allow more time: make demo TIMEOUT=60"
        )


def is_of_demo(run_id: str) -> bool:
    """Say whether `make demo` has started a run, not a person or a schedule."""
    return run_id.startswith(PREFIX)


def new_run_id(now: datetime | None = None) -> str:
    """Return an id for a run that needs no quoting in a URL."""
    return f"{PREFIX}{now or datetime.now(UTC):%Y%m%dT%H%M%S}"


def last_error(events: list[Mapping[str, object]] | list[dict[str, object]]) -> str | None:
    """Return the last error of a task's log, as ``ErrorClass: message``."""
    for event in reversed(events):
        details = event.get("error_detail")
        if isinstance(details, list) and details:
            error = details[0]
            return f"{error.get('exc_type')}: {error.get('exc_value')}"
        if str(event.get("level", "")).lower() in {"error", "critical"}:
            return str(event.get("event"))
    return None


def _indent(text: str) -> str:
    return "\n".join(f"        {line}" for line in text.splitlines())
