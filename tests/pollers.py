"""A client that asks production again and again while something happens to it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from demo.errors import DemoError

if TYPE_CHECKING:
    from demo.cloud import Cloud, Endpoint


class Poller:
    """A client that sends several requests a second to production while a block lasts.

    Attributes:
        versions: the versions that answered, in order, without repetitions.
        errors: the errors, as texts.
        answers: the number of answers.
    """

    def __init__(self, cloud: Cloud, endpoint: Endpoint, user: str, *, every: float = 0.15) -> None:
        self.versions: list[int] = []
        self.errors: list[str] = []
        self.answers = 0
        self._ask = lambda: cloud.recommend(endpoint, user, 5)["model_version"]
        self._every = every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._every, time.monotonic() - 1)
            try:
                version = self._ask()
            except (DemoError, KeyError) as err:
                self.errors.append(repr(err))
                continue
            self.answers += 1
            if self.versions[-1:] != [version]:
                self.versions.append(version)
