"""Why lists change between champion and candidate: by the seed, by new data, or by other settings.

The candidate's twins, trained on the same rows by the same recipe, show what the seed alone changes. The rest comes
from new data if the settings are the champion's, and from the settings if the data are the champion's. If both differ,
they cannot be told apart: that would take a training with today's settings on the champion's data, which no gate needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The values of settings that did not exist yet when a model was trained.
BEFORE = {"recipe": "svd", "ensemble": 1}
WITHOUT_EFFECT = {"engine"}  # both engines give the same lists
APART = "data and settings both differ ({}), so that they cannot be told apart"
UNKNOWN = "the champion's recipe is unknown"
NO_TWINS = "there are no twins"


@dataclass(frozen=True)
class Part:
    """One reason why lists change.

    Attributes:
        title: of the reason.
        items: that a list loses for this reason, on average; None if it was not measured.
        note: how it was measured, or why not, as a clause.
        low: lower end of the 95 % interval over users, at least 0; None without one.
        high: upper end.
    """

    title: str
    items: float | None
    note: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Churn:
    """How much lists change, and what differs.

    Attributes:
        lost: items of the champion's list that a user loses, on average.
        beyond: of those, beyond what the seed alone changes; None without twins.
        low: lower end of its 95 % interval over users; None without one.
        high: upper end.
        has_seed: whether the candidate's recipe has a seed.
        has_new_data: whether both were trained on different extracts.
        changed: the names of the settings that differ; None if the champion's are unknown.
    """

    lost: float
    beyond: float | None
    low: float | None
    high: float | None
    has_seed: bool
    has_new_data: bool
    changed: tuple[str, ...] | None

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Churn:
        """Return the churn from plain values."""
        changed = values["changed"]
        return cls(**{**values, "changed": None if changed is None else tuple(changed)})

    def split(self) -> tuple[Part, Part, Part]:
        """Return what the seed, new data and settings change."""
        return self._by_seed(), self._by_data(), self._by_settings()

    def _by_seed(self) -> Part:
        title = "The seed"
        if not self.has_seed:
            return Part(title, 0.0, "the recipe has none")
        if self.beyond is None:
            return Part(title, None, NO_TWINS)
        if not self.has_new_data and self.changed == ():
            return Part(title, self.lost, "the same data and settings")
        note = "as between the candidate and its twins"
        return Part(title, self.lost - max(self.beyond, 0.0), note + (", of its recipe" if self.changed else ""))

    def _by_data(self) -> Part:
        title = "New data"
        if not self.has_new_data:
            return Part(title, 0.0, "the same data")
        if self.changed is None:
            return Part(title, None, UNKNOWN)
        if self.changed:
            return Part(title, None, APART.format(", ".join(self.changed)))
        return self._rest(title, "what is beyond the seed")

    def _by_settings(self) -> Part:
        title = "Settings and recipe"
        if self.changed is None:
            return Part(title, None, UNKNOWN)
        if not self.changed:
            return Part(title, 0.0, "the same settings")
        names = ", ".join(self.changed)
        if self.has_new_data:
            return Part(title, None, APART.format(names))
        return self._rest(title, f"what is beyond the seed ({names})")

    def _rest(self, title: str, note: str) -> Part:
        if self.beyond is None:
            return Part(title, None, NO_TWINS)
        low, high = (None if end is None else max(end, 0.0) for end in (self.low, self.high))
        return Part(title, max(self.beyond, 0.0), note, low, high)

    @property
    def together(self) -> Part | None:
        """Return what data and settings change together, if they cannot be told apart; None otherwise."""
        if self.has_new_data and self.changed and self.beyond is not None:
            return self._rest("New data and settings together", "what is beyond the seed")
        return None


def name_changed(candidate: Mapping[str, Any], champion: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the settings that differ and can change lists; None if the champion's are unknown.

    Args:
        candidate: what determines its model, as the ledger has it: ``model`` and ``top_k``.
        champion: likewise; without ``model`` its recipe is unknown.
    """
    if "model" not in champion or "model" not in candidate:
        return None
    ours, theirs = ({**BEFORE, **inputs["model"], "top_k": inputs["top_k"]} for inputs in (candidate, champion))
    if ours["recipe"] != theirs["recipe"]:
        return ("recipe", *_differing(ours, theirs, ("top_k",)))
    return _differing(ours, theirs, sorted({*ours, *theirs} - WITHOUT_EFFECT))


def _differing(one: Mapping[str, Any], other: Mapping[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if one.get(name) != other.get(name))
