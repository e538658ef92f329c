"""The data gate: what must hold for an extract before it is used for training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from recdeploy_ops.domain.gates.scales import Scale
from recdeploy_ops.domain.gates.verdicts import Finding, GateReport, Verdict, at_most

if TYPE_CHECKING:
    from collections.abc import Mapping

ORDER = ("interactions", "users", "items")


class DataThresholds(Protocol):
    """The bounds of this gate, named as in the settings."""

    @property
    def max_null_id_share(self) -> float:
        """Return the largest share of a table's rows that may have no id."""
        ...

    @property
    def max_duplicate_share(self) -> float:
        """Return the largest share of a table's rows that may repeat the key of another."""
        ...

    @property
    def max_orphan_share(self) -> float:
        """Return the largest share of interactions whose user or item may be in no table."""
        ...

    @property
    def max_invalid_rating_share(self) -> float:
        """Return the largest share of interactions whose rating may be NULL, NaN or infinite."""
        ...

    @property
    def max_single_rating_share(self) -> float:
        """Return the largest share of interactions that may have the same rating."""
        ...

    @property
    def max_age_hours(self) -> float:
        """Return how old the newest interaction may be, in hours."""
        ...

    @property
    def max_future_hours(self) -> float:
        """Return how far in the future the newest interaction may be, in hours."""
        ...


@dataclass(frozen=True)
class TableFacts:
    """What is known of one extracted table.

    Attributes:
        rows: rows in the file.
        null_ids: rows that the extraction left out because an id was NULL or empty; None when unknown.
        duplicates: rows that repeat the key of another: a user, an item, a user's rating of an item.
        schema_problems: columns that are missing or of the wrong type, in words.
        merged: rows that the extraction merged into others with the same user and item.
    """

    rows: int
    null_ids: int | None
    duplicates: int
    schema_problems: tuple[str, ...] = ()
    merged: int = 0


@dataclass(frozen=True)
class MissingIds:
    """The ids of interactions that are not in a table.

    Attributes:
        table: users or items.
        rows: interactions with such an id.
        ids: different ones.
        form: how most of them differ from an id of the table, with one of each; None if they do not resemble any.
    """

    table: str
    rows: int
    ids: int
    form: tuple[str, str, str] | None = None

    def describe(self) -> str:
        """Return what is missing, in words."""
        side = self.table.removesuffix("s")
        text = f"{self.table}.sql lacks {self.ids:,} of the {side} ids (rows: {self.rows:,})"
        if self.form is None:
            return text
        what, missing, known = self.form
        return f"{text}; most differ only in {what} from an id there, such as {side} {missing!r} and {known!r}"


@dataclass(frozen=True)
class DataFacts:
    """The measurements of an extract.

    Attributes:
        tables: facts by table: interactions, users, items.
        orphans: interactions whose user or item is in no table.
        missing: what is missing on each side.
        invalid_ratings: interactions whose rating is NULL, NaN or infinite.
        distinct_ratings: different finite ratings; None if unknown.
        most_frequent: the most frequent rating, and the share of interactions that have it; None without ratings.
        newest_interaction: in UTC; None without timestamps.
        has_timestamps: whether the settings name a column of timestamps.
        examples: the first offenders by gate, in words.
    """

    tables: Mapping[str, TableFacts]
    orphans: int | None = None
    missing: tuple[MissingIds, ...] = ()
    invalid_ratings: int | None = None
    distinct_ratings: int | None = None
    most_frequent: tuple[float, float] | None = None
    newest_interaction: datetime | None = None
    has_timestamps: bool = True
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def judge_data(facts: DataFacts, gates: DataThresholds, now: datetime) -> GateReport:
    """Judge an extract.

    Args:
        facts: as measured.
        gates: the thresholds of the settings.
        now: with a time zone.
    """
    findings = [
        _schema(facts),
        _null_ids(facts, gates),
        *(_duplicates(facts, gates, name) for name in ORDER),
        _orphans(facts, gates),
        _ratings(facts, gates),
        _rating_spread(facts, gates),
        _freshness(facts, gates, now),
    ]
    users = facts.tables["users"].rows if "users" in facts.tables else None
    return GateReport(tuple(replace(finding, users=users) for finding in findings))


def _schema(facts: DataFacts) -> Finding:
    problems = [f"{name}: no such table was extracted" for name in ORDER if name not in facts.tables]
    for name in ORDER:
        if table := facts.tables.get(name):
            problems += [f"{name}: {problem}" for problem in table.schema_problems]
            problems += [] if table.rows else [f"{name}: no rows"]
    if problems:
        problems[-1] += ": correct the query, or the names of the columns in the settings (source)"
    message = "; ".join(problems) or "all tables have rows, and the columns that the settings name"
    return at_most("schema", len(problems), 0, message)


def _null_ids(facts: DataFacts, gates: DataThresholds) -> Finding:
    shares = {name: _null_share(facts.tables.get(name)) for name in ORDER}
    known = {name: share for name, share in shares.items() if share is not None}
    if len(known) < len(ORDER):
        unknown = ", ".join(name for name in ORDER if name not in known)
        message = f"the number of rows of {unknown} without an id is unknown"
        return at_most("null_ids", None, gates.max_null_id_share, message)
    worst = max(known, key=known.__getitem__)
    counts = ", ".join(f"{facts.tables[name].null_ids:,} in {name}" for name in ORDER)
    message = f"rows left out because their id is NULL or empty: {counts}"
    if known[worst]:
        message += f"; the largest share in {worst}: correct {worst}.sql or the table"
    return at_most("null_ids", known[worst], gates.max_null_id_share, message)


