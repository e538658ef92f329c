"""Whether a training fits into this machine's memory: checked before it starts, as the kernel would kill it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GIGABYTE = 1e9
# In bytes: the peaks that benchmarks/training.py measures, rounded up.
FIXED = 0.65e9  # libraries, and the blocks of scores that threads work on
PER_INTERACTION = {"exact": 64, "stock": 400, "ease": 100, "als": 100, "popularity": 100}
PER_ID = 400
PER_RECOMMENDATION = {"exact": 110, "stock": 600, "ease": 130, "als": 130, "popularity": 130}
OTHER_FACTORS = 100  # of the recipes that are named where EASE does not fit
PER_PAIR_OF_ITEMS = 12  # of EASE: the Gram matrix in float64, and the weights in float32
# Floating-point operations of EASE's solution for each number of the items' cube, and how many a core does in a second.
OPERATIONS, PER_SECOND = 1.0, 2e10


class TooLargeError(Exception):
    """A training does not fit into memory."""


@dataclass(frozen=True)
class Size:
    """The size of a training.

    Attributes:
        interactions: rows.
        users: rows.
        items: rows.
        factors: per user and per item.
        top_k: recommendations per user.
    """

    interactions: int
    users: int
    items: int
    factors: int
    top_k: int

    def needed_bytes(self, kind: str) -> float:
        """Return an upper estimate of the memory that training takes.

        Args:
            kind: ``exact`` or ``stock``, the engines of ADS's recipe, or another recipe: ``ease`` or ``als``.
        """
        return (
            FIXED
            + PER_INTERACTION[kind] * self.interactions
            + (PER_ID + 8 * self.factors) * (self.users + self.items)
            + 4 * self.factors * self.items
            + PER_RECOMMENDATION[kind] * self.users * min(self.top_k, self.items)
            + (PER_PAIR_OF_ITEMS * self.items**2 if kind == "ease" else 0)
        )

    @property
    def ease_seconds(self) -> float:
        """Return about how long EASE's solution takes, which grows with the cube of the number of items."""
        return OPERATIONS * float(self.items) ** 3 / PER_SECOND


def require_memory(size: Size, kind: str, root: Path = Path("/")) -> str:
    """Return a line on the memory needed and available, and on the time where it can be long.

    Args:
        size: of the training.
        kind: ``exact`` or ``stock``, the engines of ADS's recipe, or another recipe: ``ease`` or ``als``.
        root: the folder of ``proc`` and ``sys``.

    Raises:
        TooLargeError: more is needed than available.
    """
    needed, (available, limited_by) = size.needed_bytes(kind), available_bytes(root)
    line = (
        f"{size.interactions:,} interactions of {size.users:,} users with {size.items:,} items need about "
        f"{needed / GIGABYTE:.1f} GB of memory; {available / GIGABYTE:.1f} GB are available ({limited_by})"
    )
    if needed > available:
        raise TooLargeError(
            f"Training would not fit: {line}. Give the worker more memory, let interactions.sql return fewer "
            f"rows (its bind variable since), or {_remedy(size, kind, available)}."
        )
    return f"{line}; about {size.ease_seconds / 60:,.1f} minutes of CPU" if kind == "ease" else line


def require_time(size: Size, kind: str, most_minutes: float) -> None:
    """Check that a training is not longer than allowed; only EASE's grows faster than its data.

    Raises:
        TooLargeError: it takes longer.
    """
    if kind == "ease" and size.ease_seconds > most_minutes * 60:
        raise TooLargeError(
            f"With {size.items:,} items the recipe ease takes about {size.ease_seconds / 60:,.0f} minutes, more than "
            f"the {most_minutes:g} of training.challenger_minutes"
        )


def _remedy(size: Size, kind: str, available: float) -> str:
    """Return what else helps."""
    if kind != "ease":
        return "lower training.factors" + (", or set training.engine to exact" if kind == "stock" else "")
    other = replace(size, factors=OTHER_FACTORS)
    fits = [recipe for recipe, how in (("als", "als"), ("svd", "exact")) if other.needed_bytes(how) <= available]
    return f"set training.recipe to {' or '.join(fits) or 'als'}, which need no matrix of all pairs of items"


def available_bytes(root: Path = Path("/")) -> tuple[float, str]:
    """Return how much memory this process can still use, and what limits it: the machine or a control group."""
    limits = [(_free_on_machine(root), "what the machine has free")]
    limits += [(free, "the limit of the control group") for free in _free_in_groups(root)]
    return min(limits)


def _free_on_machine(root: Path) -> float:
    for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return float("inf")


def _free_in_groups(root: Path) -> Iterator[float]:
    """Yield the free memory of each control group of this process, of either version."""
    for folder, names in _group_folders(root):
        limit, used = (_number(folder / name) for name in names[:2])
        if limit is not None and used is not None:
            yield limit - used + _reclaimable(folder, names[2])


def _group_folders(root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    groups = root / "proc/self/cgroup"
    if not groups.is_file():
        return
    for line in groups.read_text(encoding="utf-8").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "memory":
            top, names = root / "sys/fs/cgroup/memory", V1
        elif not controllers:
            top, names = root / "sys/fs/cgroup", V2
        else:
            continue
        group = Path(name.lstrip("/"))
        for part in (group, *group.parents):  # parent groups limit it, too; "." is the container's own view
            yield top / part, names


# Names of the limit, the used memory, and the part of it that the kernel can reclaim.
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def _number(path: Path) -> int | None:
    """Return the number in a file; None for ``max`` or if the file does not exist."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _reclaimable(folder: Path, name: str) -> int:
    try:
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.split()[0] == name)
