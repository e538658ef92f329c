"""``docs/configuration.md`` is what the model of the settings and the settings file say now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recdeploy_ops.settings import DEFAULT_PATH
from recdeploy_ops.settings.reference import ENVIRONMENT, read_comments, render_reference

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
FILE = DEFAULT_PATH.read_text(encoding="utf-8")


def test_the_page_is_up_to_date() -> None:
    assert render_reference(FILE) == PAGE, "run make configuration"


@pytest.mark.parametrize(
    "row",
    [
        "| `seed` | whole number, ≥ 0, ≤ 4294967295 | `42` | the same rows and the same seed give the same bytes |",
        '| `schedule` | text or null | `"0 3 * * 1"` | cron, UTC: Mondays at 03:00 |',
        "| `margin` | number, > 0, < 1 | `0.1` | passes if certainly not worse by this share |",
        '| `drop` | `hold` and `fail` | `{"hold": 0.03, "fail": null}` | explained variance below the champion\'s |',
        '| `parameters` | mapping | `{}`; in the file `{"since": null}` | bind variables of the queries; since: only '
        "interactions from that day on |",
        "| `max_latency_ratio` | number, ≥ 1, ≤ 1000 | `1.2` | A person must look if TEST's 95th percentile exceeds "
        "production's by more than both of these. 1.2: 20 % slower |",
    ],
)
def test_a_setting_has_its_type_bounds_default_and_comment(row: str) -> None:
    assert row in PAGE.splitlines()


def test_every_setting_of_the_file_is_on_the_page() -> None:
    names = set(re.findall(r"^ *([a-z_]+):", FILE, re.MULTILINE))
    assert {name for name in names if f"`{name}`" not in PAGE and f".{name}`" not in PAGE} == set()


def test_a_comment_belongs_to_its_setting() -> None:
    text = """# Of the file.

# Above one.
one: 1          # beside one
                # and below it
two:
  # Above three,
  # in two lines.
  three: 3
  four: 4       # beside four
  # Above five.
  five: "a"
"""
    assert read_comments(text) == {
        ("one",): "Above one. beside one and below it",
        ("two", "three"): "Above three, in two lines.",
        ("two", "four"): "beside four",
        ("two", "five"): "Above five.",
    }


def test_every_variable_that_the_code_reads_is_on_the_page() -> None:
    files = [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "include" / "notebook").glob("*.py")]
    sources = [path.read_text(encoding="utf-8") for path in files if path.name != "reference.py"]
    read = {
        name
        for source in sources
        if "os.environ" in source
        for name in re.findall(r'"((?:RECDEPLOY|OCI|NB|PROJECT|USER|NUMBA|MPLCONFIG|XDG_CACHE)[A-Z_]+)"', source)
    }
    assert {"RECDEPLOY_SETTINGS", "NB_REGION", "XDG_CACHE_HOME"} <= read
    assert read - set(ENVIRONMENT) == set()
