"""Services that the tests of several folders share: started once, and stopped after the last of these tests."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

T = TypeVar("T")
RUNNING = pytest.StashKey[ExitStack]()


def keep_running(config: pytest.Config, services: AbstractContextManager[T]) -> T:
    """Start services, and let them run until `stop`."""
    return config.stash.setdefault(RUNNING, ExitStack()).enter_context(services)


def stop(config: pytest.Config) -> None:
    """Stop all services that run, the newest first."""
    config.stash.setdefault(RUNNING, ExitStack()).close()
