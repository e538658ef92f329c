"""The figures with their bounds, as rows of a table: the measurement, its figure, the bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[str, str, str]

LEAST_NDCG = {"ease, 75/25 within users": ">= 0.475"}
GATES_CPU = {"100k": 5, "1m": 30, "10m": 300}  # seconds, at most
BUILD_FASTER = {"100k": 60, "1m": 300, "10m": 2_000}


def rows_of(figures: dict[str, Any]) -> list[Row]:
    """Return the rows of all measured parts."""
    rows: list[Row] = [("measured", "figure", "wanted")]
    for name, part in figures.items():
        kind, _, size = name.partition(" ")
        rows += ROWS[kind](part, size)
    return rows


def text_of(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table that is readable in a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *body = ("| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows)
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body])


def _battery_rows(figures: dict[str, Any], _: str) -> list[Row]:
    return [("edge cases with the same bytes as stock", f"{figures['byte_identical']} of {figures['cases']}", "all")]


def _training_rows(figures: dict[str, Any], size: str) -> list[Row]:
    ratios, stock, operator = figures["ratios"], figures.get("stock"), figures.get("operator")
    data = f"{size} ({figures['data']})"
    rows: list[Row] = []
    if operator:
        rows += [
            (f"{data}: recommendations.csv has the same bytes as stock", _yes(operator["same_bytes"]), "yes"),
            (f"{data}: whole operator process, CPU, stock / exact", _times(ratios["operator_faster"]), ">= 4"),
        ]
    if stock:
        lists = f"{data}: lists of {stock['sampled_users']:,} users are the same as stock"
        rows += [
            (lists, _yes(stock["same_lists"]), "yes"),
            (f"{data}: building, CPU, stock / exact", _times(ratios["build_faster"]), f">= {BUILD_FASTER[size]:,}"),
            (f"{data}: SGD, CPU, exact / stock", f"{ratios['sgd_to_stock']:.2f}", ""),
            (f"{data}: peak memory, exact / stock", f"{ratios['memory_to_stock']:.2f}", ""),
        ]
    rows.append((f"{data}: building, CPU", f"{figures['exact']['build_cpu']:.2f} s", ""))
    rows.append((f"{data}: scoring / float32 matrix product, CPU", f"{ratios['scoring_again_to_gemm']:.1f}", "<= 4"))
    return rows


def _serving_rows(figures: dict[str, Any], _: str) -> list[Row]:
    build, look_up, ratios = figures["build"], figures["look_up"], figures["ratios"]
    data = f"{figures['users']:,} users x {figures['top_k']}"
    return [
        (f"{data}: building recommendations.sqlite, CPU", f"{build['cpu_seconds']:.1f} s", "< 10 s"),
        (f"{data}: building, peak memory", f"{build['peak_mb']:.0f} MB", "< 500 MB"),
        (f"{data}: opening, without verification", f"{look_up['open_seconds']:.3f} s", "< 0.2 s"),
        (f"{data}: private memory of a worker", f"{look_up['private_mb']:.1f} MB", "< 30 MB"),
        (f"{data}: look-up with the answer's dict, median", f"{look_up['p50_us']:.0f} us", ""),
        (f"{data}: look-up with the answer's dict, p99", f"{look_up['p99_us']:.0f} us", "< 40 us"),
        (f"{data}: opening / pickled dict", f"{ratios['open_to_pickle']:.1e}", ""),
        (f"{data}: private memory / pickled dict", f"{ratios['private_memory_to_pickle']:.1e}", ""),
    ]


def _extraction_rows(figures: dict[str, Any], _: str) -> list[Row]:
    data = f"{figures['rows']:,} rows"
    bounds = {"arrow route": ">= 1", "row route": ">= 0.3", "pandas.read_sql": ""}
    rows: list[Row] = [
        (f"{data}: {route}, rows per second / raw cursor", f"{figures[route]['of_raw_cursor']:.2f}", bound)
        for route, bound in bounds.items()
    ]
    for route in ("arrow route", "row route"):
        rows.append((f"{data}: {route}, peak memory", f"{figures[route]['peak_mb']:.0f} MB", "< 250 MB"))
    return rows


def _gates_rows(figures: dict[str, Any], size: str) -> list[Row]:
    data = f"{size} ({figures['data']})"
    seeds, most = figures["seeds"], f"< {GATES_CPU[size]} s"
    return [
        (f"{data}: {2 + seeds} trainings of a release for the gates, CPU", f"{figures['candidate_cpu']:.1f} s", most),
        (f"{data}: the challenger {figures['challenger']}, CPU", f"{figures['challenger_cpu']:.1f} s", ""),
        (f"{data}: {seeds} trainings after a promotion, CPU", f"{figures['champion_cpu']:.1f} s", most),
        (f"{data}: peak memory of these", f"{figures['peak_mb']:.0f} MB", ""),
    ]


def _lists_rows(figures: dict[str, Any], _: str) -> list[Row]:
    data = f"{figures['users']:,} users x {figures['top_k']}, champion against candidate"
    return [
        (f"{data}: list gates and blast radius with reading, CPU", f"{figures['cpu_seconds']:.1f} s", "<= 20 s"),
        (f"{data}: peak memory", f"{figures['peak_mb']:.0f} MB", "<= 1,500 MB"),
    ]


def _recipes_rows(figures: dict[str, Any], _: str) -> list[Row]:
    quality = figures["quality"]
    rows: list[Row] = [
        (f"MovieLens-100k: NDCG@10, {name}", f"{found['ndcg']:.3f}", LEAST_NDCG.get(name, ""))
        for name, found in quality.items()
    ]
    if quality:
        ratio = quality["ease, last 10"]["ndcg"] / quality["svd, last 10"]["ndcg"]
        rows.append(("MovieLens-100k: NDCG@10, last 10, ease / svd", f"{ratio:.1f}", ">= 4"))
    for shape, recipes in figures["cost"].items():
        for name, cost in recipes.items():
            memory = f"<= {cost['announced_mb']:,} MB"
            rows.append(
                (f"{shape}: {name}, training and lists, CPU", f"{cost['train_cpu'] + cost['lists_cpu']:.1f} s", "")
            )
            rows.append((f"{shape}: {name}, peak memory", f"{cost['peak_mb']:,} MB", memory))
    rows.append(("largest catalogue of ease in 20 GiB, computed", f"{figures['largest_catalogue']:,} items", ""))
    return rows


ROWS = {
    "recipes": _recipes_rows,
    "lists": _lists_rows,
    "gates": _gates_rows,
    "battery": _battery_rows,
    "training": _training_rows,
    "serving": _serving_rows,
    "extraction": _extraction_rows,
}


def _yes(value: object) -> str:
    return "yes" if value else "NO"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 20 else f"{ratio:.1f}"
