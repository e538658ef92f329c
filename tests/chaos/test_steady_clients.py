"""Clients that send fifty requests a second while production is switched, switched back, and fails to switch."""

import threading
import time
from contextlib import contextmanager

import pytest
from services import wait_for
from steps.factories import USERS

from recdeploy_ops.domain.errors import PromotionFailedError
from recdeploy_ops.rollout.production import find_production

# The beginnings of the chaos tests are shared: each must have the neighbours.
pytestmark = pytest.mark.usefixtures("neighbours")
CLIENTS = 5
RATE = 50  # requests a second, together


class Client:
    """A client: its answers (time of the request, version that answered) and its errors."""

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
            except Exception as err:  # noqa: BLE001 - every error of a client counts
                self.errors.append(repr(err))
            time.sleep(max(0.0, CLIENTS / RATE - (time.monotonic() - asked)))

    def stop(self):
        self._stop.set()

    def asked_since(self, moment):
        return [version for asked, version in self.answers if asked >= moment]


@contextmanager
def clients_of(context):
    asks = [context.deployments.asker(find_production(context).url, timeout_seconds=10) for _ in range(CLIENTS)]
    clients = [Client(ask) for ask in asks]
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


def versions_from_now_on(clients):
    """Return the versions that answer the requests from now on, once every client has an answer."""
    now = time.monotonic()
    wait_for("an answer to every client", lambda: all(client.asked_since(now) for client in clients))
    return {version for client in clients for version in client.asked_since(now)}


def test_no_request_is_lost_and_no_old_answer_comes_after_a_switch_is_declared_done(
    context, emulator, run, approved_here
):
    emulator.set_timings(update=1.0)

    with clients_of(context) as clients:
        emulator.fail_next("UpdateModelDeployment", kind="work_request_failed")
        with pytest.raises(PromotionFailedError):
            approved_here.promote()
        assert versions_from_now_on(clients) == {1}
        approved_here.close()
        approved_here.plan()
        began = time.monotonic()
        approved_here.promote()
        assert versions_from_now_on(clients) == {2}
        assert {version for client in clients for version in client.asked_since(began)} == {1, 2}
        approved_here.close()
        run("back").roll_back()
        assert versions_from_now_on(clients) == {1}

    assert [error for client in clients for error in client.errors] == []
