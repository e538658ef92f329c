"""Write what was measured into ``docs/performance.md``, and draw it: ``python -m benchmarks.reports``.

The tables between the marks in that file, and its picture, come from ``benchmarks/results.json`` and nowhere else.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from benchmarks import charts
from benchmarks.results import PAGE, RESULTS, SIZES, trainings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MARKED = re.compile(r"(<!-- figures: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Row = tuple[str, ...]


def main() -> None:
    """Bring the page and the picture up to what was measured last."""
    figures = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")
    charts.draw(figures)


def fill(page: str, figures: dict[str, Any]) -> str:
    """Return the page with its tables made anew of the figures."""
    return MARKED.sub(lambda mark: f"{mark[1]}{_table(TABLES[mark['name']](figures))}{mark[3]}", page)


def summary(figures: dict[str, Any]) -> list[Row]:
    """Return what was asked for beside what was measured: name, figure, and the bound."""
    rows: list[Row] = [("measured", "figure", "wanted")]
    if battery := figures.get("battery"):
        rows.append(("edge cases with the bytes of stock", f"{battery['byte_identical']} of {battery['cases']}", "all"))
    for size, found in trainings(figures):
        rows += _training_rows(SIZES[size], found)
    rows += _serving_rows(figures.get("serving"))
    rows += _extraction_rows(figures.get("extraction"))
    rows += _copy_rows(figures.get("copies"))
    return rows


def text_of(rows: Sequence[Row]) -> str:
    """Return rows as aligned text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _training_rows(size: str, found: dict[str, Any]) -> list[Row]:
    ratios, stock, operator = found["ratios"], found.get("stock"), found.get("operator")
    data = f"{size} interactions ({found['data']})"
    rows: list[Row] = []
    if operator:
        same = "yes" if operator["same_bytes"] else "NO"
        rows += [
            (f"{data}: recommendations.csv has the bytes of stock", same, "yes"),
            (f"{data}: whole operator process, CPU, stock / exact", _times(ratios["operator_faster"]), ">= 4"),
        ]
    elif stock:
        same = "yes" if stock["same_lists"] else "NO"
        rows.append((f"{data}: lists of {stock['sampled_users']} sampled users are stock's", same, "yes"))
    if stock:
        least = {"100 k": "60", "1 M": "300", "10 M": "2,000"}[size]
        most = "<= 0.5" if size == "10 M" else ""
        rows += [
            (f"{data}: model building, CPU, stock / exact", _times(ratios["build_faster"]), f">= {least}"),
            (f"{data}: SGD, CPU, exact / stock", f"{ratios['sgd_to_stock']:.2f}", "<= 0.25"),
            (f"{data}: peak memory, exact / stock", f"{ratios['memory_to_stock']:.2f}", most),
        ]
    first = f"{ratios['scoring_to_gemm']:.1f} the first time, when its machine code is loaded"
    rows += [
        (f"{data}: scoring / float32 GEMM, CPU", f"{ratios['scoring_again_to_gemm']:.1f} ({first})", "<= 4"),
        (f"{data}: SGD / SGD at memory speed, CPU", f"{ratios['sgd_to_memory_speed']:.2f}", ""),
    ]
    return rows


def _serving_rows(found: dict[str, Any] | None) -> list[Row]:
    if not found:
        return []
    build, look_up, ratios = found["build"], found["look_up"], found["ratios"]
    data = f"{found['users']:,} users x {found['top_k']}"
    return [
        (f"{data}: recommendations.sqlite, built, CPU", f"{build['cpu_seconds']:.1f} s", "< 10 s"),
        (f"{data}: its building, peak memory", f"{build['peak_mb']:.0f} MB", "< 500 MB"),
        (f"{data}: opened (verification of the files apart)", f"{look_up['open_seconds']:.3f} s", "< 0.2 s"),
        (f"{data}: private memory of a worker", f"{look_up['private_mb']:.1f} MB", "< 30 MB"),
        (f"{data}: look-up with the answer's dict, p99", f"{look_up['p99_us']:.0f} us", "< 40 us"),
        (f"{data}: opened, beside the pickled dict", f"{ratios['open_to_pickle']:.1e}", ""),
        (f"{data}: private memory, beside the pickled dict", f"{ratios['private_memory_to_pickle']:.1e}", ""),
    ]


