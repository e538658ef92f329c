"""Recommendations that a person's own code has made: a CSV file becomes the results of a release.

Artifact, gates, test deployment, approval and promotion are then those of every release.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recdeploy_ops.deployment_manager.assumed_extracts import store_assumed_extract
from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.events import DataExtracted, ModelTrained
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.domain.texts import LONGEST_ID
from recdeploy_ops.storage.bundles import store_bundle, write_manifest
from recdeploy_ops.training.recommendations import NEW_USERS, RECOMMENDATIONS
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.settings import SourceSettings

log = logging.getLogger(__name__)

SCORE = "score"  # the guide's authors' name for a rating
FIX = "Write it with recommendations.to_csv('recommendations.csv', index=False)"


def read_recommendations(given: str | Path | pd.DataFrame, source: SourceSettings) -> pd.DataFrame:
    """Read lists from a CSV file or a table: a row for each recommendation, in any order.

    Args:
        given: path of a file in UTF-8 with a header; or a table, whose ids are text or whole numbers.
        source: names its columns; `score` stands for the rating too. Other columns are not used.

    Returns:
        User, product (text, unchanged) and rating (finite numbers), under the names of the settings; each user's rows
        together, in the order of first appearance, the highest rating first and equal ones in the file's order.

    Raises:
        SettingsError: the file or a column is missing, an id is empty or too long, a rating is not a finite number, or
            a product stands twice in one list.
    """
    columns = [source.user_column, source.item_column, source.rating_column]
    table = _read(given, columns)
    user, item, rating = columns
    repeated = table.duplicated([user, item])
    _refuse(given, table, repeated, "repeat a product in one user's list")
    order = pd.factorize(table[user])[0]
    by_rating = np.lexsort((-table[rating].to_numpy(), order))  # stable: equal ratings keep their order
    return table.iloc[by_rating].reset_index(drop=True)


def read_new_user_list(path: str | Path, source: SourceSettings) -> pd.DataFrame:
    """Read the list for new users from a CSV file: products and ratings, best first, whatever the ratings are.

    Raises:
        SettingsError: as from `read_recommendations`.
    """
    table = _read(path, [source.item_column, source.rating_column])
    _refuse(path, table, table.duplicated([source.item_column]), "repeat a product")
    return table


def store_recommendations(
    context: ReleaseContext, table: pd.DataFrame, new_users: pd.DataFrame | None, top_k: int
) -> dict[str, int]:
    """Store and record lists as the results of the run's release; return ``users``, ``items`` and ``rows``.

    If the run has extracted data, the lists are judged against them. Otherwise users and products are taken from the
    lists.

    Args:
        context: of the run, whose release is open.
        table: as from `read_recommendations`, lists of any length.
        new_users: as from `read_new_user_list`; None for the products that are recommended most often.
        top_k: length of the lists; longer ones are cut.
    """
    source, release = context.settings.source, context.confirm_lock()
    lists = table.groupby(source.user_column, sort=False).head(top_k)
    counts = {
        "users": int(lists[source.user_column].nunique()),
        "items": int(lists[source.item_column].nunique()),
        "rows": len(lists),
    }
    if len(lists) < len(table):
        log.warning("Lists longer than %s are cut: %s of %s rows are left.", top_k, len(lists), len(table))
    with workspace() as scratch:
        extracted = release.get(DataExtracted)
        has_data = extracted is not None and ModelTrained.IMPORTED not in context.open_bundle(DataExtracted).facts
        if extracted is not None and has_data:
            inputs: dict[str, Any] = {"extract": extracted.digest}
        else:
            items = list(dict.fromkeys(table[source.item_column]))
            if new_users is not None:
                items = list(dict.fromkeys([*items, *new_users[source.item_column]]))
            digest = store_assumed_extract(context, scratch / "extract", _rankings(lists, source), items, top_k)
            inputs = {"extract": digest, ModelTrained.IMPORTED: True}
        inputs |= {"top_k": top_k, "seed": release.retrain_params.seed}
        results = scratch / "results"
        results.mkdir()
        lists.to_csv(results / RECOMMENDATIONS, index=False, lineterminator="\n")
        if new_users is not None:
            new_users.head(top_k).to_csv(results / NEW_USERS, index=False, lineterminator="\n")
        write_manifest(results, {"inputs": inputs, "metrics": counts})
        stored = store_bundle(context.store, context.prefix("results"), results)
    context.record(ModelTrained(prefix=stored.prefix, digest=stored.digest, inputs=inputs, metrics=counts))
    return counts


def longest_list(table: pd.DataFrame, source: SourceSettings) -> int:
    """Return the length of the longest list."""
    return int(table[source.user_column].value_counts(sort=False).max())


def _read(given: str | Path | pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return the columns of a file or a table: ids as text, and the rating, finite numbers, as the last one."""
    name = _name(given)
    table = _texts(given) if isinstance(given, pd.DataFrame) else _read_file(Path(given).expanduser())
    rating, named = columns[-1], ", ".join(map(repr, table.columns)) or "none"
    if rating not in table and SCORE in table:
        table = table.rename(columns={SCORE: rating})
    missing = [column for column in columns if column not in table]
    if missing or table.empty:
        what = f"lacks {', '.join(missing)}" if missing else "has no rows"
        raise SettingsError(
            f"{name} {what}; its columns are {named}. It must have {', '.join(columns)}, or {SCORE} for the last one.",
            Remedy(FIX),
        )
    table = table[columns]
    for column in columns[:-1]:
        _refuse(given, table, table[column].str.strip().eq(""), f"have no {column}")
        too_long = table[column].str.len() > LONGEST_ID
        _refuse(given, table, too_long, f"have a {column} of more than {LONGEST_ID:,} characters")
    ratings = pd.to_numeric(table[rating], errors="coerce").to_numpy(dtype=float)
    _refuse(given, table, ~np.isfinite(ratings), f"have a {rating} that is not a finite number")
    return table.assign(**{rating: ratings})


