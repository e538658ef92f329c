"""Which list new users get: ADS's, by predicted rating, or the most popular items; and how both rank.

Both are compared on users whose interactions were left out of a training. One half of these users chooses the list. The
other half judges it, so that the choice does not flatter the figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.gates.scales import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.domain.recipes import Recipe

OPERATOR, POPULARITY, BEST = "operator", "popularity", "best"
TITLES = {OPERATOR: "ADS's list, by predicted rating", POPULARITY: "the most popular items"}


@dataclass(frozen=True)
class Half:
    """Both lists on one half of the held-out users.

    Attributes:
        users: of this half.
        operator: mean NDCG of ADS's list.
        popularity: mean NDCG of the most popular items.
        low: lower end of the 95 % interval of ``popularity`` less ``operator``, over users.
        high: upper end.
    """

    users: int
    operator: float
    popularity: float
    low: float
    high: float

    def describe(self, depth: int) -> str:
        """Return the figures as text."""
        return (
            f"NDCG@{depth} {plain(self.popularity)} of the most popular items against {plain(self.operator)} of ADS's "
            f"list; 95 % interval of the difference {plain(self.low)} to {plain(self.high)}; {self.users:,} users"
        )


@dataclass(frozen=True)
class ListComparison:
    """Both lists on both halves.

    Attributes:
        depth: length of a list.
        choice: the half that chooses.
        judged: the half that judges.
    """

    depth: int
    choice: Half
    judged: Half

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> ListComparison:
        """Return a comparison from plain values."""
        return cls(values["depth"], Half(**values["choice"]), Half(**values["judged"]))


@dataclass(frozen=True)
class NewUserList:
    """The list for new users of one training.

    Attributes:
        setting: ``training.new_users``.
        kind: `OPERATOR` or `POPULARITY`.
        why: the reason for the choice, as a clause.
        compared: the comparison of both lists; None if there was none.
        unmeasured: why there was none, as a clause; empty if there was one.
    """

    setting: str
    kind: str
    why: str
    compared: ListComparison | None = None
    unmeasured: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> NewUserList:
        """Return what `to_plain` turned into plain values."""
        compared = values["compared"]
        return cls(**{**values, "compared": ListComparison.from_plain(compared) if compared else None})

    @property
    def advises_popularity(self) -> bool:
        """Return whether the most popular items are clearly better on both halves, and new users get ADS's list."""
        compared = self.compared
        return self.kind == OPERATOR and compared is not None and compared.choice.low > 0 and compared.judged.low > 0

    def describe(self) -> tuple[str, ...]:
        """Return sentences: what new users get and why, both lists compared, and the setting to change."""
        sentences = [f"New users get {TITLES[self.kind]}: {self.why}."]
        if self.compared:
            judged = self.compared.judged.describe(self.compared.depth)
            sentences.append(f"On the half of the held-out users that judges: {judged}.")
        elif self.unmeasured:
            sentences.append(f"Not compared with the other list: {self.unmeasured}.")
        if self.advises_popularity:
            sentences.append(
                "The most popular items are clearly better for new users: set training.new_users to popularity, or to "
                "best, which chooses in each training. It decides nothing about this release."
            )
        return tuple(sentences)


def choose_new_users(setting: str, recipe: Recipe, measured: Mapping[str, Any] | None) -> NewUserList:
    """Return which list new users get.

    Args:
        setting: ``training.new_users``.
        recipe: of the model; one that predicts no ratings has one list only.
        measured: the comparison as plain values, or ``why`` there is none; None if none was requested.
    """
    if not recipe.predicts_ratings:
        return NewUserList(setting, POPULARITY, f"the recipe {recipe.name} predicts no ratings")
    unmeasured = "" if measured is None else str(measured.get("why", ""))
    compared = None if measured is None or unmeasured else ListComparison.from_plain(measured)
    if setting != BEST:
        return NewUserList(setting, setting, f"training.new_users is {setting}", compared, unmeasured)
    if compared is None:
        return NewUserList(setting, OPERATOR, "the two lists could not be compared", None, unmeasured)
    kind, word = (POPULARITY, "clearly") if compared.choice.low > 0 else (OPERATOR, "not clearly")
    figures = compared.choice.describe(compared.depth)
    return NewUserList(setting, kind, f"the most popular items rank {word} better ({figures})", compared)
