"""What the recommendation database and the fallback of an artifact hold, read in the clean process.

They may come from the Model Catalog: a crafted file must neither keep a worker busy nor fill its memory. Every function
raises `IntegrityError` if the file is missing, damaged, or not one of this project's.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.artifacts import readers
from recdeploy_ops.artifacts.artifact import DATABASE, FALLBACK
from recdeploy_ops.artifacts.clean_process import Job, Limits, call_in_clean_process, open_answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recdeploy_ops.training.recommendations import Ranking

MEMORY_BYTES = 1 << 30  # besides the file, which the process may map
ANSWER_BYTES = 1 << 20  # for each list that is read, and once for an error
# Of the file's size, as text: a position has 4 bytes and at most 10 digits, a rating 8 and 24, a control character 1
# and 6. Equal texts are stored once in a pickle, but ours has no equal texts.
LARGEST_RATIO = 8
SECONDS = 300.0
BYTES_EACH_SECOND = 1 << 20  # of a database that is read whole, on a slow machine


def sample_users(folder: Path, count: int) -> list[str]:
    """Return the ids of up to ``count`` users who have a list in an artifact."""
    [users] = _read(folder / DATABASE, "sample_users", count, output=ANSWER_BYTES * (count + 1))
    return list(users)


def sample_lists(folder: Path, count: int, *, seed: int) -> dict[str, tuple[tuple[str, float], ...]]:
    """Return the lists of up to ``count`` users of an artifact, best first, drawn at random.

    The same artifact and seed give the same users. Users whose list is empty are never drawn.
    """
    [lists] = _read(folder / DATABASE, "sample_lists", count, seed, output=ANSWER_BYTES * (count + 1))
    return {user: tuple((item, rating) for item, rating in ranking) for user, ranking in lists}


def has_list(database: Path, user: str) -> bool:
    """Return whether a recommendation database has a list for a user."""
    [answer] = _read(database, "has_list", user, output=ANSWER_BYTES)
    return bool(answer)


def read_products(folder: Path) -> list[str]:
    """Return the products that an artifact recommends, by their position in the lists."""
    return _read(folder / DATABASE, "read_products")


@contextmanager
def open_rankings(folder: Path) -> Iterator[Iterator[tuple[str, list[tuple[str, float]]]]]:
    """Yield each user of an artifact with products and ratings, best first, while the block lasts."""
    products, database = read_products(folder), folder / DATABASE
    limits = _limit(database, SECONDS + database.stat().st_size / BYTES_EACH_SECOND)
    with open_answers(_job(database, "read_rankings"), limits) as answers:
        yield (
            (user, [(products[position], rating) for position, rating in zip(positions, ratings, strict=True)])
            for user, positions, ratings in answers
        )


def read_fallback(folder: Path) -> Ranking:
    """Return the list for new users of an artifact."""
    [ranking] = _read(folder / FALLBACK, "read_fallback", failed="is not a list of products and ratings")
    return [(item, rating) for item, rating in ranking]


def _read(
    file: Path, function: str, *arguments: object, failed: str = "cannot be read", output: int | None = None
) -> list[Any]:
    return call_in_clean_process(_job(file, function, *arguments, failed=failed), _limit(file, SECONDS, output))


def _job(file: Path, function: str, *arguments: object, failed: str = "cannot be read") -> Job:
    calls = [(function, (str(file.absolute()), *arguments))]
    return Job(what=str(file), failed=failed, source=_source(), path=Path(readers.__file__), calls=calls)


def _limit(file: Path, seconds: float, output: int | None = None) -> Limits:
    size = file.stat().st_size if file.is_file() else 0
    return Limits(
        memory=MEMORY_BYTES + size,
        output=ANSWER_BYTES + LARGEST_RATIO * size if output is None else output,
        seconds=seconds,
    )


@cache
def _source() -> str:
    return Path(readers.__file__).read_text(encoding="utf-8")