def _read_file(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as err:
        raise SettingsError(f"{path} does not exist.", Remedy(FIX)) from err
    except (OSError, ValueError) as err:  # pandas' own errors are ValueErrors
        raise SettingsError(f"{path} cannot be read: {err}.", Remedy(FIX)) from err


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its values as text, missing ones as none.

    Raises:
        SettingsError: a column of ids has numbers with a fraction: 7 would become the user 7.0.
    """
    texts = {}
    for column in table.columns:
        values = table[column]
        if pd.api.types.is_float_dtype(values) and str(column).endswith("_id"):
            raise SettingsError(
                f"The column {column} has floating-point numbers, so that 7 would become the id 7.0.",
                Remedy(f"Read it as text, e.g. pd.read_csv(..., dtype={{{str(column)!r}: str}})"),
            )
        texts[column] = values.astype(str).where(values.notna(), "")
    return pd.DataFrame(texts)


def _name(given: str | Path | pd.DataFrame) -> str:
    return "the table" if isinstance(given, pd.DataFrame) else str(given)


def _refuse(given: str | Path | pd.DataFrame, table: pd.DataFrame, wrong: Any, what: str) -> None:
    rows = np.flatnonzero(np.asarray(wrong))
    if rows.size:
        first = ", ".join(f"{value!r:.80}" for value in table.iloc[int(rows[0])].tolist())
        raise SettingsError(f"{rows.size:,} rows of {_name(given)} {what} (first: row {rows[0] + 2:,}: {first}).")


def _rankings(lists: pd.DataFrame, source: SourceSettings) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    columns = [source.item_column, source.rating_column]
    for user, rows in lists.groupby(source.user_column, sort=False):
        yield str(user), list(zip(*(rows[name].tolist() for name in columns), strict=True))
