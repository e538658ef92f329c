"""Which changes the web server refuses because another site let a browser send them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recdeploy_ops.ui.origins import SameOrigin, is_from_here

if TYPE_CHECKING:
    from collections.abc import Mapping

DAGS = Path(__file__).parents[2] / "dags"
TRIGGER = "/api/v2/dags/recommender_rollback/dagRuns"
COOKIE = {"cookie": "_token=x", "host": "airflow.example"}
PUBLIC = "https://airflow.example/team"


def raw(headers: Mapping[str, str]) -> dict[str, bytes]:
    return {name: value.encode() for name, value in headers.items()}


def status_of(path: str, method: str = "POST", headers: Mapping[str, str] = COOKIE, kind: str = "http") -> int:
    """Return the status of a request; 200 stands for what Airflow would answer."""
    sent: list[Any] = []

    async def airflow(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "path": path,
        "method": method,
        "headers": [(n.encode(), v.encode()) for n, v in headers.items()],
    }
    asyncio.run(SameOrigin(airflow)(scope, receive, send))
    return int(sent[0]["status"])


@pytest.mark.parametrize("dag_id", sorted(path.stem for path in DAGS.glob("recommender_*.py")))
def test_every_dag_of_this_project_is_guarded(dag_id: str) -> None:
    assert status_of(f"/api/v2/dags/{dag_id}/dagRuns") == 403


@pytest.mark.parametrize(
    "path",
    [
        TRIGGER,
        f"/team/airflow{TRIGGER}",
        "/api/v2/dags",
        "/api/v2/dags/~/dagRuns/~/clear",
        "/api/v2/dags/basket_retrain",
        "/api/v2/dags/recommender_retrain/dagRuns/r/taskInstances/request_approval/-1/hitlDetails",
        "/api/v2/dags/recommender_retrain/clearTaskInstances",
        "/api/v2/dags/recommender_retrain/dagRuns/manual\n1",
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_a_change_without_an_origin_is_refused(path: str, method: str) -> None:
    assert status_of(path, method) == 403


@pytest.mark.parametrize("path", ["/api/v2/dags/etl_daily/dagRuns", "/api/v2/connections", "/auth/token", "/"])
def test_changes_of_others_are_not_looked_at(path: str) -> None:
    assert status_of(path) == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_is_not_looked_at(method: str) -> None:
    assert status_of(TRIGGER, method) == 200


def test_a_websocket_is_not_looked_at() -> None:
    assert status_of(TRIGGER, kind="websocket") == 200


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({"host": "airflow.example"}, True),  # nobody, whom Airflow refuses
        ({**COOKIE, "authorization": "Bearer x"}, True),
        ({**COOKIE, "sec-fetch-site": "same-origin"}, True),
        ({**COOKIE, "sec-fetch-site": "same-site"}, False),
        ({**COOKIE, "sec-fetch-site": "cross-site"}, False),
        ({**COOKIE, "sec-fetch-site": "none"}, False),
        ({**COOKIE, "sec-fetch-site": "cross-site", "origin": "https://airflow.example"}, False),
        (COOKIE, False),
        ({**COOKIE, "origin": "null"}, False),
        ({**COOKIE, "origin": ""}, False),
        ({**COOKIE, "origin": "http://airflow.example"}, True),
        ({**COOKIE, "origin": "https://airflow.example"}, True),
        ({**COOKIE, "origin": "https://airflow.example:443"}, True),
        ({**COOKIE, "origin": "https://airflow.example:8443"}, False),
        ({**COOKIE, "origin": "https://airflow.example.evil"}, False),
        ({**COOKIE, "origin": "https://evil.example"}, False),
        ({**COOKIE, "origin": "https://airflow.example:port"}, False),
        ({**COOKIE, "origin": "file://airflow.example"}, False),
    ],
)
def test_what_browsers_say_decides(headers: dict[str, str], is_allowed: bool) -> None:
    assert is_from_here(raw(headers)) is is_allowed


@pytest.mark.parametrize(
    ("base_url", "origin", "is_allowed"),
    [
        (PUBLIC, "https://airflow.example", True),
        (PUBLIC, "http://airflow.example", False),
        (PUBLIC, "https://other.example", False),
        ("", "https://airflow.example", False),
    ],
)
def test_behind_a_proxy_the_base_url_counts(
    monkeypatch: pytest.MonkeyPatch, base_url: str, origin: str, is_allowed: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)

    assert is_from_here(raw({"cookie": "_token=x", "host": "10.0.0.7:8080", "origin": origin})) is is_allowed
