"""How numbers of gates are written: a value and its bound alike."""

from __future__ import annotations

import math
from enum import StrEnum


class Scale(StrEnum):
    """What a value, its bound and its interval are measured in."""

    NUMBER = "number"
    SHARE = "share"  # of 1; written in percent
    HOURS = "hours"
    SECONDS = "seconds"  # written in milliseconds

    def show(self, value: float) -> str:
        """Return a value as text, with its unit; one that is not finite by itself."""
        if not math.isfinite(value):
            return f"{value}"
        if self is Scale.SHARE:
            return percent(value)
        if self is Scale.HOURS:
            return f"{value:,.0f} h" if abs(value) >= 10 else f"{value:.3g} h"
        if self is Scale.SECONDS:
            return f"{1000 * value:.1f} ms"
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share as text, e.g. ``0.5 %``."""
    return f"{100 * share:,.0f} %" if abs(share) >= 1 else f"{100 * share:.3g} %"


def plain(number: float) -> str:
    """Return a number as text with three digits."""
    return f"{number:.3g}"
