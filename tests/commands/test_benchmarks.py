"""The benchmarks run, on tables that are too small to measure anything, and lose no figure."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from databases import require_postgres

from benchmarks import __main__ as benchmarks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = {"rows": "2000", "users": "2000"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Returns a function that measures parts as `make bench` does, and returns their figures."""

    def run_parts(parts: str) -> dict[str, Any]:
        out = tmp_path / "figures.json"
        options = {"sizes": "", "parts": parts, "out": str(out), **SMALL}
        monkeypatch.setattr(sys, "argv", ["benchmarks", *(f"--{name}={value}" for name, value in options.items())])
        benchmarks.main()
        figures: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return figures

    return run_parts


@pytest.mark.more
def test_extraction_is_measured_on_every_route(run: Callable[[str], dict[str, Any]]) -> None:
    require_postgres()

    figures = run("extraction")["extraction"]

    routes = ("raw cursor", "row route", "arrow route", "pandas.read_sql")
    assert {route: figures[route]["rows"] for route in routes} == dict.fromkeys(routes, int(SMALL["rows"]))


@pytest.mark.more
def test_lists_and_serving_are_measured(run: Callable[[str], dict[str, Any]]) -> None:
    figures = run("lists,serving")

    assert figures.keys() == {"lists", "serving"}


def test_a_part_that_fails_is_named_and_loses_no_figure_of_the_others(
    run: Callable[[str], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def fail(_: object) -> dict[str, Any]:
        raise RuntimeError("the disk is full")

    def measure(_: object) -> dict[str, Any]:
        return {"cases": 7, "byte_identical": 7}

    monkeypatch.setattr(benchmarks, "PARTS", {"extraction": fail, "battery": measure})

    with pytest.raises(SystemExit, match="failed, see above: extraction"):
        run("extraction,battery")

    printed = capsys.readouterr()
    assert "the disk is full" in printed.err
    assert "7 of 7" in printed.out
    assert json.loads((tmp_path / "figures.json").read_text()).keys() == {"battery"}
