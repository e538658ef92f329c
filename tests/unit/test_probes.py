"""Probes of an endpoint: the requests, the expected answers, and the findings."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from artifacts import LISTS, NEW_USERS, SETTINGS, loaded_score, make_artifact, write_results
from hypothesis import given
from hypothesis import strategies as st
from shops import write_extract

from recdeploy_ops.artifacts.stored_lists import read_fallback
from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.domain.gates.endpoint import (
    Agreement,
    ChangeFacts,
    EndpointFacts,
    LatencyFacts,
    jaccard,
    judge_endpoint,
    judge_latency,
    percentile,
)
from recdeploy_ops.domain.gates.scales import Scale
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.records import Reply
from recdeploy_ops.evaluation.endpoints import compare_latency, compare_with_production, probe_artifact, probe_endpoint
from recdeploy_ops.evaluation.probes import MALFORMED, Expectation, expect_answers, latency_requests, plan_probes
from recdeploy_ops.settings import GateSettings, ProbeSettings
from recdeploy_ops.storage.bundles import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from recdeploy_ops.evaluation.endpoints import Ask

GATES = GateSettings()
SOUND = Agreement(10, 10)
ENDPOINT = EndpointFacts(3, "d" * 64, SOUND, SOUND, SOUND, 0, ("version 3, digest dddddddddddd",), 0)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("probes"))


@pytest.fixture(scope="module")
def expected(artifact: Path) -> Expectation:
    return expect_answers(
        artifact.parent / "inputs" / "results",
        artifact.parent / "inputs" / "extract",
        settings=SETTINGS,
        version=7,
        digest=sha256_of(artifact / "manifest.json"),
        top_k=3,
        fallback=read_fallback(artifact),
        seed=42,
    )


@pytest.fixture(scope="module")
def ask(artifact: Path) -> Iterator[Ask]:
    with loaded_score(artifact) as score:
        yield lambda request: Reply(200, json.loads(json.dumps(score.predict(request))), 0.001)


def verdicts(facts: EndpointFacts) -> dict[str, str]:
    return {finding.gate: str(finding.verdict) for finding in judge_endpoint(facts).findings}


def failures(facts: EndpointFacts) -> list[str]:
    return [gate for gate, verdict in verdicts(facts).items() if verdict == "FAIL"]


def test_sound_endpoint_passes(ask: Ask, expected: Expectation) -> None:
    facts = probe_endpoint(ask, expected=expected)
    assert set(verdicts(facts).values()) == {"PASS"}
    assert (facts.known.asked, facts.unknown.asked, facts.malformed.asked) == (3, 50, 18)


def test_artifact_is_probed_the_same_before_it_is_deployed(ask: Ask, artifact: Path, expected: Expectation) -> None:
    assert probe_artifact(artifact, expected=expected) == probe_endpoint(ask, expected=expected)


def test_artifact_that_does_not_load_is_an_error(artifact: Path, tmp_path: Path, expected: Expectation) -> None:
    shutil.copyfile(artifact / "score.py", tmp_path / "score.py")
    with pytest.raises(IntegrityError, match=r"ArtifactError.*manifest\.json cannot be read"):
        probe_artifact(tmp_path, expected=expected)


def changing(ask: Ask, change: Callable[[dict[str, Any]], Any], status: int = 200) -> Ask:
    """Return the endpoint with one change to each of its answers."""

    def changed(request: object) -> Reply:
        body: Any = ask(request).body
        return Reply(status, change(body) or body, 0.001)

    return changed


def of_lists(change: Callable[[list[Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda body: change(body["recommendations"]) and None if body.get("recommendations") else None


def of_field(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda body: body.update({name: value}) if name in body else None


BOTH = ["known_users", "unknown_users"]
DEVIATIONS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "another order": (of_lists(lambda rows: rows.reverse()), BOTH),
    "a missing item": (of_lists(lambda rows: rows.pop()), BOTH),
    "another rating": (of_lists(lambda rows: rows[0].update(rating=rows[0]["rating"] + 1e-12)), BOTH),
    "a rating as text": (of_lists(lambda rows: rows[0].update(rating=str(rows[0]["rating"]))), BOTH),
    "another item": (of_lists(lambda rows: rows[0].update(product_id="p9")), BOTH),
    "no rating": (of_lists(lambda rows: rows[0].pop("rating")), BOTH),
    "another user": (of_field("user_id", "u9"), BOTH),
    "a user that is not UTF-8": (of_field("user_id", "\ud800"), BOTH),
    "another count": (of_field("count", 99), BOTH),
    "another message": (of_field("message", "hello"), ["unknown_users"]),
    "another version": (of_field("model_version", 6), ["served_release"]),
    "a version as text": (of_field("model_version", "7"), ["served_release"]),
    "another digest": (lambda body: body.update(digest=body["digest"][:-1] + "x"), ["served_release"]),
    "no digest": (lambda body: body.pop("digest") and None, ["served_release"]),
    "an error that is not an object": (of_field("error", "bad"), ["malformed_requests"]),
    "an error without a code": (
        lambda body: body["error"].pop("code") and None if "error" in body else None,
        ["malformed_requests"],
    ),
    "a body of text": (lambda _body: "text", [*BOTH, "malformed_requests", "served_release"]),
    "a body that is a list": (lambda _body: ["list"], [*BOTH, "malformed_requests", "served_release"]),
}


@pytest.mark.parametrize(("change", "failing"), DEVIATIONS.values(), ids=DEVIATIONS.keys())
def test_a_deviation_fails_its_own_gates(
    ask: Ask, expected: Expectation, change: Callable[[Any], Any], failing: list[str]
) -> None:
    facts = probe_endpoint(changing(ask, change), expected=expected)
    assert failures(facts) == failing
    json.dumps(judge_endpoint(facts).to_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize("status", [0, 500, 503])
def test_server_errors_fail_with_any_body(ask: Ask, expected: Expectation, status: int) -> None:
    facts = probe_endpoint(changing(ask, lambda _: None, status), expected=expected)
    assert facts.server_errors == 71
    assert {"server_errors", "known_users", "malformed_requests"} <= set(failures(facts))


def test_client_error_with_an_error_object_answers_a_malformed_request(ask: Ask, expected: Expectation) -> None:
    def strict(request: object) -> Reply:
        reply = ask(request)
        return replace(reply, status=400) if "error" in dict(reply.body) else reply  # type: ignore[call-overload]

    assert failures(probe_endpoint(strict, expected=expected)) == []


def test_one_wrong_answer_among_many_fails_and_is_in_the_message(ask: Ask, expected: Expectation) -> None:
    def wrong_once(request: Any) -> Reply:
        reply = ask(request)
        if isinstance(request, dict) and request.get("user_id") == "u2":
            reply.body["recommendations"][0]["rating"] = 0  # type: ignore[index]
        return reply

    finding = judge_endpoint(probe_endpoint(wrong_once, expected=expected)).findings[0]
    assert (finding.verdict, finding.value) == (Verdict.FAIL, 2 / 3)
    assert "u2 got 1 items ('p3' 0, ...) instead of 1 items ('p3' 5.0, ...)" in finding.message


def test_endpoint_without_probes_fails() -> None:
    nothing = Agreement(0, 0)
    facts = EndpointFacts(3, "d", nothing, nothing, nothing, 0, (), 0)
    assert len(failures(facts)) == 5


def test_malformed_requests_are_all_malformed_and_repeat_when_more_are_wanted(ask: Ask, expected: Expectation) -> None:
    assert all("error" in ask(request).body for request in MALFORMED)  # type: ignore[operator]
    assert probe_endpoint(ask, expected=expected, malformed=50).malformed == Agreement(50, 50)


def test_list_lengths_are_requested_in_turn(expected: Expectation) -> None:
    asked = [probe.request for probe in plan_probes(expected, 0)][:4]
    assert [request.get("top_k") for request in asked] == [None, 3, 1, 30]  # type: ignore[attr-defined]


def many_users(folder: Path) -> tuple[Path, Path]:
    users = [f"user-{number}" for number in range(500)]
    users[300] = "the longest id of them all"
    lists = {user: [(f"p{number % 7}", number / 3)] for number, user in enumerate(users)}
    extract = write_extract(folder / "extract", [("x", "p0", 1.0)], users=[*users, "0user-0"])
    return write_results(folder / "results", lists), extract


def expect(folders: tuple[Path, Path], seed: int, **probes: int) -> Expectation:
    settings = SETTINGS.model_copy(update={"probes": ProbeSettings(**probes)})
    release = {"version": 1, "digest": "d", "top_k": 1, "fallback": NEW_USERS}
    return expect_answers(*folders, settings=settings, seed=seed, **release)  # type: ignore[arg-type]


def test_sample_depends_on_the_seed_and_has_the_extremes(tmp_path: Path) -> None:
    folders = many_users(tmp_path)
    first, again, other = (expect(folders, seed) for seed in (1, 1, 2))
    assert first == again
    assert len(first.known) == len(other.known) == 200
    assert set(first.known) != set(other.known)
    assert list(first.known)[:3] == ["user-0", "the longest id of them all", "user-499"]
    assert first.known["user-499"] == (("p2", 499 / 3),)


def test_sample_does_not_depend_on_how_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = many_users(tmp_path)
    whole = expect(folders, 1)
    monkeypatch.setattr("recdeploy_ops.training.recommendations.BLOCK_BYTES", 200)
    assert expect(folders, 1) == whole


def test_unknown_users_are_unknown_and_half_of_them_resemble_known_ones(tmp_path: Path) -> None:
    folders = many_users(tmp_path)
    expected = expect(folders, 3, known_users=1, unknown_users=8)
    assert len(expected.unknown) == 8
    near = [user for user in expected.unknown if not user.startswith("nobody-")]
    assert set(near) <= {"user-0 ", "USER-0", "user-", "user-0.0"}  # 0user-0 is a user
    assert len(near) >= 3


def answering(seconds: list[float], order: list[str], name: str, status: int = 200) -> Ask:
    left = iter([99.0, *seconds])

    def ask(request: object) -> Reply:
        order.append(name)
        return Reply(status, {"recommendations": []}, next(left))

    return ask


def test_latencies_are_measured_in_turn_without_the_first() -> None:
    order: list[str] = []
    test, production = [0.1, 0.3, 0.2], [0.4, 0.6, 0.5]
    facts = compare_latency(answering(test, order, "t"), answering(production, order, "p"), [{}, {}, {}])
    assert "".join(order) == "pttpptt" + "p"
    assert facts == LatencyFacts(3, 0.2, 0.3, 0.5, 0.6, production_asked=True)


def test_latency_without_production_is_reported() -> None:
    facts = compare_latency(answering([9.0, 9.5], [], "t"), None, [{}, {}])
    assert facts == LatencyFacts(2, 9.0, 9.5)
    finding = judge_latency(facts, GATES)
    assert (finding.verdict, finding.value, finding.scale) == (Verdict.PASS, 9.5, Scale.SECONDS)
    assert "Nothing is in production to compare with" in finding.message
    assert judge_endpoint(ENDPOINT, finding).findings[-1] is finding


def test_latency_without_requests_is_held() -> None:
    assert judge_latency(compare_latency(answering([], [], "t"), None, []), GATES).verdict is Verdict.HOLD


@pytest.mark.parametrize(
    ("test", "production", "verdict"),
    [
        (0.30, 0.20, "HOLD"),
        (0.251, 0.20, "HOLD"),
        (0.25, 0.20, "PASS"),  # exactly 50 ms
        (0.010, 0.001, "PASS"),  # ten times, but less than 50 ms
        (1.19, 1.0, "PASS"),  # 190 ms, but less than 20 %
        (0.1, 0.9, "PASS"),
        (None, 0.2, "HOLD"),
        (0.2, None, "HOLD"),
        (float("nan"), 0.2, "HOLD"),
        (0.2, float("nan"), "HOLD"),
    ],
)
def test_slower_than_production_is_held(test: float | None, production: float | None, verdict: str) -> None:
    latency = LatencyFacts(50, test, test, production, production, production_asked=True)
    finding = judge_latency(latency, GATES)
    assert (finding.verdict, finding.threshold) == (verdict, "<= production +20% or +50 ms")


@pytest.mark.parametrize(
    ("ratio", "excess_ms", "verdict"),
    [(1.5, 100, "HOLD"), (1.6, 100, "PASS"), (1.5, 101, "PASS"), (1, 0, "HOLD"), (1.005, 0.5, "HOLD")],
)
def test_the_bounds_of_latency_are_settings(ratio: float, excess_ms: float, verdict: str) -> None:
    latency = LatencyFacts(50, 0.3, 0.3005, 0.2, 0.2, production_asked=True)
    gates = GateSettings(max_latency_ratio=ratio, max_latency_excess_ms=excess_ms)
    finding = judge_latency(latency, gates)
    assert finding.verdict == verdict
    assert finding.threshold == f"<= production +{round(100 * ratio - 100, 3):g}% or +{excess_ms:g} ms"


@pytest.mark.parametrize("which", ["test_failed", "production_failed"])
def test_requests_without_a_list_are_held(which: str) -> None:
    latency = replace(LatencyFacts(50, 0.1, 0.1, 0.1, 0.1, production_asked=True), **{which: 1})
    assert judge_latency(latency, GATES).verdict is Verdict.HOLD


def test_failed_answers_have_no_latency() -> None:
    facts = compare_latency(answering([0.1], [], "t", 500), answering([0.2], [], "p"), [{}])
    assert (facts.test_failed, facts.test_p95, facts.production_failed, facts.production_p95) == (1, None, 0, 0.2)


def test_change_against_production_counts_lists_and_shared_items(expected: Expectation) -> None:
    served = {
        "u1": [{"product_id": item, "rating": rating} for item, rating in LISTS["u1"]],
        "u2": [{"product_id": "p2", "rating": 1.0}, {"product_id": "new", "rating": 0.5}],
    }

    def production(request: Any) -> Reply:
        return Reply(200, {"recommendations": served.get(request["user_id"])}, 0.0)

    changes = compare_with_production(production, expected)
    assert changes == ChangeFacts(users=2, changed=1, jaccard=(1 + 1 / 4) / 2, unreadable=1)
    finding = judge_endpoint(ENDPOINT, None, changes).findings[-1]
    assert (finding.verdict, finding.value, finding.users) == (Verdict.PASS, 0.5, 2)
    assert "production gave no list to 1 users" in finding.message


def test_change_against_a_production_without_answers_is_unknown(expected: Expectation) -> None:
    changes = compare_with_production(lambda _: Reply(503, None, 0.0), expected)
    assert changes == ChangeFacts(users=0, changed=0, jaccard=None, unreadable=3)
    assert judge_endpoint(ENDPOINT, None, changes).findings[-1].value is None


def test_change_is_reported_and_passes() -> None:
    finding = judge_endpoint(ENDPOINT, None, ChangeFacts(10, 10, 0.0)).findings[-1]
    assert finding.message == "10 of 10 lists would change; on average they share 0% of their items (Jaccard)."
    assert finding.verdict is Verdict.PASS


def test_latency_requests_repeat_the_sample(expected: Expectation) -> None:
    requests = latency_requests(expected, 7)
    assert len(requests) == 7
    assert requests[0] == requests[3]
    assert latency_requests(replace(expected, known={}), 7) == []


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_percentile_is_a_value_that_the_share_does_not_exceed(values: list[float], share: float) -> None:
    bound = percentile(values, share)
    assert bound in values
    assert sum(value <= bound for value in values) >= share * len(values) - 1e-9  # type: ignore[operator]


@given(st.lists(st.text(max_size=2)), st.lists(st.text(max_size=2)))
def test_jaccard_is_symmetric_and_one_only_for_equal_sets(one: list[str], other: list[str]) -> None:
    assert 0 <= jaccard(one, other) == jaccard(other, one) <= 1
    assert (jaccard(one, other) == 1) == (set(one) == set(other))
