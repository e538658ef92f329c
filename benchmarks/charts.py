"""The picture in ``docs/performance.md``, drawn from the figures that were measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.results import CHART, SIZES, trainings

if TYPE_CHECKING:
    from pathlib import Path


def draw(figures: dict[str, Any], target: Path = CHART) -> None:
    """Draw how many times sooner than stock the model is built, how it grows, and what the rivals take."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(
        {"svg.hashsalt": "recdeploy", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
        _draw_speed(axes[0, 0], figures)
        _draw_growth(axes[0, 1], figures, "build_cpu", "CPU seconds of model building")
        _draw_extraction(axes[1, 0], figures)
        _draw_growth(axes[1, 1], figures, "peak_mb", "peak memory, MB")
        figure.savefig(target, metadata={"Date": None})
        plt.close(figure)


def _draw_speed(axis: Any, figures: dict[str, Any]) -> None:
    found = [(SIZES[size], part["ratios"]["build_faster"]) for size, part in trainings(figures) if part.get("stock")]
    bars = axis.bar(*zip(*found, strict=True), color="#2f6f9f", width=0.5)
    axis.bar_label(bars, [f"{ratio:,.0f}x" for _, ratio in found])
    axis.set(
        title="Model building beside stock ADS", xlabel="interactions", ylabel="CPU time: stock / exact", yscale="log"
    )
    axis.set_ylim(1, 3 * max(ratio for _, ratio in found))


def _draw_growth(axis: Any, figures: dict[str, Any], key: str, label: str) -> None:
    growth = figures["growth"]
    for what, marker in zip(growth["middle"], "os^", strict=True):
        times = [int(size) / growth["middle"][what] for size in growth[what]]
        axis.plot(times, [part[key] for part in growth[what].values()], marker=marker, label=what)
    middle = ", ".join(f"{size:,} {what}" for what, size in growth["middle"].items())
    axis.set(title="Growth, one at a time", xlabel=f"times ({middle})", ylabel=label)
    axis.set_xticks(times, [f"{number:g}" for number in times])
    axis.set_ylim(0)
    axis.legend()


def _draw_extraction(axis: Any, figures: dict[str, Any]) -> None:
    found = figures["extraction"]
    routes = ["raw cursor", "arrow route", "row route", "pandas.read_sql"]
    shares = [found[route]["of_raw_cursor"] for route in routes]
    bars = axis.barh(routes, shares, color=["#999999", "#2f6f9f", "#2f6f9f", "#c46a2b"])
    axis.bar_label(
        bars, [f" {share:.2f}, {found[route]['peak_mb']:.0f} MB" for route, share in zip(routes, shares, strict=True)]
    )
    axis.set(title="Extraction from PostgreSQL", xlabel="rows per second / raw cursor")
    axis.set_xlim(0, 1.4 * max(shares))
    axis.invert_yaxis()
