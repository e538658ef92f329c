"""The list gates: the measurements of the operator's lists, and the findings about them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from artifacts import ITEMS, LISTS, NEW_USERS, RATED, SETTINGS, write_inputs, write_results
from hypothesis import given, settings
from hypothesis import strategies as st
from shops import write_extract

from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.domain.gates.lists import FallbackFacts, ListFacts, Violations, judge_lists
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.evaluation.lists import measure_lists

if TYPE_CHECKING:
    from pathlib import Path

GATES = [
    "user_coverage",
    "list_users",
    "list_per_user",
    "list_length",
    "list_duplicates",
    "list_catalogue",
    "list_unrated",
    "list_order",
    "new_user_list",
]
SOUND = ListFacts(users=1000, items=50, top_k=10, lists=990, complete_users=10, fallback=FallbackFacts(10))


def measure(results: Path, extract: Path, fallback: Any = NEW_USERS) -> ListFacts:
    return measure_lists(results, extract, settings=SETTINGS, top_k=3, fallback=fallback)


def failures(facts: ListFacts, coverage: float = 1.0) -> list[str]:
    report = judge_lists(facts, min_user_coverage=coverage)
    assert [finding.gate for finding in report.findings] == GATES
    return [finding.gate for finding in report.findings if finding.verdict is Verdict.FAIL]


@pytest.mark.parametrize(
    "lists",
    [
        pytest.param(LISTS, id="falling ratings"),
        pytest.param({**LISTS, "u1": [(item, 2.0) for item, _ in LISTS["u1"]]}, id="equal ratings"),
        pytest.param({"u3": [("p5", 1.0)], "u1": LISTS["u1"], "u2": LISTS["u2"]}, id="ratings rise to the next user"),
    ],
)
def test_sound_lists_pass_every_gate(tmp_path: Path, lists: Any) -> None:
    facts = measure(*write_inputs(tmp_path, lists=lists))
    assert facts == ListFacts(users=4, items=6, top_k=3, lists=3, complete_users=1, fallback=FallbackFacts(3))
    assert failures(facts) == []


@pytest.mark.parametrize(
    ("lists", "gate", "user"),
    [
        ({**LISTS, "ghost": LISTS["u1"]}, "list_users", "ghost"),
        ({**LISTS, "u1": LISTS["u1"][:2]}, "list_length", "u1"),
        ({**LISTS, "u2": [*LISTS["u2"], ("p1", 1.0)]}, "list_length", "u2"),
        ({**LISTS, "u1": [("p2", 4.5), ("p3", 4.0), ("p2", 4.0)]}, "list_duplicates", "u1"),
        ({**LISTS, "u2": [("gone", 5.0), *LISTS["u2"][1:]]}, "list_catalogue", "u2"),
        ({**LISTS, "u2": [*LISTS["u2"][:2], ("p0", 3.0)]}, "list_unrated", "u2"),
        ({**LISTS, "u1": [("p2", 4.0), ("p3", 4.1), ("p4", 1.0)]}, "list_order", "u1"),
    ],
)
def test_a_bad_list_fails_its_own_gate_and_its_user_is_named(tmp_path: Path, lists: Any, gate: str, user: str) -> None:
    facts = measure(*write_inputs(tmp_path, lists=lists))
    assert failures(facts) == [gate]
    (finding,) = [found for found in judge_lists(facts, min_user_coverage=1).findings if found.gate == gate]
    assert (finding.value, finding.users) == (1.0, len(lists))
    assert finding.message.startswith(f"1 of {len(lists)} lists ")
    assert f"(first: {user})" in finding.message


def test_second_list_of_a_user_is_found(tmp_path: Path) -> None:
    results, extract = write_inputs(tmp_path)
    with (results / "recommendations.csv").open("a") as stream:
        stream.write("u1,p2,4.5\nu1,p3,4\nu1,p4,1\n")
    facts = measure(results, extract)
    assert facts.repeated_users == Violations(1, ("u1",))
    assert failures(facts) == ["list_per_user"]


def test_users_without_a_list_count_against_coverage_unless_they_rated_everything(tmp_path: Path) -> None:
    facts = measure(*write_inputs(tmp_path, lists={"u1": LISTS["u1"], "u2": LISTS["u2"]}))
    assert (facts.missing, facts.complete_users) == (Violations(1, ("u3",)), 1)
    assert failures(facts, coverage=0.751) == ["user_coverage"]
    assert failures(facts, coverage=0.75) == []
    assert judge_lists(facts, min_user_coverage=1).findings[0].message == (
        "3 of 4 users have a list or have rated every item (1); 1 have none (first: u3)."
    )


def test_ratings_given_twice_or_to_unknown_items_do_not_shorten_the_due_list(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results")
    extra = [*RATED, ("u3", "p0", 1.0), ("u3", "p1", 1.0), ("u1", "gone", 1.0), ("gone", "p0", 1.0)]
    extract = write_extract(tmp_path / "extract", extra, users=["u1", "u2", "u3", "full"], items=ITEMS)
    assert failures(measure(results, extract)) == []


def test_only_the_first_bad_lists_are_named(tmp_path: Path) -> None:
    users = [f"user-{number}" for number in range(20)]
    results = write_results(tmp_path / "results", {user: [("p1", 1.0)] for user in users})
    extract = write_extract(tmp_path / "extract", [("user-0", "p0", 1.0)], users=users, items=ITEMS)
    facts = measure(results, extract)
    assert facts.wrong_length == Violations(20, ("user-0", "user-1", "user-2"))


@pytest.mark.parametrize(
    ("fallback", "message"),
    [
        ([], "0 of 3 items"),
        (NEW_USERS[:2], "2 of 3 items"),
        ([*NEW_USERS, ("p1", 1.0)], "4 of 3 items"),
        ([*NEW_USERS[:2], NEW_USERS[0]], "3 of 3 items; 1 repeated (first: p0)"),
        ([*NEW_USERS[:2], ("gone", 1.0)], "3 of 3 items; 1 not in the catalogue (first: gone)"),
        ([*NEW_USERS[:2], ("p5", float("nan"))], "3 of 3 items; 1 without a finite rating (first: p5)"),
    ],
)
def test_unsound_list_for_new_users_fails(tmp_path: Path, fallback: Any, message: str) -> None:
    facts = measure(*write_inputs(tmp_path), fallback)
    assert failures(facts) == ["new_user_list"]
    assert message in judge_lists(facts, min_user_coverage=1).findings[-1].message


def test_list_for_new_users_cannot_be_longer_than_the_catalogue() -> None:
    assert failures(replace(SOUND, items=4, fallback=FallbackFacts(4))) == []


def test_absent_evidence_never_passes() -> None:
    nothing = ListFacts(users=0, items=0, top_k=10, lists=0, fallback=FallbackFacts(0))
    assert failures(nothing, coverage=0.0) == GATES


def test_results_without_rows_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailedError, match="has no rows"):
        measure(*write_inputs(tmp_path, lists={}))


@pytest.mark.parametrize("tables", [{"users": []}, {"items": []}])
def test_extract_without_users_or_items_fails_its_gates(tmp_path: Path, tables: Any) -> None:
    extract = write_extract(tmp_path / "extract", RATED, **tables)
    results = write_results(tmp_path / "results")
    assert failures(measure(results, extract))


def test_extract_without_interactions_has_everything_to_recommend(tmp_path: Path) -> None:
    extract = write_extract(tmp_path / "extract", [], users=["u1"], items=["p2", "p3", "p4", "p0", "p5"])
    results = write_results(tmp_path / "results", {"u1": LISTS["u1"]})
    assert failures(measure(results, extract)) == []


USERS = ["u0", "u1", "u2", "u3"]
ratings = st.sampled_from([1.0, 2.0, 3.0])
rows = st.tuples(st.sampled_from(["p0", "p1", "p2", "p3", "gone"]), ratings)


@settings(max_examples=40, deadline=None)
@given(
    lists=st.dictionaries(
        st.sampled_from([*USERS, "ghost"]), st.lists(rows, min_size=1, max_size=4), min_size=1, max_size=5
    ),
    rated=st.lists(st.tuples(st.sampled_from(USERS), st.sampled_from(["p0", "p1", "p2", "p3"])), min_size=1),
)
def test_measures_agree_with_a_plain_count(tmp_path_factory: pytest.TempPathFactory, lists: Any, rated: Any) -> None:
    folder, items = tmp_path_factory.mktemp("count"), ["p0", "p1", "p2", "p3"]
    results = write_results(folder / "results", lists)
    extract = write_extract(folder / "extract", [(*pair, 1.0) for pair in rated], users=USERS, items=items)
    facts = measure_lists(results, extract, settings=SETTINGS, top_k=2, fallback=[])
    left = {user: len(items) - len({item for who, item in rated if who == user}) for user in USERS}

    def broken(rule: Any) -> Violations:
        users = [user for user, rows in lists.items() if rule(user, [i for i, _ in rows], [r for _, r in rows])]
        return Violations(len(users), tuple(users[:3]))

    assert facts.unknown_users == broken(lambda u, _i, _r: u not in USERS)
    assert facts.wrong_length == broken(lambda u, i, _r: u in USERS and len(i) != min(2, left[u]))
    assert facts.repeated_items == broken(lambda _u, i, _r: len(set(i)) < len(i))
    assert facts.unknown_items == broken(lambda _u, i, _r: "gone" in i)
    assert facts.rated_items == broken(lambda u, i, _r: any((u, item) in rated for item in i))
    assert facts.not_descending == broken(lambda _u, _i, r: any(b > a for a, b in itertools.pairwise(r)))
    without = [user for user in USERS if user not in lists]
    assert facts.complete_users == sum(not left[user] for user in without)
    assert facts.missing.count == sum(left[user] > 0 for user in without)
