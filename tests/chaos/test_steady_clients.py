"""Clients that ask production fifty times a second while it is switched, switched back, and fails to switch."""

import threading
import time
from contextlib import contextmanager

import pytest
from steps.factories import USERS, Run

from recdeploy_ops.domain.errors import PromotionFailedError
from recdeploy_ops.domain.records import Decision
from recdeploy_ops.rollout.production import find_production

CLIENTS = 5
RATE = 50  # requests a second, together


class Clients:
    """What clients saw: (when they asked, the version that answered), and what went wrong."""

    def __init__(self, ask):
        self._ask = ask
        self.answers = []
        self.errors = []
        self._stop = threading.Event()

    def run(self, number):
        while not self._stop.is_set():
            asked = time.monotonic()
            try:
                reply = self._ask({"user_id": USERS[number % len(USERS)]})
                self.answers.append((asked, reply.body["model_version"]))
            except Exception as err:  # noqa: BLE001 - whatever a client meets is counted
                self.errors.append(repr(err))
            time.sleep(max(0.0, CLIENTS / RATE - (time.monotonic() - asked)))

    def stop(self):
        self._stop.set()

    def versions_since(self, moment):
        return {version for asked, version in self.answers if asked >= moment}


@contextmanager
def clients_of(context):
    asks = [context.deployments.asker(find_production(context), timeout_seconds=10) for _ in range(CLIENTS)]
    clients = [Clients(ask) for ask in asks]
    threads = [threading.Thread(target=client.run, args=(number,)) for number, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stop()
        for thread in threads:
            thread.join()


def test_no_request_is_lost_and_no_old_answer_comes_after_a_switch_is_declared_done(context, emulator, tmp_path):
    emulator.set_timings(update=1.0)
    Run(context, "run-1", tmp_path).release_fully()
    second = Run(context, "run-2", tmp_path, shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)

    with clients_of(context) as clients:
        emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
        with pytest.raises(PromotionFailedError):
            second.promote()
        failed = time.monotonic()
        second.close()
        second.plan()
        time.sleep(0.5)
        assert set().union(*(client.versions_since(failed) for client in clients)) == {1}
        second.promote()
        promoted = time.monotonic()
        second.close()
        time.sleep(0.5)
        assert set().union(*(client.versions_since(promoted) for client in clients)) == {2}
        Run(context, "back", tmp_path).roll_back()
        rolled_back = time.monotonic()
        time.sleep(0.5)

    assert [error for client in clients for error in client.errors] == []
    assert set().union(*(client.versions_since(rolled_back) for client in clients)) == {1}
    total = sum(len(client.answers) for client in clients)
    assert total > RATE * 2
