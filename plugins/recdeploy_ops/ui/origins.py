"""Refuse changes of this project's DAGs that another site lets a browser send.

Airflow 3.3.2 signs people in with a cookie, and does not look at where a request comes from. The cookie is
``SameSite=Lax``, which keeps other sites out, but not other servers of the same site: another port, or another name of
the same company. This middleware of the API server looks at what browsers themselves say: ``Sec-Fetch-Site``, which
they send to https and localhost, or else ``Origin``. A request with a token in ``Authorization`` is not a browser's.

It reads nothing, and other DAGs are not its business.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from recdeploy_ops.ui.questions import App, Message, Receive, Send

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Triggering, clearing, answering an approval, pausing; "~" stands for any DAG. Below any base URL.
ROUTE = re.compile(
    r".*/api/v2/dags(/?|/(~|[A-Za-z0-9_-]+_(retrain|rollback|adopt|freeze|housekeeping|monitor))(/.*)?)", re.DOTALL
)
REFUSAL = "This change was not sent by a page of this Airflow, and is refused."
PORTS = {"http": 80, "https": 443}


class SameOrigin:
    """ASGI middleware around Airflow's API server.

    Args:
        app: the wrapped application.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass everything through but changes of this project's DAGs from elsewhere: these are answered with 403."""
        is_change = scope["type"] == "http" and scope["method"] not in SAFE and ROUTE.fullmatch(scope["path"])
        if not is_change or is_from_here({name.decode("latin-1"): value for name, value in scope["headers"]}):
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"detail": REFUSAL}).encode()})


def is_from_here(raw: dict[str, bytes]) -> bool:
    """Return whether a request was sent by a page of this Airflow, or by a program with its own token, or by nobody.

    Args:
        raw: the headers by their names in lower case.
    """
    headers = {name: value.decode("latin-1").strip() for name, value in raw.items()}
    if "authorization" in headers or "cookie" not in headers:
        return True
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = _origin_of(headers.get("origin", ""))
    return origin is not None and origin in _own_origins(headers.get("host", ""), origin[0])


def _own_origins(host: str, scheme: str) -> set[tuple[str, str, int] | None]:
    """Return this Airflow's origins: as the request names it, and as ``[api] base_url`` does, behind a proxy."""
    from airflow.configuration import conf

    return {_origin_of(f"{scheme}://{host}"), _origin_of(conf.get("api", "base_url", fallback=""))}


def _origin_of(url: str) -> tuple[str, str, int] | None:
    """Return the origin of a URL: scheme, host and port; None if it is not the URL of a web page."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme]
