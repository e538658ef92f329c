"""Keeps the question that Airflow shows the one that was asked last.

Airflow 3.3.2 keeps the text of a task's first try: after a retry or a clear, the person reads the evidence of an
artifact that is no longer the one to be promoted (`upsert_hitl_detail` in its execution API returns the row that it
finds). This middleware of the API server lets Airflow authenticate and store the request, and then writes the text
that was really sent. Questions of other DAGs stay as Airflow handles them.
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
OURS = (list(PROMOTION_DECISIONS), list(ROLLBACK_DECISIONS))  # by its options a question of this project is known


class CurrentQuestions:
    """ASGI middleware around Airflow's API server.

    Args:
        app: what it wraps.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass everything through; rewrite the stored question once Airflow has accepted it."""
        found = ROUTE.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        body = bytearray()

        async def listen() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == CREATED:
                await asyncio.to_thread(_store, UUID(found[1]), json.loads(body))
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