def _extraction_rows(found: dict[str, Any] | None) -> list[Row]:
    if not found or "raw cursor" not in found:
        return []
    data = f"{found['rows']:,} rows"
    bounds = {"arrow route": ">= 1", "row route": ">= 0.3", "pandas.read_sql": ""}
    rows: list[Row] = [
        (f"{data}: {route}, rows per second / raw cursor", f"{found[route]['of_raw_cursor']:.2f}", bound)
        for route, bound in bounds.items()
    ]
    for route in ("arrow route", "row route"):
        rows.append((f"{data}: {route}, peak memory", f"{found[route]['peak_mb']:.0f} MB", "< 250 MB"))
    return rows


def _copy_rows(found: dict[str, Any] | None) -> list[Row]:
    if not found:
        return []
    backup, parts, ratios = found["backup"], found["upload in parts"], found["ratios"]
    data, uploaded = f"{found['backup_mb']:,} MiB in {found['files']} files", f"{found['upload_mb']:,} MiB"
    return [
        (f"{data}: local backup by hard links", f"{backup['seconds']:.2f} s", "< 1 s"),
        (f"{data}: beside copytree", f"{ratios['backup_to_copytree']:.4f}", ""),
        (f"{uploaded}: stored with hashing in one pass / in two", f"{ratios['one_pass_to_two']:.2f}", ""),
        (
            f"{uploaded}: uploaded in parts, memory on top of the process's own",
            f"{parts['peak_mb'] - parts['before_mb']:.0f} MB",
            "bounded",
        ),
        (f"{uploaded}: beside reading it whole", f"{ratios['parts_to_whole_memory']:.2f}", ""),
    ]


def _training_table(figures: dict[str, Any]) -> list[Row]:
    rows: list[Row] = [
        (
            "users x items x interactions",
            "model building, CPU: exact, stock",
            "SGD, CPU: exact, stock, at memory speed",
            "scoring, CPU: first, again, float32 GEMM",
            "scoring by the clock: first, GEMM on all processors",
            "peak memory: exact, stock",
        )
    ]
    for _, found in trainings(figures):
        exact, limit, stock = found["exact"], found["limit"], found.get("stock") or {}
        shape = " x ".join(f"{found['rows'][name]:,}" for name in ("users", "items", "interactions"))
        extrapolated = " (extrapolated)" if stock.get("extrapolated") else ""
        scoring = (exact["scoring_cpu"], exact["scoring_again_cpu"], limit["gemm_cpu"])
        rows.append(
            (
                f"{shape} ({found['data']})",
                _joined([exact["build_cpu"], stock.get("build_cpu")], "s") + extrapolated,
                _joined([exact["fit_cpu"], stock.get("fit_cpu"), limit["sgd_memory_seconds"]], "s"),
                _joined(scoring, "s"),
                _joined([exact["scoring_seconds"], limit["gemm_cpu"] / found["cpus"]], "s"),
                _joined([exact["peak_mb"], stock.get("peak_mb")], "MB"),
            )
        )
    return rows


def _growth_table(figures: dict[str, Any]) -> list[Row]:
    rows: list[Row] = [
        (
            "grown",
            "to",
            "model building, CPU",
            "SGD, CPU",
            "SGD / at memory speed",
            "scoring, CPU",
            "/ GEMM: first, again",
            "peak memory",
        )
    ]
    growth = figures.get("growth", {"middle": {}})
    for what in growth["middle"]:
        for size, found in growth[what].items():
            rows.append(
                (
                    what,
                    f"{int(size):,}",
                    f"{found['build_cpu']:.2f} s",
                    f"{found['fit_cpu']:.2f} s",
                    f"{found['sgd_to_memory_speed']:.2f}",
                    f"{found['scoring_cpu']:.2f} s",
                    f"{found['scoring_to_gemm']:.1f}, {found['scoring_again_to_gemm']:.1f}",
                    f"{found['peak_mb']:.0f} MB",
                )
            )
    return rows


