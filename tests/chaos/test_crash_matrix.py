"""Crash anywhere: every call of a release, times every fault; the next tries end like an undisturbed release.

`make test` takes a sample of the cases, `make test-chaos` all of them (CHAOS_MATRIX=full). CHAOS_EVERY=7 takes
every seventh, CHAOS_ONLY="crash='timeout'" those of the chosen ones whose `Case` has this in its text.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chaos.scenarios import CRASHES, SCENARIOS

ROOT = Path(__file__).parents[2]
WORKERS = 2
FULL = os.environ.get("CHAOS_MATRIX") == "full"
EVERY = 1 if FULL else int(os.environ.get("CHAOS_EVERY", "113"))  # a prime, so that the sample holds every fault


@pytest.mark.timeout(7200 if FULL else 600)
def test_after_any_failed_call_the_next_tries_end_like_an_undisturbed_release(tmp_path, tell):
    started = time.monotonic()
    reports = run_workers(tmp_path)
    recorded = [line["recorded"] for lines in reports for line in lines if "recorded" in line]
    cases = [line for lines in reports for line in lines if "case" in line]
    failures = [f"{line['case']}: {line['failure']}" for line in cases if line["failure"]]
    tell(describe(recorded[0], cases, failures, time.monotonic() - started))

    assert all(calls == recorded[0] for calls in recorded), "the workers did not record the same calls"
    total = sum(sizes(recorded[0]).values())
    if not os.environ.get("CHAOS_ONLY"):
        assert len(cases) == -(-total // EVERY)
    assert not failures, "\n".join(failures)


def run_workers(folder):
    """Return the lines that each worker wrote."""
    processes = []
    for number in range(WORKERS):
        home = folder / str(number)
        home.mkdir()
        arguments = {"worker": number, "workers": WORKERS, "every": EVERY, "folder": home}
        command = [sys.executable, "-m", "chaos.crashes", "--only", os.environ.get("CHAOS_ONLY", "")]
        command += [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
        # The files that killed children leave are in the test's own folder.
        paths = os.pathsep.join(str(ROOT / name) for name in ("", "plugins", "tests"))
        environment = {name: os.environ[name] for name in ("PATH", "no_proxy")}
        environment |= {"PYTHONPATH": paths, "TMPDIR": str(home)}
        with (home / "lines").open("w") as lines, (home / "errors").open("w") as errors:
            processes.append(subprocess.Popen(command, stdout=lines, stderr=errors, env=environment, cwd=ROOT))
    codes = [process.wait() for process in processes]
    for number, code in enumerate(codes):
        assert code == 0, (folder / str(number) / "errors").read_text()[-4000:]
    return [
        [json.loads(line) for line in (folder / str(number) / "lines").read_text().splitlines()]
        for number in range(WORKERS)
    ]


def sizes(recorded):
    """Return how many cases each scenario has."""
    faults = {scenario.name: len(scenario.crashes or CRASHES) for scenario in SCENARIOS}
    return {name: faults[name] * sum(map(len, steps)) for name, steps in recorded.items()}


def describe(recorded, cases, failures, seconds):
    """Return the matrix in words: its size and its results."""
    calls, cases_of = {name: sum(map(len, steps)) for name, steps in recorded.items()}, sizes(recorded)
    total = sum(cases_of.values())
    lines = [f"crash matrix: {total} cases, {sum(calls.values())} recorded calls, {len(CRASHES)} faults"]
    lines += [f"  {name}: {count} calls, {cases_of[name]} cases" for name, count in calls.items()]
    share = "" if len(cases) == total else " (a sample; all: CHAOS_MATRIX=full)"
    lines.append(f"  {len(cases)} run{share}, {len(cases) - len(failures)} right, {seconds:.0f} s")
    return "\n".join(lines)
