"""Let Airflow show the question of the latest try.

Airflow 3.3.2 stores the question of a task's first try and ignores later ones (`upsert_hitl_detail` in its execution
API returns the existing row): after a retry or a clear, the person would read the evidence of an outdated artifact.
This middleware of the API server lets Airflow authenticate and store the request, and then stores the text that was
sent. It does not change questions of other DAGs.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from recdeploy_ops.domain.records import PROMOTION_DECISIONS, ROLLBACK_DECISIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Message, Receive, Send], Awaitable[None]]

ROUTE = re.compile(r".*/execution/hitlDetails/([0-9a-f-]{36})/?")
CREATED = 201
OURS = (list(PROMOTION_DECISIONS), list(ROLLBACK_DECISIONS))  # the options identify a question of this project


class CurrentQuestions:
    """ASGI middleware around Airflow's API server.

    Args:
        app: the wrapped application.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass everything through; rewrite the stored question after Airflow has accepted it."""
        route = ROUTE.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        body = bytearray()

        async def listen() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == CREATED:
                await asyncio.to_thread(_store, UUID(route[1]), json.loads(body))
            await send(message)

        await self._app(scope, listen, answer)


def _store(task_instance_id: UUID, question: dict[str, Any]) -> None:
    if question.get("options") not in OURS:
        return
    from airflow.models.hitl import HITLDetail
    from airflow.utils.session import create_session
    from sqlalchemy import update

    fields = {name: question[name] for name in ("subject", "body", "params") if name in question}
    with create_session() as session:
        session.execute(update(HITLDetail).where(HITLDetail.ti_id == task_instance_id).values(**fields))