def _null_share(table: TableFacts | None) -> float | None:
    if table is None or table.null_ids is None:
        return None
    return _share(table.null_ids, table.rows + table.null_ids)


def _duplicates(facts: DataFacts, gates: DataThresholds, name: str) -> Finding:
    gate = f"unique_{name}"
    table = facts.tables.get(name)
    merged = table.merged if table else 0
    repeats = {"interactions": "a user's rating of an item", "users": "a user", "items": "an item"}[name]
    return _counted(
        facts,
        gate,
        gates.max_duplicate_share,
        (name, None if table is None else table.duplicates),
        f"repeat {repeats}" + (f", after {merged:,} more were merged into others (source.repeated)" if merged else ""),
        f"{name}.sql must return one row for each",
    )


def _orphans(facts: DataFacts, gates: DataThresholds) -> Finding:
    has_form = any(side.form for side in facts.missing)
    remedy = (
        "let the queries write an id in one way, e.g. by TRIM, LOWER or CAST"
        if has_form
        else "let interactions.sql return only those of users.sql and items.sql, or leave these two files out"
    )
    return _counted(
        facts,
        "orphan_ids",
        gates.max_orphan_share,
        ("interactions", facts.orphans),
        "have a user or an item that is in no table",
        "; ".join((*(side.describe() for side in facts.missing), remedy)),
    )


def _ratings(facts: DataFacts, gates: DataThresholds) -> Finding:
    return _counted(
        facts,
        "finite_ratings",
        gates.max_invalid_rating_share,
        ("interactions", facts.invalid_ratings),
        "have a rating that is NULL, NaN or infinite",
        "leave them out in interactions.sql",
    )


def _rating_spread(facts: DataFacts, gates: DataThresholds) -> Finding:
    bound = f"HOLD > {gates.max_single_rating_share:g}, FAIL if all are equal"
    if facts.distinct_ratings is None or facts.most_frequent is None:
        return Finding("rating_spread", Verdict.FAIL, None, bound, "How the ratings are spread was not measured.")
    rating, share = facts.most_frequent
    if facts.distinct_ratings == 1:
        message = (
            f"Every interaction has the rating {rating:g}, so a model of ratings learns nothing and recommends the "
            "same items to everyone: let interactions.sql return a rating that differs, such as stars, or, for "
            "purchases, set training.recipe to ease and source.implicit to true"
        )
        return Finding("rating_spread", Verdict.FAIL, share, bound, message + ".")
    message = (
        f"{facts.distinct_ratings:,} different ratings; {share:.1%} of the interactions have the rating {rating:g}"
    )
    verdict = Verdict.PASS if share <= gates.max_single_rating_share else Verdict.HOLD
    if verdict is Verdict.HOLD:
        message += ": there is hardly anything to learn from; let interactions.sql return a rating that differs more"
    return Finding("rating_spread", verdict, share, bound, message + ".")


def _counted(
    facts: DataFacts, gate: str, bound: float, counted: tuple[str, int | None], what: str, advice: str
) -> Finding:
    """Judge the share of a table's rows that are wrong in one way.

    Args:
        facts: for the table's rows and the examples.
        gate: name of the gate.
        bound: the largest share that passes.
        counted: the table, and how many of its rows are wrong.
        what: the fault, as a verb phrase.
        advice: what to do when there are any.
    """
    name, count = counted
    table = facts.tables.get(name)
    if table is None or count is None:
        return at_most(gate, None, bound, f"how many rows of {name} {what} was not measured")
    message = f"{count:,} of {table.rows:,} rows of {name} {what}"
    if count:
        examples = ", ".join(facts.examples.get(gate, ()))
        message += (f" (first: {examples})" if examples else "") + f": {advice}"
    return at_most(gate, _share(count, table.rows), bound, message)


def _freshness(facts: DataFacts, gates: DataThresholds, now: datetime) -> Finding:
    newest = facts.newest_interaction
    if newest is None:
        why = (
            "no interaction has a timestamp: let interactions.sql return when it was"
            if facts.has_timestamps
            else "the setting source.timestamp_column is null, so the age of the data is unknown: name the column"
        )
        return at_most("freshness", None, gates.max_age_hours, why, otherwise=Verdict.HOLD, scale=Scale.HOURS)
    hours = (now - newest) / timedelta(hours=1)
    message = f"the newest interaction is from {newest:%Y-%m-%d %H:%M} UTC, {hours:,.1f} hours ago"
    if hours > gates.max_age_hours:
        message += ": check that new interactions reach this database, or raise gates.max_age_hours"
    if -hours > gates.max_future_hours:
        message = f"the newest interaction is in the future ({newest:%Y-%m-%d %H:%M} UTC): check clock and time zone"
        bound = f">= {Scale.HOURS.show(-gates.max_future_hours)}"
        return Finding("freshness", Verdict.HOLD, hours, bound, message, scale=Scale.HOURS)
    return at_most("freshness", hours, gates.max_age_hours, message, otherwise=Verdict.HOLD, scale=Scale.HOURS)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
