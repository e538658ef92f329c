"""What every test has: a marker named after its folder, so that `pytest -m unit` takes one kind."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = item.path.relative_to(TESTS).parts[0]
        item.add_marker(getattr(pytest.mark, kind))
