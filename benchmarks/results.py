"""Where the figures are kept, and what uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[1]
RESULTS = HOME / "benchmarks" / "results.json"
PAGE = HOME / "docs" / "performance.md"
CHART = HOME / "docs" / "images" / "performance.svg"
SIZES = {"100k": "100 k", "1m": "1 M", "10m": "10 M", "50m": "50 M"}


def trainings(figures: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return what was measured of training, smallest first."""
    return [(size, figures[f"training {size}"]) for size in SIZES if f"training {size}" in figures]