def _serving_table(figures: dict[str, Any]) -> list[Row]:
    found = figures["serving"]
    ours, theirs = {**found["build"], **found["look_up"]}, {**found["pickle: build"], **found["pickle: look_up"]}
    labels = {
        "cpu_seconds": ("built, CPU", "{:.1f} s"),
        "open_seconds": ("opened", "{:.3f} s"),
        "private_mb": ("private memory of a worker", "{:,.0f} MB"),
        "p50_us": ("look-up with the answer's dict, median", "{:.1f} us"),
        "p99_us": ("the same, 99th percentile", "{:.1f} us"),
    }
    head = (f"{found['users']:,} users", "SQLite", f"dict, pickled ({theirs['users']:,} users, extrapolated)")
    rows: list[Row] = [head]
    return rows + [(label, form.format(ours[key]), form.format(theirs[key])) for key, (label, form) in labels.items()]


def _encoding_table(figures: dict[str, Any]) -> list[Row]:
    found = figures["serving"]["encoding"]
    labels = {
        "answer_us": "the answer, as a dict",
        "encode_us": "its JSON, which the server makes of it",
        "decode_us": "its list made from stored JSON text",
        "splice_us": "the whole as bytes, from stored JSON text",
    }
    return [("an answer of 10", "median"), *((label, f"{found[key]:.1f} us") for key, label in labels.items())]


def _extraction_table(figures: dict[str, Any]) -> list[Row]:
    found = figures["extraction"]
    rows: list[Row] = [(f"{found['rows']:,} rows", "rows per second", "of the raw cursor", "CPU", "peak memory")]
    for route in ("raw cursor", "arrow route", "row route", "pandas.read_sql"):
        part = found[route]
        of = f"{part['rows']:,} rows: " if part["rows"] != found["rows"] else ""
        rows.append(
            (
                f"{of}{route}",
                f"{part['rows_per_second']:,}",
                f"{part['of_raw_cursor']:.2f}",
                f"{1e6 * part['cpu_seconds'] / part['rows']:.1f} us a row",
                f"{part['peak_mb']:.0f} MB",
            )
        )
    return rows


def _copies_table(figures: dict[str, Any]) -> list[Row]:
    found = figures["copies"]
    sizes = [found["backup_mb"]] * 2 + [found["upload_mb"]] * 4
    names = [name for name, value in found.items() if isinstance(value, dict) and name != "ratios"]
    rows: list[Row] = [("what", "size", "time", "CPU", "peak memory")]
    for name, size in zip(names, sizes, strict=True):
        part = found[name]
        row = (name, f"{size:,} MiB", f"{part['seconds']:.2f} s", f"{part['cpu_seconds']:.2f} s")
        rows.append((*row, f"{part['peak_mb']:.0f} MB"))
    return rows


TABLES: dict[str, Callable[[dict[str, Any]], list[Row]]] = {
    "summary": summary,
    "training": _training_table,
    "growth": _growth_table,
    "serving": _serving_table,
    "encoding": _encoding_table,
    "extraction": _extraction_table,
    "copies": _copies_table,
}


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 20 else f"{ratio:.1f}"


def _joined(values: Iterable[float | None], unit: str) -> str:
    return ", ".join(
        "-" if value is None else f"{value:,.3g} {unit}" if value < 100 else f"{value:,.0f} {unit}" for value in values
    )


def _table(rows: Sequence[Row]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "| " + " | ".join(["---"] * len(rows[0])) + " |", *body]) + "\n"


if __name__ == "__main__":
    main()
