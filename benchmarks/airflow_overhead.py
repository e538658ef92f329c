"""Measure what Airflow and the steps around it add to a retrain, in releases that the demo's own code runs.

    python -m benchmarks.airflow_overhead --releases 2

The first release begins just after Airflow has started and finds nothing in production. The last one is the table: its
services are warm and a champion serves. What counts as overhead is the time of the run without training, without what
OCI itself takes (its work requests), and without the wait for an answer. The CPU time is that of all of Airflow, its
tasks and training included: on a busy machine it says more than the clock.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import closing, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil  # type: ignore[import-untyped]  # its stubs are not in the lock

from demo.console import Console
from demo.errors import DemoError
from demo.homes import DAG_ID, Home
from demo.options import Options
from demo.processes import Service
from demo.sessions import Session, stop
from recdeploy_ops.oci_clients.sessions import OciProfile, OciSession

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the log of a task says at each of its process's turns (Airflow 3.3.2).
STARTED, DONE = "::group::Pre Execute", "::endgroup::"  # the latter first when set up, then at the end
TRAINING, TRAINED = "Training on ", "The operator has ended"
COLUMNS = ("starts", "queued", "start_up", "work", "parked", "oci_calls", "xcom_bytes")
PREDICT = "predict"


@dataclass
class Process:
    """One process of a task: it starts, is set up, works, and ends or parks the task."""

    started: datetime
    ready: datetime | None = None
    ended: datetime | None = None


@dataclass
class Passage:
    """One task of a run, from the log of its only try."""

    task: str
    processes: list[Process] = field(default_factory=list)
    training: float = 0.0

    @property
    def started(self) -> datetime:
        """Return when its first process was started."""
        return self.processes[0].started

    @property
    def ended(self) -> datetime:
        """Return when its last process was done."""
        return self.processes[-1].ended or self.started


def main() -> None:
    """Run the releases, print the table of the last, and all figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--releases", type=int, default=2)
    figures = measure(parser.parse_args().releases)
    sys.stderr.write("\n".join(table(figures[f"release {len(figures)}"])) + "\n")
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def measure(releases: int = 2) -> dict[str, Any]:
    """Return the figures of each of several releases in a row, all promoted, in a demo of their own.

    Raises:
        DemoError: a release did not end as it was decided.
    """
    with tempfile.TemporaryDirectory(prefix="recdeploy-bench-") as name, redirect_stdout(sys.stderr):
        home = Home(Path(name))
        try:
            return {f"release {number}": _release(home) for number in range(1, releases + 1)}
        finally:
            stop(home, Console())


def table(figures: dict[str, Any]) -> list[str]:
    """Return the figures of a release as lines: the tasks in their order, then the sums."""
    rows = {**figures["tasks"], "sum": figures["sum"]}
    lines = [f"{'task':<20}" + "".join(f"{column:>11}" for column in COLUMNS)]
    lines += [f"{task:<20}" + "".join(f"{row[column]:>11}" for column in COLUMNS) for task, row in rows.items()]
    return lines + [f"{name:<20}{value:>11}" for name, value in figures.items() if name not in {"tasks", "sum"}]


def _release(home: Home) -> dict[str, Any]:
    used = _cpu_seconds(home)
    if Session(Options(home=home.path, decision="promote", keep=True), Console()).run():
        raise DemoError(f"The release was not promoted; {home.summary} says why.")
    used = _cpu_seconds(home) - used
    run_id = json.loads(home.summary.read_text(encoding="utf-8"))["run_id"]
    passages = sorted(_passages(home, run_id), key=lambda passage: passage.started)
    with closing(sqlite3.connect(f"{(home.airflow / 'airflow.db').as_uri()}?mode=ro", uri=True)) as database:
        began, ended = _one(database, "SELECT queued_at, end_date FROM dag_run WHERE run_id = ?", run_id)
        asked, answered = _one(
            database,
            "SELECT created_at, responded_at FROM hitl_detail JOIN task_instance ON ti_id = id WHERE run_id = ?",
            run_id,
        )
        xcoms = _xcoms(database, run_id)
    calls = _calls(home, passages)
    tasks: dict[str, dict[str, float]] = {}
    free = _utc(began)
    for passage in passages:
        counts = {"oci_calls": calls[passage.task], "xcom_bytes": xcoms[passage.task]}
        tasks[passage.task] = {**_times(passage, free), **counts}
        free = passage.ended
    total = _seconds(_utc(began), _utc(ended))
    training = sum(passage.training for passage in passages)
    serving = _oci_seconds(home, _utc(began), _utc(ended))
    answer = _seconds(_utc(asked), _utc(answered))
    return {
        "tasks": tasks,
        "sum": {column: round(sum(row[column] for row in tasks.values()), 2) for column in COLUMNS},
        "total": round(total, 2),
        "training": round(training, 2),
        "OCI at work": round(serving, 2),
        "answer awaited": round(answer, 2),
        "overhead": round(total - training - serving - answer, 2),
        "CPU of Airflow": round(used, 2),
    }


