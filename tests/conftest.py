"""Hooks for all tests: their markers, their order, their distribution over processes, and figures at the end."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shared_services
from xdist.scheduler import LoadFileScheduling

TESTS = Path(__file__).parent
# The folders, quickest tests first; the last two share one installation of Airflow.
RANKS = {
    "unit": 0,
    "commands": 1,
    "emulator": 2,
    "airflow": 3,
    "steps": 4,
    "chaos": 5,
    "training": 6,
    "postgres": 6,
    "scheduler": 7,
    "browser": 7,
}
SHARED = ("tests/scheduler/", "tests/browser/")
# Files of these folders with an installation of their own; those of the same name share it.
OTHER_INSTALLATIONS = {
    "tests/scheduler/test_weeks.py": "weeks",
    "tests/browser/test_report.py": "weeks",
    "tests/browser/test_rollback_page.py": "weeks",
    "tests/scheduler/test_guide_shop.py": "guide shop",
}
# No request goes through a proxy. Without this, each one searches all variables for a proxy, a tenth of its time.
os.environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")


def pytest_configure() -> None:
    """End as after Ctrl-C when a supervisor ends the tests, so that no service that they started stays behind."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its folder's name, so that `pytest -m unit` selects one folder, and sort the tests.

    In one process the quickest come first, for early feedback. In several the slowest do, so that none starts last.
    """
    for item in items:
        item.add_marker(getattr(pytest.mark, folder_of(item)))
    items.sort(key=lambda item: RANKS[folder_of(item)], reverse=hasattr(config, "workerinput"))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the shared services after the last test that may use them: an idle Airflow needs a sixth of a core."""
    if item.nodeid.startswith(SHARED) and not (nextitem and nextitem.nodeid.startswith(SHARED)):
        shared_services.stop(item.config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    shared_services.stop(session.config)  # also after an interruption


def folder_of(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]


class InstallationScheduling(LoadFileScheduling):
    """Keep the tests of a file in one process, and all tests that share an installation of Airflow."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return OTHER_INSTALLATIONS.get(file, "installation") if file.startswith(SHARED) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return InstallationScheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def no_waits_for_the_disk() -> Iterator[None]:
    """Let `os.fsync` do nothing: the tests kill processes, and no test cuts a machine's power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that prints a text at the end of the run, also from a worker process."""
    return lambda text: record_property("told", text)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    calls = [report for reports in terminalreporter.stats.values() for report in reports if is_call(report)]
    told = [text for report in calls for name, text in report.user_properties if name == "told"]
    if told:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(told))


def is_call(report: object) -> bool:
    return isinstance(report, pytest.TestReport) and report.when == "call"
