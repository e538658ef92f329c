"""The backtest: interactions held out of the champion's data, and how well lists meet them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
from scipy import stats

from recdeploy_ops.domain.gates.quality import QualityFacts
from recdeploy_ops.domain.rankings import RANDOM, Ranked, Rankings
from recdeploy_ops.evaluation.interactions import hash_rows, hash_text, positions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from recdeploy_ops.domain.gates.quality import QualityThresholds
    from recdeploy_ops.evaluation.interactions import Interactions
    from recdeploy_ops.evaluation.list_matrix import Matrix

    Floats = NDArray[np.float64]

LEVEL = 0.95


def hold_out_last(interactions: Interactions, bounds: QualityThresholds) -> NDArray[np.int64]:
    """Return the rows to hold out: the last of each user who has enough, ordered by user.

    Without timestamps they are drawn, by a hash of the row. Of more users than `most_users` a sample is drawn, by a
    hash of their id. So the same rows give the same sample.

    Args:
        interactions: the champion's.
        bounds: how many to hold out.
    """
    users = interactions.users.codes
    order_in_user = interactions.times if interactions.times is not None else hash_rows(interactions)
    order = np.lexsort((order_in_user, users))
    sorted_users = users[order]
    starts = np.searchsorted(sorted_users, sorted_users)
    counts = np.searchsorted(sorted_users, sorted_users, side="right") - starts
    from_end = counts - 1 - (np.arange(len(order)) - starts)
    wanted = np.minimum(bounds.most_held_out, np.floor(counts * bounds.held_out_share))
    held = order[(from_end < wanted) & (counts >= bounds.fewest_interactions)]
    asked = _sample(interactions, np.unique(users[held]), bounds.most_users)
    return np.asarray(held[np.isin(users[held], asked)])


def _sample(interactions: Interactions, users: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    if len(users) <= most:
        return users
    ids = interactions.users.ids.take(users).to_pylist()
    hashes = np.fromiter(map(hash_text, ids), np.uint64, len(ids))
    return users[np.argpartition(hashes, most)[:most]]


@dataclass(frozen=True)
class HeldOut:
    """What lists are asked for.

    Attributes:
        pairs: user and item of each held-out interaction, distinct, in the order of the users.
        users: number of users.
        items: the id of each item number; shape (items,).
        keys: ``user * len(items) + item`` of each pair, ascending; users are numbered in the order of ``pairs``.
        counts: held-out items of each user; shape (users,).
    """

    pairs: list[tuple[str, str]]
    users: int
    items: pa.Array
    keys: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of_pairs(cls, users: pa.Array, items: pa.Array, all_items: pa.Array) -> HeldOut:
        """Return the same from its pairs, in their order, and the id of each item number."""
        numbers = positions(users, pc.unique(users))  # in the order in which they appear
        keys = numbers * len(all_items) + positions(items, all_items)
        counts = np.bincount(numbers)
        return cls(list(zip(users.to_pylist(), items.to_pylist(), strict=True)), len(counts), all_items, keys, counts)

    def hits(self, lists: Matrix) -> NDArray[np.bool_]:
        """Return where a list has a held-out item; the shape of ``lists``.

        Args:
            lists: a row per user; numbers as in ``items``, -1 for none or another item.
        """
        keys = np.arange(self.users)[:, None] * np.int64(len(self.items)) + lists
        where = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.asarray((self.keys[where] == keys) & (lists >= 0))


def collect_held_out(interactions: Interactions, rows: NDArray[np.int64]) -> HeldOut:
    """Return the held-out pairs of these rows, which are ordered by user."""
    width = len(interactions.items.ids)
    users, numbers = np.unique(interactions.users.codes[rows], return_inverse=True)
    keys = np.unique(numbers.astype(np.int64) * width + interactions.items.codes[rows])
    of_user, of_item = np.divmod(keys, max(width, 1))
    ids = interactions.users.ids.take(users[of_user]).to_pylist()
    items = interactions.items.ids.take(of_item).to_pylist()
    return HeldOut(
        pairs=list(zip(ids, items, strict=True)),
        users=len(users),
        items=interactions.items.ids,
        keys=keys,
        counts=np.bincount(of_user, minlength=len(users)),
    )


def ndcg(hits: NDArray[np.bool_], counts: NDArray[np.int64]) -> Floats:
    """Return the normalised discounted cumulative gain of each list; shape (users,).

    Relevance is binary and the discount ``1 / log2(rank + 1)`` (Jarvelin and Kekalainen, "Cumulated gain-based
    evaluation of IR techniques", 2002). The ideal list begins with as many relevant items as there are, at most its
    length.

    Args:
        hits: which ranks have a relevant item; shape (users, depth).
        counts: relevant items of each user, at least 1; shape (users,).
    """
    discounts = _discounts(hits.shape[1])
    ideal = np.cumsum(discounts)[np.minimum(counts, len(discounts)) - 1]
    return np.asarray((hits @ discounts) / ideal)


def random_ndcg(counts: NDArray[np.int64], unrated: NDArray[np.int64], depth: int) -> float:
    """Return the expected mean NDCG of random lists.

    Args:
        counts: relevant items of each user; shape (users,).
        unrated: items that each user can be recommended; shape (users,).
        depth: length of a list.
    """
    discounts = _discounts(depth)
    ideal = np.cumsum(discounts)[np.minimum(counts, depth) - 1]
    return float(np.mean(counts / np.maximum(unrated, 1) * discounts.sum() / ideal))


def list_popular(known: Interactions, asked: NDArray[np.int64], depth: int) -> Matrix:
    """Return the most popular items that each user has not rated; shape (users, depth), -1 where a list is shorter.

    Args:
        known: says what is popular, and what a user has rated.
        asked: codes of the users, in ascending order.
        depth: length of a list.
    """
    popularity = np.bincount(known.items.codes, minlength=len(known.items.ids))
    order = np.argsort(-popularity, kind="stable")
    own = np.flatnonzero(np.isin(known.users.codes, asked))
    own = own[np.argsort(known.users.codes[own], kind="stable")]
    bounds = np.searchsorted(known.users.codes[own], [asked, asked + 1])
    lists = np.full((len(asked), depth), -1, np.int32)
    for number, (start, end) in enumerate(bounds.T):
        rated = known.items.codes[own[start:end]]
        first = order[: depth + len(rated)]
        chosen = first[~np.isin(first, rated)][:depth]
        lists[number, : len(chosen)] = chosen
    return lists


def compare_quality(
    champion: list[Matrix], candidate: list[Matrix], held_out: HeldOut, baselines: tuple[float, float]
) -> QualityFacts:
    """Compare two sides, each trained several times. Lists have the item numbers of ``held_out``.

    Users vary, and so do seeds, which move all users at once. So the variance of the difference is
    ``Var(d) / n + s_A^2 / K_A + s_B^2 / K_B``: d is the difference of a user's means over the trainings, s^2 the
    variance over trainings of the mean over users, of which a deterministic recipe has none. The interval is Student's,
    with the degrees of freedom of Welch and Satterthwaite.

    Args:
        champion: the lists of each training.
        candidate: likewise.
        held_out: what was asked for.
        baselines: NDCG of random lists and of the most popular items.
    """
    depth = champion[0].shape[1]
    hits = [[held_out.hits(lists) for lists in side] for side in (champion, candidate)]
    scores = [np.array([ndcg(hit, held_out.counts) for hit in side]) for side in hits]
    at_10 = [np.array([ndcg(hit[:, :10], held_out.counts) for hit in side]) for side in hits]
    with_hit = np.any([hit.any(axis=1) for side in hits for hit in side], axis=0)
    relative, low, high = relative_difference(*scores)
    return QualityFacts(
        users=held_out.users,
        hits=int(with_hit.sum()),
        relative=relative,
        low=low,
        high=high,
        champion=float(scores[0].mean()),
        candidate=float(scores[1].mean()),
        at_10=relative_difference(*at_10),
        random=baselines[0],
        popularity=baselines[1],
        depth=depth,
        champion_trainings=len(champion),
        candidate_trainings=len(candidate),
    )


def rank_recipes(
    configured: tuple[str, list[Matrix]], others: Mapping[str, Matrix], held_out: HeldOut, random: float, why: str
) -> Rankings:
    """Compare a recipe with others, each trained once. Lists have the item numbers of ``held_out``.

    Args:
        configured: the name of the recipe, and the lists of each training.
        others: lists by the name of the recipe.
        held_out: what was asked for.
        random: NDCG of random lists.
        why: why the challenger is missing; empty if it is there.
    """
    name, own_lists = configured
    own = np.array([ndcg(held_out.hits(lists), held_out.counts) for lists in own_lists])
    base = float(own.mean())
    rows = []
    for other, lists in others.items():
        scores = ndcg(held_out.hits(lists), held_out.counts)[None]
        difference = [number if np.isfinite(number) else None for number in relative_difference(own, scores)]
        rows.append(Ranked(other, float(scores.mean()), *difference))
    rows.append(Ranked(RANDOM, random, random / base - 1 if base > 0 else None))
    return Rankings(Ranked(name, base), tuple(rows), own_lists[0].shape[1], held_out.users, why)


def relative_difference(champion: Floats, candidate: Floats) -> tuple[float, float, float]:
    """Return the mean difference relative to the champion's mean, and its 95 % interval; NaN if that mean is 0.

    Args:
        champion: quality of each training and user; shape (trainings, users).
        candidate: likewise, for the same users.
    """
    difference = candidate.mean(axis=0) - champion.mean(axis=0)
    parts = [(difference.var(ddof=1) / len(difference), len(difference) - 1)] if len(difference) > 1 else []
    for side in (champion, candidate):
        if len(side) > 1:
            parts.append((side.mean(axis=1).var(ddof=1) / len(side), len(side) - 1))
    variance = sum(part for part, _ in parts)
    base = champion.mean()
    if not parts or not base > 0:
        return float("nan"), float("nan"), float("nan")
    half = 0.0
    if variance > 0:
        freedom = variance**2 / sum(part**2 / free for part, free in parts if part > 0)
        half = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance))
    mean = float(difference.mean())
    return mean / float(base), (mean - half) / float(base), (mean + half) / float(base)


def _discounts(depth: int) -> Floats:
    return np.asarray(1 / np.log2(np.arange(2, depth + 2)))