def _cpu_seconds(home: Home) -> float:
    """Return what Airflow's processes, and those of its tasks that have ended, have used of all processors so far."""
    seconds = 0.0
    for process in Service("airflow", home.path).processes():
        with suppress(psutil.NoSuchProcess):
            seconds += sum(
                process.cpu_times()[:4]
            )  # user and system, its own and those of its children that have ended
    return seconds


def _passages(home: Home, run_id: str) -> Iterable[Passage]:
    for folder in (home.task_logs / f"dag_id={DAG_ID}" / f"run_id={run_id}").iterdir():
        task = folder.name.removeprefix("task_id=")
        tries = sorted(folder.glob("attempt=*.log"))
        tries = [path for path in tries if ".trigger." not in path.name]
        if len(tries) != 1:
            raise DemoError(f"{task} was tried {len(tries)} times: such a release is not measured.")
        passage = Passage(task)
        begun = None
        for line in tries[0].read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            at, text = datetime.fromisoformat(event["timestamp"]), str(event["event"])
            _note(passage, at, text)
            if text.startswith(TRAINING):
                begun = at
            elif begun and text.startswith(TRAINED):
                passage.training = _seconds(begun, at)
        if passage.processes:
            yield passage


def _note(passage: Passage, at: datetime, text: str) -> None:
    """Take a turn of the task's process over, where the event is one."""
    if text == STARTED:
        passage.processes.append(Process(at))
    elif text == DONE and passage.processes:
        process = passage.processes[-1]
        if process.ready is None:
            process.ready = at
        else:
            process.ended = at


def _times(passage: Passage, free: datetime) -> dict[str, float]:
    """Return the seconds of a task's parts.

    Args:
        passage: the task.
        free: when the task before it was done.
    """
    starts = passage.processes
    done = [(process.ready or process.started, process.ended or process.started) for process in starts]
    return {
        "starts": len(starts),
        "queued": round(_seconds(free, passage.started), 2),
        "start_up": round(sum(_seconds(p.started, ready) for p, (ready, _) in zip(starts, done, strict=True)), 2),
        "work": round(sum(_seconds(*pair) for pair in done), 2),
        "parked": round(
            sum(_seconds(ended, after.started) for (_, ended), after in zip(done, starts[1:], strict=False)), 2
        ),
    }


def _calls(home: Home, passages: list[Passage]) -> Counter[str]:
    """Return how often each task has called OCI, its deployments' URLs apart, its trigger included."""
    found: list[dict[str, Any]] = httpx.get(
        f"{_extra(home)['service_endpoint']}/_emulator/calls", trust_env=False
    ).json()
    counts: Counter[str] = Counter()
    for call in found:
        at = datetime.fromisoformat(call["time"])
        for passage in passages:
            if passage.started <= at <= passage.ended and PREDICT not in str(call["operation"]).lower():
                counts[passage.task] += 1
    return counts


def _oci_seconds(home: Home, began: datetime, ended: datetime) -> float:
    """Return how long OCI's work requests of a run have taken in all."""
    profile = OciProfile.from_fields(_extra(home), source="the demo")
    found = OciSession(profile).data_science.list_work_requests(profile.compartment_id, limit=1000).data
    mine = [work for work in found if work.time_finished and began <= work.time_accepted <= ended]
    return sum(_seconds(work.time_accepted, work.time_finished) for work in mine)


def _extra(home: Home) -> dict[str, str]:
    variables = json.loads(home.environment.read_text(encoding="utf-8"))
    extra: dict[str, str] = json.loads(variables["AIRFLOW_CONN_OCI_DEFAULT"])["extra"]
    return extra


def _xcoms(database: sqlite3.Connection, run_id: str) -> Counter[str]:
    rows = database.execute("SELECT task_id, length(value) FROM xcom WHERE run_id = ?", (run_id,))
    sizes: Counter[str] = Counter()
    for task, size in rows:
        sizes[task] += size
    return sizes


def _one(database: sqlite3.Connection, query: str, run_id: str) -> tuple[str, str]:
    first, second = database.execute(query, (run_id,)).fetchone()
    return first, second


def _utc(text: str) -> datetime:
    """Return a time of Airflow's database, which leaves its zone out."""
    return datetime.fromisoformat(f"{text}+00:00")


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


if __name__ == "__main__":
    main()
