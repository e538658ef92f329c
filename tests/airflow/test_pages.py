"""Who may open what this project adds to Airflow's web server: every route, for every kind of user, at any base URL."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from events import chain, closed, complete, deployed, of, opened, promoted, registered, validated

from recdeploy_ops.context import utc_now
from recdeploy_ops.domain.events import NOTEBOOK, OUTSIDE_AIRFLOW
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.settings import load_settings
from recdeploy_ops.storage.keys import entry_key
from recdeploy_ops.storage.roots import open_store
from recdeploy_ops.ui.static import PAGE, SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx import Response

pytestmark = pytest.mark.usefixtures("airflow_database")
DAG = "recommender_retrain"
OVERVIEW, REPORT = f"/api/overview/{DAG}", f"/report/{DAG}/run-1"
PERIOD, RELEASE = f"/api/period/{DAG}?at=2026-03-02T04:00:00Z", f"/api/release/{DAG}/run-1"
COMPARISON = f"/api/comparison/{DAG}?one=1&other=2"
LIVE, METRICS, BACKUPS = f"/api/live/{DAG}", f"/api/metrics/{DAG}", f"/api/backups/{DAG}"
SCRIPT = f"/{PAGE.partition('/')[2]}"
# Of each route a path, and what a reader gets from an empty storage.
ROUTES = {
    "/api/overview/{dag_id}": (OVERVIEW, 200),
    "/api/period/{dag_id}": (PERIOD, 200),
    "/api/release/{dag_id}/{run_id:path}": (RELEASE, 404),
    "/api/comparison/{dag_id}": (COMPARISON, 404),
    "/api/live/{dag_id}": (LIVE, 200),
    "/api/metrics/{dag_id}": (METRICS, 200),
    "/api/backups/{dag_id}": (BACKUPS, 200),
    "/report/{dag_id}/{run_id:path}": (REPORT, 404),
    "/static/{digest}/{name}": (SCRIPT, 200),
    "/{path:path}": ("/docs", 404),
}
# What FastAPI would add unasked, and what does not exist.
ABSENT = ("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/static/", "/static/x/web.py", "/api", "/")
EVIL = "https://evil.example"
TRAVERSALS = ("/static/../web.py", "/static/x/../../web.py", "/static/x/%2e%2e%2fweb.py", "/static/x/__init__.py")
ROLES = ("viewer", "user", "op", "admin")
CHANGES = ("POST", "PUT", "PATCH", "DELETE")
BASES = {"": "http://testserver", "/team/airflow": "https://airflow.example/team/airflow"}
TRIGGER = "/api/v2/dags/absent_rollback/dagRuns"
at_both = pytest.mark.parametrize("web", BASES, indirect=True, ids=["at the root", "below a path"])


@pytest.fixture(scope="module")
def web(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of the whole web server, the manager that knows the users, and the path of the base URL."""
    from airflow.api_fastapi import app as server
    from fastapi.testclient import TestClient

    base = getattr(request, "param", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of the tests, long enough for HS512" * 2)
        patch.setenv("AIRFLOW__API__BASE_URL", BASES[base])
        patch.setattr(server, "API_ROOT_PATH", f"{base}/")  # read from the base URL when it is imported
        app = server.create_app(apps="core")
        yield TestClient(app, raise_server_exceptions=True), server.get_auth_manager(), base


@pytest.fixture
def send(web: Any, surroundings: Any) -> Callable[..., Response]:
    """Requests a path as a user of a role with a token, or in a browser with a cookie, or as nobody."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    client, manager, base = web
    surroundings.apply()

    def request(path: str, role: str | None, method: str = "GET", *, origin: str | None = None, **how: Any) -> Response:
        headers = {"Origin": origin} if origin else {}
        if role:
            token = manager.generate_jwt(SimpleAuthManagerUser(username=role, role=role))
            if origin or how.pop("in_browser", False):
                headers["Cookie"] = f"_token={token}"
            else:
                headers["Authorization"] = f"Bearer {token}"
        return client.request(method, f"{base}{path}", headers=headers, **how)

    return request


@pytest.fixture
def get(send: Callable[..., Response]) -> Callable[..., Response]:
    """The same for what this project adds."""
    return lambda path, role, method="GET", **how: send(f"/recdeploy{path}", role, method, **how)


def store_ledger(*parts: Any) -> None:
    store = open_store(load_settings().storage, None)
    for entry in chain(*parts):
        store.create(entry_key(entry.seq), entry.encode())


def test_every_route_is_tested_here_and_nothing_is_mounted() -> None:
    from fastapi.routing import APIRoute

    from recdeploy_ops.ui.web import app

    assert {type(route) for route in app.routes} == {APIRoute}
    assert {route.path for route in app.routes} == set(ROUTES)


def test_this_is_all_that_is_added() -> None:
    from recdeploy_plugin import RecdeployPlugin

    assert [app["url_prefix"] for app in RecdeployPlugin.fastapi_apps] == ["/recdeploy"]
    assert {app["bundle_url"] for app in RecdeployPlugin.react_apps} == {PAGE}
    assert {app["destination"] for app in RecdeployPlugin.react_apps} == {"nav", "dag_run"}


@at_both
@pytest.mark.parametrize("origin", [None, EVIL])
def test_nothing_is_shown_to_anybody_who_has_not_signed_in(get: Callable[..., Response], origin: str | None) -> None:
    for path in (*(path for path, _ in ROUTES.values()), *ABSENT, *TRAVERSALS):
        assert get(path, None, origin=origin).status_code == 401, path
        assert get(path, None, "HEAD", origin=origin).status_code in {401, 405}, path


@at_both
@pytest.mark.parametrize("role", ROLES)
def test_anyone_who_may_read_the_dag_sees_the_page(get: Callable[..., Response], role: str) -> None:
    for path, status in ROUTES.values():
        assert get(path, role).status_code == status, path
        assert get(path, role, in_browser=True).status_code == status, path


@at_both
def test_another_site_cannot_read_what_a_browser_is_answered(get: Callable[..., Response]) -> None:
    for path, status in ROUTES.values():
        answer = get(path, "admin", origin=EVIL)
        assert answer.status_code == status, path
        assert not [name for name in answer.headers if name.startswith("access-control-")], path


@at_both
def test_nothing_else_is_served(get: Callable[..., Response]) -> None:
    for path in (*ABSENT, *TRAVERSALS):
        assert get(path, "admin").status_code == 404, path


@at_both
@pytest.mark.parametrize("role", [None, *ROLES])
@pytest.mark.parametrize("origin", [None, EVIL])
def test_nothing_can_be_changed(get: Callable[..., Response], role: str | None, origin: str | None) -> None:
    for path, _ in ROUTES.values():
        for method in CHANGES:
            assert get(path, role, method, origin=origin).status_code == (404 if role else 401), (path, method)


@at_both
def test_a_rollback_needs_the_right_to_trigger_it_and_a_page_of_this_airflow(
    send: Callable[..., Response], web: Any
) -> None:
    own = "/".join(BASES[web[2]].split("/")[:3])
    allowed = {None: 401, "viewer": 403, "user": 404, "op": 404, "admin": 404}  # 404: this Airflow does not have it
    for role, status in allowed.items():
        for origin in (own, EVIL, "null"):
            answer = send(TRIGGER, role, "POST", origin=origin, json={"logical_date": None})
            is_refused = role is not None and origin != own
            assert answer.status_code == (403 if is_refused else status), (role, origin)
            assert ("was not sent by a page of this Airflow" in answer.text) == is_refused, (role, origin)


def test_a_change_in_a_browser_that_names_no_origin_is_refused(send: Callable[..., Response]) -> None:
    assert send(TRIGGER, "admin", "POST", in_browser=True, json={"logical_date": None}).status_code == 403
    assert send(TRIGGER, "admin", "POST", json={"logical_date": None}).status_code == 404  # a program's token


def test_no_name_leads_to_another_file(get: Callable[..., Response]) -> None:
    for dag_id in ("..", "a b", "recommender_retrain%0a", "%2e%2e%2fsecret", "retrain", "etl_retrain"):
        assert get(f"/api/overview/{dag_id}", "admin").status_code == 404, dag_id


class TestScripts:
    def test_are_kept_until_one_changes(self, get: Callable[..., Response]) -> None:
        script = get(SCRIPT, "viewer")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert script.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert script.headers["x-content-type-options"] == "nosniff"
        assert script.content == SCRIPTS["page.js"]

    def test_of_another_web_server_are_not_kept(self, get: Callable[..., Response]) -> None:
        script = get("/static/another/page.js", "viewer")
        assert (script.status_code, script.headers["cache-control"]) == (200, "no-cache")

    def test_import_only_each_other_and_are_short(self, get: Callable[..., Response]) -> None:
        for name, script in SCRIPTS.items():
            text = script.decode()
            assert len(text.splitlines()) < 300, name
            assert all(f"{imported}.js" in SCRIPTS for imported in re.findall(r'from "\./(\w+)\.js"', text)), name
            assert not re.findall(r"https?://|innerHTML|dangerously|eval\(", text), name
            assert get(SCRIPT.replace("page.js", name), "viewer").content == script


def test_an_empty_storage_has_an_empty_page(get: Callable[..., Response]) -> None:
    overview = get(OVERVIEW, "viewer").json()

    assert (overview["project"], overview["production"], overview["entries"]) == ("product-recommender", None, 0)
    assert get(LIVE, "viewer").json()["deployments"] == []
    assert get(METRICS, "viewer").json()["hours"] == []


def test_a_release_is_shown_with_its_outcome(get: Callable[..., Response]) -> None:
    store_ledger(*complete(1), *complete(2))

    release = get(f"/api/release/{DAG}/run-2", "viewer").json()

    assert (release["version"], release["outcome"], release["is_open"]) == (2, "promoted", False)
    assert (release["progress"], release["has_report"], release["calls"]) == ("is closed", False, [])
    assert release["gates"] == [{"name": "TEST", "verdict": "PASS"}]
    assert get("/api/release/recommender_rollback/run-2", "viewer").status_code == 404


@pytest.mark.parametrize("dag_id", sorted(OUTSIDE_AIRFLOW))
def test_a_release_outside_airflow_is_shown_by_the_retraining_dag(get: Callable[..., Response], dag_id: str) -> None:
    store_ledger(*of("n-1", opened(1, dag_id=dag_id), registered(1), deployed()))

    release = get(f"/api/release/{DAG}/n-1", "viewer").json()

    assert (release["dag_id"], release["run_id"], release["is_open"]) == (dag_id, "n-1", True)
    assert [call["state"] for call in release["calls"]] == ["planned"] * len(release["calls"]) != []
    for other in (dag_id, "recommender_rollback", "basket_retrain"):
        assert get(f"/api/release/{other}/n-1", "admin").status_code == 404, other


def test_a_release_of_a_notebook_needs_the_right_to_read_the_retraining_dag(
    get: Callable[..., Response], web: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_ledger(*of("n-1", opened(1, dag_id=NOTEBOOK)))
    monkeypatch.setattr(web[1], "is_authorized_dag", lambda *, details=None, **_: details is None or details.id != DAG)

    assert get(f"/api/release/{DAG}/n-1", "admin").status_code == 403
    assert get(f"/api/release/{NOTEBOOK}/n-1", "admin").status_code == 404


def test_a_release_says_that_oci_cannot_be_read(get: Callable[..., Response], surroundings: Any) -> None:
    store_ledger(*of("run-1", opened(1), registered(1), deployed(), validated(), promoted(1), closed()))
    surroundings.oci = {**surroundings.oci, "key_content": "not a key", "key_file": None}
    surroundings.apply()

    release = get(RELEASE, "viewer").json()

    assert release["outcome"] == "promoted"
    assert release["problem"] == "At present OCI cannot be read, so that some calls are not known."


def test_what_oci_runs_is_shown_while_production_does_not_answer(get: Callable[..., Response]) -> None:
    url = "http://127.0.0.1:9/ocid1.datasciencemodeldeployment.oc1.iad.x"
    store_ledger(*of("run-1", opened(1), registered(1), validated(), promoted(1, url=url), closed()))

    answer = get(LIVE, "viewer")

    assert answer.status_code == 200
    assert answer.json()["differences"][-1].startswith(f"Production's URL: it does not answer (A request to {url}/")


def test_two_versions_are_compared(get: Callable[..., Response]) -> None:
    store_ledger(*complete(1), *complete(2))

    assert get(COMPARISON, "viewer").json()["one"] == 1
    assert (
        get(f"/api/comparison/{DAG}?one=1&other=9", "viewer").json()["detail"].startswith("The ledger has no version")
    )
    assert get(f"/api/comparison/{DAG}?one=0&other=2", "viewer").status_code == 422


@pytest.mark.parametrize(("at", "version"), [("2026-03-02T03:05:00Z", 1), ("2026-03-02T05:10:00%2B02:00", 2)])
def test_what_was_in_production_at_a_moment_is_answered(get: Callable[..., Response], at: str, version: int) -> None:
    store_ledger(*complete(1), *complete(2))

    assert get(f"/api/period/{DAG}?at={at}", "viewer").json()["serving"]["version"] == version


@pytest.mark.parametrize("at", ["", "yesterday", "2026-03-02T03:05:00"])
def test_a_moment_needs_a_time_zone(get: Callable[..., Response], at: str) -> None:
    assert get(f"/api/period/{DAG}?at={at}", "viewer").status_code == 422


def test_a_ledger_that_cannot_be_read_is_an_error_without_details(get: Callable[..., Response]) -> None:
    store = open_store(load_settings().storage, None)
    Ledger(store, "basket", utc_now).append("run-1", opened(), guard=lambda state: None)

    answer = get(OVERVIEW, "admin")

    assert answer.status_code == 503
    assert answer.json() == {"detail": "At present the ledger cannot be read; the log of the API server says why."}


def test_no_secret_appears_whether_oci_answers_or_not(get: Callable[..., Response], surroundings: Any) -> None:
    url = f"{surroundings.oci['service_endpoint']}/ocid1.datasciencemodeldeployment.oc1.iad.x"
    store_ledger(*of("run-1", opened(1), registered(1), validated(), promoted(1, url=url), closed()))
    secrets = {name: surroundings.oci[name] for name in ("fingerprint", "tenancy", "user") if name in surroundings.oci}
    broken = {**surroundings.oci, "pass_phrase": "canary-pass-phrase", "key_content": "canary-key", "key_file": None}
    assert secrets
    for extra, statuses in ((surroundings.oci, {200, 404, 503}), (broken, {200, 404, 503})):
        surroundings.oci = extra
        surroundings.apply()
        for path, _ in ROUTES.values():
            answer = get(path, "admin")
            assert answer.status_code in statuses
            shown = answer.text + json.dumps(dict(answer.headers))
            assert not [name for name, value in secrets.items() if value in shown]
            assert "canary" not in shown
    assert get(LIVE, "admin").json() == {"detail": "At present OCI cannot be read; the log of the API server says why."}
