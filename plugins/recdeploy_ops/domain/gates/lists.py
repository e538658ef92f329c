"""The list gates: the rules for every recommended list, and how many users must get one."""

from __future__ import annotations

from dataclasses import dataclass

from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict, at_least, at_most


@dataclass(frozen=True)
class Violations:
    """How often a rule is broken.

    Attributes:
        count: of lists, users or items.
        examples: ids of the first ones.
    """

    count: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class FallbackFacts:
    """The list for users who are not in the model.

    Attributes:
        length: how many items it has.
        repeated: items that it has more than once.
        unknown: items that are not in the catalogue.
        not_finite: items without a finite rating.
    """

    length: int
    repeated: Violations = Violations()
    unknown: Violations = Violations()
    not_finite: Violations = Violations()


@dataclass(frozen=True)
class ListFacts:
    """The measurements of the lists of all users; examples are user ids, in the order of the file.

    Attributes:
        users: distinct users of the extract.
        items: distinct items of the extract, the catalogue.
        top_k: intended length of a list.
        lists: number of lists.
        complete_users: users without a list who have rated every item, so that none is expected.
        missing: other users without a list.
        unknown_users: lists for users who are not in the extract.
        repeated_users: users with more than one list.
        wrong_length: lists that have neither ``top_k`` items nor every item that the user has not rated.
        repeated_items: lists that have an item more than once.
        unknown_items: lists with an item that is not in the catalogue.
        rated_items: lists with an item that the user has already rated.
        not_descending: lists in which a rating is higher than the one before it.
        fallback: the list for users who are not in the model.
    """

    users: int
    items: int
    top_k: int
    lists: int
    fallback: FallbackFacts
    complete_users: int = 0
    missing: Violations = Violations()
    unknown_users: Violations = Violations()
    repeated_users: Violations = Violations()
    wrong_length: Violations = Violations()
    repeated_items: Violations = Violations()
    unknown_items: Violations = Violations()
    rated_items: Violations = Violations()
    not_descending: Violations = Violations()


def judge_lists(facts: ListFacts, *, min_user_coverage: float) -> GateReport:
    """Judge whether the lists may be served.

    Args:
        facts: as measured.
        min_user_coverage: share of the users who must get a list (or have rated every item).
    """
    rules = (
        ("list_users", facts.unknown_users, "are for users who are not in the extract"),
        ("list_per_user", facts.repeated_users, "are a user's second or later one"),
        ("list_length", facts.wrong_length, f"have neither {facts.top_k} items nor every unrated one"),
        ("list_duplicates", facts.repeated_items, "name an item twice"),
        ("list_catalogue", facts.unknown_items, "name an item that is not in the catalogue"),
        ("list_unrated", facts.rated_items, "name an item that the user has already rated"),
        ("list_order", facts.not_descending, "are not ordered by rating, best first"),
    )
    lists = [_judge_rule(gate, violations, fault, facts.lists) for gate, violations, fault in rules]
    return GateReport((_judge_coverage(facts, min_user_coverage), *lists, _judge_fallback(facts)))


def _judge_coverage(facts: ListFacts, minimum: float) -> Finding:
    covered = facts.users - facts.missing.count
    share = covered / facts.users if facts.users else None
    message = f"{covered:,} of {facts.users:,} users have a list"
    if facts.complete_users:
        message += f" or have rated every item ({facts.complete_users:,})"
    if facts.missing.count:
        message += f"; {facts.missing.count:,} have none{_first(facts.missing)}"
    return at_least("user_coverage", share, minimum, message + ".", users=facts.users)


def _judge_rule(gate: str, violations: Violations, fault: str, lists: int) -> Finding:
    if not lists:
        return at_most(gate, None, 0, "No user has a list.", users=0)
    message = f"{violations.count:,} of {lists:,} lists {fault}{_first(violations)}."
    return at_most(gate, float(violations.count), 0, message, users=lists)


def _judge_fallback(facts: ListFacts) -> Finding:
    fallback, expected = facts.fallback, min(facts.top_k, facts.items)
    faults = [
        f"{violations.count} {fault}{_first(violations)}"
        for violations, fault in (
            (fallback.repeated, "repeated"),
            (fallback.unknown, "not in the catalogue"),
            (fallback.not_finite, "without a finite rating"),
        )
        if violations.count
    ]
    passed = fallback.length == expected and expected > 0 and not faults
    message = f"The list for new users has {fallback.length} of {expected} items"
    return Finding(
        "new_user_list",
        Verdict.PASS if passed else Verdict.FAIL,
        float(fallback.length),
        f"== {expected}",
        "; ".join([message, *faults]) + ".",
    )


def _first(violations: Violations) -> str:
    return f" (first: {', '.join(violations.examples)})" if violations.examples else ""
