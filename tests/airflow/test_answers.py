"""Two answers to one question at the same moment: only the first is accepted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from recdeploy_ops.ui.answers import OneAnswer

QUESTION = "/api/v2/dags/recommender_retrain/dagRuns/r/taskInstances/request_approval/-1/hitlDetails"


class Racing:
    """Answers as Airflow does: it looks whether there is an answer, and a moment later stores one."""

    def __init__(self) -> None:
        self.answered: set[str] = set()
        self.together = self.most_together = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        status = 409 if scope["path"] in self.answered else 200
        for _ in range(5):
            await asyncio.sleep(0)
        if scope["method"] == "PATCH":
            self.answered.add(scope["path"])
        self.together -= 1
        await send({"type": "http.response.start", "status": status})


def statuses_of(app: Any, *requests: tuple[str, str]) -> list[int]:
    """Return the statuses of requests that are sent at the same moment."""

    async def ask(method: str, path: str) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await app({"type": "http", "method": method, "path": path, "headers": []}, None, send)
        return int(sent[0]["status"])

    async def ask_all() -> list[int]:
        return await asyncio.gather(*(ask(*request) for request in requests))

    return asyncio.run(ask_all())


def test_airflows_own_check_lets_both_pass() -> None:
    assert statuses_of(Racing(), *[("PATCH", QUESTION)] * 2) == [200, 200]


@pytest.mark.parametrize("path", [QUESTION, f"/team/airflow{QUESTION}", f"{QUESTION}/"])
def test_only_the_first_of_many_answers_is_accepted(path: str) -> None:
    assert sorted(statuses_of(OneAnswer(Racing()), *[("PATCH", path)] * 20)) == [200, *[409] * 19]


def test_the_same_question_below_a_base_url_is_the_same() -> None:
    racing = Racing()
    statuses_of(OneAnswer(racing), ("PATCH", QUESTION), ("PATCH", f"/team{QUESTION}"))

    assert racing.most_together == 1


def test_answers_to_other_questions_and_questions_themselves_do_not_wait() -> None:
    racing = Racing()
    paths = [QUESTION.replace("/r/", f"/r{number}/") for number in range(3)]

    assert statuses_of(OneAnswer(racing), *(("PATCH", path) for path in paths), ("GET", QUESTION)) == [200] * 4
    assert racing.most_together == 4


def test_an_answer_that_fails_lets_the_next_one_in() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise ConnectionError

    app = OneAnswer(failing)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            statuses_of(app, ("PATCH", QUESTION))
