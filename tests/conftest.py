"""What every test has: a marker of its kind, a place in the order, and a way to tell a figure to a person."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

TESTS = Path(__file__).parent
# The folders, from the quickest to that whose tests take the longest; the last two share one installation of Airflow.
RANKS = {
    "unit": 0,
    "commands": 1,
    "emulator": 2,
    "airflow": 3,
    "steps": 4,
    "chaos": 5,
    "training": 6,
    "scheduler": 7,
    "browser": 7,
}
SHARED = ("tests/scheduler/", "tests/browser/")
# Nothing is asked through a proxy; and with each request all variables would be searched for one, a tenth of its time.
os.environ |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its folder's name, so that `pytest -m unit` takes one kind, and put them in order.

    In one process the quickest come first: who waits knows soon. In several the longest do: none is left at the end.
    """
    for item in items:
        item.add_marker(getattr(pytest.mark, kind_of(item)))
    items.sort(key=lambda item: RANKS[kind_of(item)], reverse=hasattr(config, "workerinput"))


def kind_of(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]


class OneInstallation(LoadFileScheduling):
    """Tests of a file stay in one process, and so do all that share the installation."""

    def _split_scope(self, nodeid: str) -> str:
        return "installation" if nodeid.startswith(SHARED) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return OneInstallation(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Show a person a text at the end of the tests, whichever process this one ran in."""
    return lambda text: record_property("told", text)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    calls = [report for reports in terminalreporter.stats.values() for report in reports if is_call(report)]
    told = [text for report in calls for name, text in report.user_properties if name == "told"]
    if told:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(told))


def is_call(report: object) -> bool:
    return isinstance(report, pytest.TestReport) and report.when == "call"
