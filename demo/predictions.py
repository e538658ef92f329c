"""``make predict``: requests recommendations from the demo's production deployment with a signed request."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from demo.cloud import Cloud
from demo.errors import DemoError
from recdeploy_ops.settings import load_settings

if TYPE_CHECKING:
    from demo.homes import Home
    from demo.services import Services


def predict(home: Home, services: Services, user: str | None) -> str:
    """Request a user's recommendations from production, and return the request and the answer.

    Args:
        home: the demo's folder.
        services: of that folder.
        user: a user's id; by default the first of the shop.

    Raises:
        DemoError: no demo runs, nothing is in production, or production does not answer.
    """
    ready = services.emulator_ready()
    if ready is None:
        raise DemoError(f"No demo runs in {home.path}. Start one that keeps running: make demo KEEP=1 DECISION=promote")
    cloud = Cloud(ready)
    production = cloud.production()
    if production is None:
        raise DemoError("Nothing is in production yet. Promote a candidate: make demo KEEP=1 DECISION=promote")
    user, top_k = user or _first_user(home), load_settings(home.settings).training.top_k
    request, answer = {"user_id": user, "top_k": top_k}, cloud.recommend(production, user, top_k)
    shown = json.dumps(answer, indent=2, ensure_ascii=False)
    return f"POST {production.url}/predict\n{json.dumps(request, ensure_ascii=False)}\n\n{shown}"


def _first_user(home: Home) -> str:
    with closing(sqlite3.connect(home.store)) as shop:
        (user,) = shop.execute("SELECT user_id FROM users ORDER BY rowid").fetchone()
    return str(user)
