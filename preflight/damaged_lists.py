"""What goes wrong with lists between the training and the artifact, planted on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    from preflight.weeks import Week
    from recdeploy_ops.evaluation.list_matrix import Matrix

    Change = Callable[[Matrix, Week, Generator], Matrix]


@dataclass(frozen=True)
class ListDamage:
    """One damage.

    Attributes:
        what: in words.
        plant: returns the damaged lists; shape (users, top_k).
        is_missed: whether the gates may miss it.
    """

    what: str
    plant: Change
    is_missed: bool = False


def random_lists(users: NDArray[np.int64], week: Week, depth: int, random: Generator) -> Matrix:
    """Return lists of unrated items at random; shape (users, depth)."""
    order = np.where(week.rated[users], 2.0, random.random((len(users), week.rated.shape[1])))
    return np.argsort(order, axis=1)[:, :depth].astype(np.int32)


def _popular(lists: Matrix, week: Week, random: Generator) -> Matrix:
    order = np.where(week.rated, 1, -week.rated.sum(axis=0))
    return np.argsort(order, axis=1, kind="stable")[:, : lists.shape[1]].astype(np.int32)


def _draw(lists: Matrix, share: float, random: Generator) -> NDArray[np.int64]:
    return random.choice(len(lists), int(share * len(lists)), replace=False)


def _random(share: float) -> Change:
    def plant(lists: Matrix, week: Week, random: Generator) -> Matrix:
        lists, hit = lists.copy(), _draw(lists, share, random)
        lists[hit] = random_lists(hit, week, lists.shape[1], random)
        return lists

    return plant


def _exchange(share: float, *, is_repaired: bool = False) -> Change:
    """Users get another one's list; what they have rated may be replaced by random items."""

    def plant(lists: Matrix, week: Week, random: Generator) -> Matrix:
        lists, hit = lists.copy(), _draw(lists, share, random)
        shifted = lists[np.roll(hit, 1)]
        if is_repaired:
            spare = random_lists(hit, week, lists.shape[1], random)
            shifted = np.where(week.rated[hit[:, None], shifted], spare, shifted)
        lists[hit] = shifted
        return lists

    return plant


def _shuffle_order(lists: Matrix, week: Week, random: Generator) -> Matrix:
    lists, hit = lists.copy(), _draw(lists, 0.2, random)
    lists[hit] = random.permuted(lists[hit], axis=1)
    return lists


def _same_for_all(lists: Matrix, week: Week, random: Generator) -> Matrix:
    top = np.argsort(-week.rated.sum(axis=0), kind="stable")[: lists.shape[1]]
    return np.tile(top.astype(np.int32), (len(lists), 1))


def _first_of_catalogue(lists: Matrix, week: Week, random: Generator) -> Matrix:
    """The catalogue's first unrated items, as ratings that are all equal give them."""
    return np.argsort(week.rated, axis=1, kind="stable")[:, : lists.shape[1]].astype(np.int32)


def _new_user_list(share: float) -> Change:
    """Users who were dropped from training get the list for new users, without what they have rated."""

    def plant(lists: Matrix, week: Week, random: Generator) -> Matrix:
        lists, hit = lists.copy(), _draw(lists, share, random)
        shown = np.bincount(lists[lists >= 0], minlength=week.rated.shape[1])
        order = np.where(week.rated[hit], 1, -shown)
        lists[hit] = np.argsort(order, axis=1, kind="stable")[:, : lists.shape[1]]
        return lists

    return plant


# Damage of few users: chance hides it in lists that depend on a seed.
SMALL_DAMAGES = {
    "random-1": ListDamage("lists at random for 1 % of the users", _random(0.01), is_missed=True),
    "exchanged-repaired-2": ListDamage(
        "lists exchanged among 2 % of the users, rated items replaced",
        _exchange(0.02, is_repaired=True),
        is_missed=True,
    ),
}
LIST_DAMAGES = {
    "random-5": ListDamage("lists at random for 5 % of the users", _random(0.05)),
    "random-20": ListDamage("lists at random for 20 % of the users", _random(0.20)),
    "random-50": ListDamage("lists at random for 50 % of the users", _random(0.50)),
    "exchanged-5": ListDamage("lists exchanged among 5 % of the users", _exchange(0.05)),
    "exchanged-20": ListDamage("lists exchanged among 20 % of the users", _exchange(0.20)),
    "exchanged-repaired": ListDamage(
        "lists exchanged among 20 % of the users, rated items replaced", _exchange(0.20, is_repaired=True)
    ),
    "order": ListDamage("the order within 20 % of the lists is shuffled", _shuffle_order, is_missed=True),
    "same": ListDamage("everybody gets the same popular items", _same_for_all),
    "popular": ListDamage("everybody gets the most popular unrated items", _popular),
    "catalogue": ListDamage("everybody gets the first items of the catalogue", _first_of_catalogue),
    "new-user-10": ListDamage("10 % of the users get the list for new users", _new_user_list(0.10)),
}
