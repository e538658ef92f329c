"""Who may open what this project adds to Airflow's web server: every route, for every kind of user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from events import chain, complete, opened

from recdeploy_ops.context import utc_now
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.settings import load_settings
from recdeploy_ops.storage.keys import entry_key
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx import Response

pytestmark = pytest.mark.usefixtures("airflow_database")
DAG = "recommender_retrain"
OVERVIEW, SCRIPT, REPORT = f"/api/overview/{DAG}", "/static/page.js", f"/report/{DAG}/run-1"
PERIOD = f"/api/period/{DAG}?at=2026-03-02T04:00:00Z"
# What FastAPI would add unasked, and what does not exist.
ABSENT = ("/docs", "/redoc", "/openapi.json", "/static/", "/static/../web.py", "/static/web.py", "/api", "/")
ROLES = ("viewer", "user", "op", "admin")


@pytest.fixture(scope="module")
def web() -> Iterator[Any]:
    """A client of the routes, mounted as Airflow mounts them, and the manager that knows the users."""
    from airflow.api_fastapi.app import init_auth_manager
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from recdeploy_plugin import RecdeployPlugin

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of the tests, long enough for HS512" * 2)
        manager = init_auth_manager()
        server = FastAPI()
        for app in RecdeployPlugin.fastapi_apps:
            server.mount(app["url_prefix"], app["app"])
        yield TestClient(server, raise_server_exceptions=True), manager


@pytest.fixture
def get(web: Any, surroundings: Any) -> Callable[..., Response]:
    """Requests a path as a user of a role, or as nobody."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    client, manager = web
    surroundings.apply()

    def send(path: str, role: str | None, method: str = "GET") -> Response:
        headers = {}
        if role:
            token = manager.generate_jwt(SimpleAuthManagerUser(username=role, role=role))
            headers["Authorization"] = f"Bearer {token}"
        return client.request(method, f"/recdeploy{path}", headers=headers)

    return send


def paths_of(app: Any) -> set[str]:
    return {route.path for route in app.routes}


def test_every_route_is_tested_here() -> None:
    from recdeploy_ops.ui.web import app

    assert paths_of(app) == {
        "/api/overview/{dag_id}",
        "/api/period/{dag_id}",
        "/report/{dag_id}/{run_id:path}",
        "/static/{name}",
    }


@pytest.mark.parametrize("path", [OVERVIEW, PERIOD, SCRIPT, REPORT])
def test_nothing_is_shown_to_anybody_who_has_not_signed_in(get: Callable[..., Response], path: str) -> None:
    assert get(path, None).status_code == 401


@pytest.mark.parametrize("role", ROLES)
def test_whoever_may_read_the_dag_sees_the_page(get: Callable[..., Response], role: str) -> None:
    assert get(OVERVIEW, role).status_code == 200
    assert (get(PERIOD, role).status_code, get(PERIOD, role).json()) == (200, None)
    assert get(REPORT, role).status_code == 404  # without such a run
    script = get(SCRIPT, role)
    assert (script.status_code, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert b"AirflowPlugin" in script.content


@pytest.mark.parametrize("path", ABSENT)
@pytest.mark.parametrize("role", [None, "admin"])
def test_nothing_else_is_served(get: Callable[..., Response], path: str, role: str | None) -> None:
    assert get(path, role).status_code in ({404, 422} if role else {401, 404})


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [OVERVIEW, PERIOD, SCRIPT, REPORT])
def test_nothing_can_be_changed(get: Callable[..., Response], path: str, method: str) -> None:
    assert get(path, "admin", method).status_code == 405


@pytest.mark.parametrize("dag_id", ["..", "a b", "recommender_retrain%0a", "%2e%2e%2fsecret"])
def test_no_name_leads_to_another_file(get: Callable[..., Response], dag_id: str) -> None:
    assert get(f"/api/overview/{dag_id}", "admin").status_code == 404


def test_an_empty_storage_has_an_empty_page(get: Callable[..., Response]) -> None:
    overview = get(OVERVIEW, "viewer").json()

    assert (overview["project"], overview["production"], overview["entries"]) == ("product-recommender", None, 0)


@pytest.mark.parametrize(("at", "version"), [("2026-03-02T03:05:00Z", 1), ("2026-03-02T05:10:00%2B02:00", 2)])
def test_what_was_in_production_at_a_moment_is_answered(
    get: Callable[..., Response], surroundings: Any, at: str, version: int
) -> None:
    settings = load_settings()
    store = open_store(settings.storage, None)
    for entry in chain(*complete(1), *complete(2)):
        store.create(entry_key(entry.seq), entry.encode())

    assert get(f"/api/period/{DAG}?at={at}", "viewer").json()["serving"]["version"] == version


@pytest.mark.parametrize("at", ["", "yesterday", "2026-03-02T03:05:00"])
def test_a_moment_needs_a_time_zone(get: Callable[..., Response], at: str) -> None:
    assert get(f"/api/period/{DAG}?at={at}", "viewer").status_code == 422


def test_a_ledger_that_cannot_be_read_is_an_error_without_details(
    get: Callable[..., Response], surroundings: Any
) -> None:
    settings = load_settings()
    store = open_store(settings.storage, None)
    Ledger(store, "basket", utc_now).append("run-1", opened(), guard=lambda state: None)

    answer = get(OVERVIEW, "admin")

    assert answer.status_code == 503
    assert answer.json() == {"detail": "At present the ledger cannot be read; the log of the API server says why."}
