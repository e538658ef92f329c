"""A whole training, with small scripts in the place of Oracle's ADS operator."""

from __future__ import annotations

import csv
import html
import json
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import shops

from include.training import progress
from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.training import processes, reports, runs, train

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = shops.settings_with().source
RATINGS = [("u1", "p1", 1.0), ("u1", "p2", 5.0), ("u2", "p1", 3.0), ("u3", "p3", 4.0)]
LISTS = "user_id,product_id,rating\nu1,p3,4.5\nu2,p2,4.0\nu2,p3,3.5\nu3,p1,2.0\nu3,p2,1.0\n"
MEASURES = '{"rmse": 0.9, "mae": 0.7, "variance": 1.2, "finite": true}'
NEW_USERS = "product_id,rating\np3,4.123456789012345\np1,4.0\n"


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.05)


Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that trains with a script as the operator, and returns the metrics and the log lines."""
    extract, operator = shops.write_extract(tmp_path / "extract", RATINGS), tmp_path / "operator.py"
    monkeypatch.setattr(runs, "OPERATOR", operator)

    def run(script: str, **training: Any) -> tuple[dict[str, Any], list[str]]:
        operator.write_text(script)
        lines: list[str] = []
        settings = shops.settings_with()
        settings = settings.model_copy(update={"training": settings.training.model_copy(update=training)})
        return train(extract, tmp_path / "out", settings, top_k=2, seed=7, report=lines.append), lines

    return run


def writing(
    lists: str | None = LISTS,
    report: str | None = "<html/>",
    measures: str | None = MEASURES,
    new_users: str | None = None,
) -> str:
    """Return a script that writes the files of the operator, and says so."""
    files = {
        "outputs/recommendations.csv": lists,
        "outputs/report.html": report,
        "outputs/new_users.csv": new_users,
        "measures.json": measures,
    }
    writes = [f"pathlib.Path({name!r}).write_text({text!r})" for name, text in files.items() if text is not None]
    return "\n".join(["import pathlib", *writes, "print('written')"])


def test_results_are_complete_and_have_metrics(tmp_path: Path, run: Run) -> None:
    metrics, lines = run(writing())
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {"metrics.json", "recommendations.csv", "recommender.yaml", "report.html"}
    assert (out / "recommendations.csv").read_text() == LISTS
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert metrics.pop("seconds") < 20
    assert metrics == {
        "rmse": 0.9,
        "mae": 0.7,
        "variance": 1.2,
        "users": 3,
        "items": 3,
        "interactions": 4,
        "dropped": {"duplicate_users": 0, "duplicate_items": 0, "interactions_without_rating": 0},
        "users_without_list": 0,
        "recommendations": 5,
        "top_k": 2,
        "seed": 7,
        "recipe": "svd",
        "engine": "exact",
        "new_users": {
            "setting": "operator",
            "kind": "operator",
            "why": "training.new_users is operator",
            "compared": None,
            "unmeasured": "",
        },
    }
    assert str(tmp_path) not in (out / "recommender.yaml").read_text()
    assert "written" in lines
    assert lines[-1] == f"report.html has no table {reports.HEADING!r}: new users get the most popular items."


def test_users_without_a_list_are_counted(run: Run) -> None:
    metrics, lines = run(writing(LISTS.replace("u1,p3,4.5\n", "")))
    assert metrics["users_without_list"] == 1
    assert "1 users get no list: they have rated every item of the catalogue." in lines


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (writing(lists=None), "recommendations.csv is missing"),
        (writing(lists=LISTS.replace("4.5", "")), "not a finite number in 1 rows"),
        (writing(lists=LISTS.replace("4.5", "nan")), "not a finite number in 1 rows (first: 'u1', 'p3', 'nan')"),
        (
            writing(lists=LISTS.replace("u1", "")),
            "1 ids in user_id that the operator was not given (first: '', 'p3', 4.5)",
        ),
        (writing(lists=LISTS.replace("p3", "p03")), "2 ids in product_id that the operator was not given"),
        (writing(report=None), "wrote no report.html"),
        (writing(measures=None), "measured nothing"),
        (writing(measures='{"rmse": NaN, "mae": 1, "variance": 1}'), "which are not numbers"),
        (writing(measures=MEASURES.replace("true", "false")), "SGD has diverged"),
        (writing(new_users=NEW_USERS.replace("p1", "p9")), "twice, into new_users.csv (first: 'p9', 4.0)"),
        (writing(new_users=NEW_USERS.replace("p1", "p3")), "twice, into new_users.csv (first: 'p3', 4.0)"),
        (writing(new_users=NEW_USERS + "p2,3.0\n"), "wrote 3 rows into new_users.csv, more than the 2 asked for"),
        (writing(new_users="product_id,rating\n"), "new_users.csv has no rows"),
        ("print('starting'); raise SystemExit(3)", "ended with exit code 3"),
    ],
)
def test_missing_or_wrong_output_fails_the_training_with_its_reason(
    script: str, problem: str, tmp_path: Path, run: Run
) -> None:
    with pytest.raises(TrainingFailedError) as caught:
        run(script)
    assert problem in str(caught.value)
    assert "Its last lines:\n  " in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_older_result_does_not_outlive_a_failure(tmp_path: Path, run: Run) -> None:
    run(writing())
    with pytest.raises(TrainingFailedError):
        run(writing(lists=None))
    assert list((tmp_path / "out").iterdir()) == []


def test_the_operator_gets_no_secret_and_no_variable_of_ours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "oracle://someone:geheim@db")
    _, lines = run(writing() + "\nimport os, sys; print(*sys.argv[1:]); print(*sorted(os.environ))")
    assert any(line.startswith("recommender.yaml --seed 7 ") and line.endswith(" --end-with-parent") for line in lines)
    names = set(next(line for line in lines if "PYTHONHASHSEED" in line).split())
    assert not {name for name in names if name.startswith(("AIRFLOW", "OCI", "RECDEPLOY"))}


def test_the_timeout_is_that_of_the_settings(tmp_path: Path, run: Run) -> None:
    with pytest.raises(TrainingFailedError, match=r"took longer than 0.005 minutes"):
        run("import time; time.sleep(60)", timeout_minutes=0.005)
    assert list((tmp_path / "out").iterdir()) == []


# The list for new users


def page(rows: list[tuple[str, str, str]], heading: str = reports.HEADING) -> str:
    """Return a report as the operator writes it: each text on its own line."""
    header = "".join(f"<th>\n   {name}\n  </th>" for name in ("user_id", "product_id", "rating"))
    body = "".join("<tr>" + "".join(f"<td>\n   {html.escape(cell)}\n  </td>" for cell in row) + "</tr>" for row in rows)
    table = f'<table 0"="" class="x cellspacing="><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>'
    other = "<table><thead><tr><th>rmse</th></tr></thead><tbody><tr><td>0.9</td></tr></tbody></table>"
    return f"<h2>Item Statistics</h2>{other}<script>'<h2>'</script><h2>\n {heading}\n</h2>{table}<h2>Yaml</h2>{other}"


def new_users(
    tmp_path: Path,
    rows: list[tuple[str, str, str]],
    items: list[str],
    users: list[str] | None = None,
    heading: str = reports.HEADING,
) -> tuple[list[list[str]] | None, str]:
    """Read the list for new users from a report; return its rows, if any, and the log line."""
    prepared, _ = shops.prepare(tmp_path, RATINGS, items=items, users=users)
    (tmp_path / "report.html").write_text(page(rows, heading), encoding="utf-8")
    lines: list[str] = []
    target = tmp_path / "new_users.csv"
    reports.write_new_users(tmp_path / "report.html", target, prepared, SOURCE, 3, lines.append)
    if not target.exists():
        return None, lines[0]
    with target.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream)), lines[0]


HOSTILE = ["</td><script>alert(1)</script>", "a & b &amp; c", ' "q", x', "ユーザー7", "00420", "a\n  b", "NaN"]


@pytest.mark.parametrize("item", HOSTILE)
def test_a_hostile_item_is_read_unchanged(item: str, tmp_path: Path) -> None:
    rows, line = new_users(tmp_path, [("__new_user__", item, "4.50"), ("__new_user__", "p1", "4.25")], ["p1", *HOSTILE])
    assert rows == [["product_id", "rating"], [item, "4.50"], ["p1", "4.25"]]
    assert line == "Read 2 recommendations for new users from report.html."


ITEMS = ["p1", "p2", "p3", "p4"]


@pytest.mark.parametrize(
    ("rows", "tables", "message"),
    [
        ([("__new_user__", "p9", "4.5")], {}, "has unexpected content"),
        ([("__new_user__", "p1", "4.5"), ("__new_user__", "p1", "4.4")], {}, "has unexpected content"),
        ([("__new_user__", "p1", "nan")], {}, "has unexpected content"),
        ([("__new_user__", "p1", "high")], {}, "has unexpected content"),
        ([("__new_user__", item, "1") for item in ITEMS], {}, "has unexpected content"),
        ([], {}, "has no table"),
        ([("u1", "p1", "1")], {}, "has no table"),
        ([("__new_user__", "p1", "1")], {"heading": "Something"}, "has no table"),
        ([("__new_user__", "a b", "1")], {"items": ["a b", "a  b"]}, ""),
        ([("__new_user__", "p1", "1")], {"users": ["u1", "__new_user__"]}, "instead of the one for new users"),
    ],
    ids=[
        "an unknown item",
        "an item twice",
        "a rating that is not finite",
        "a rating that is not a number",
        "too many items",
        "an empty table",
        "no rows for new users",
        "another heading",
        "items that differ only in space",
        "a user with the name that stands for new users",
    ],
)
def test_a_list_in_the_report_that_cannot_be_trusted_is_not_used(
    rows: Any, tables: dict[str, Any], message: str, tmp_path: Path
) -> None:
    written, line = new_users(tmp_path, rows, **{"items": ITEMS} | tables)
    assert written is None
    assert message in line


def test_a_list_for_new_users_is_kept_with_every_digit(tmp_path: Path, run: Run) -> None:
    _, lines = run(writing(new_users=NEW_USERS))
    assert (tmp_path / "out" / "new_users.csv").read_text() == NEW_USERS
    assert lines[-1] == "new_users.csv has 2 recommendations for new users."


HALF = {"users": 40, "operator": 0.2, "popularity": 0.5, "low": 0.2, "high": 0.4}


@pytest.mark.parametrize(
    ("setting", "low", "first", "kind"),
    [
        ("operator", 0.2, "p3", "operator"),
        ("best", 0.2, "p1", "popularity"),
        ("best", -0.1, "p3", "operator"),
        ("popularity", 0.2, "p1", "popularity"),
    ],
)
def test_the_chosen_list_for_new_users_is_written_and_recorded_with_its_reason(
    setting: str, low: float, first: str, kind: str, tmp_path: Path, run: Run
) -> None:
    compared = {"depth": 2, "choice": {**HALF, "low": low}, "judged": HALF}
    measures = json.dumps({**json.loads(MEASURES), "new_users": compared})

    metrics, lines = run(writing(measures=measures, new_users=NEW_USERS), new_users=setting)

    assert (tmp_path / "out" / "new_users.csv").read_text().splitlines()[1].startswith(f"{first},")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["new_users"] == metrics["new_users"]
    assert (metrics["new_users"]["setting"], metrics["new_users"]["kind"]) == (setting, kind)
    assert metrics["new_users"]["compared"] == compared
    assert any(line.startswith("New users get ") for line in lines)
    assert any("clearly better for new users: set training.new_users" in line for line in lines) == (
        setting == "operator"
    )


# The operator's command line and environment


def operator_call(run: Run, **training: Any) -> tuple[str, dict[str, str]]:
    """Return the command line and the environment of an operator with these settings."""
    script = writing() + "\nimport json, os, sys; print(*sys.argv[2:]); print(json.dumps(dict(os.environ)))"
    _, lines = run(script, **training)
    at = next(number for number, line in enumerate(lines) if line.startswith("--seed"))
    return lines[at], json.loads(lines[at + 1])


def test_engine_and_hyperparameters_are_on_the_command_line(run: Run) -> None:
    usual = "--factors 100 --epochs 20 --learning-rate 0.005 --regularization 0.02 --ensemble 1"
    assert (
        operator_call(run)[0] == f"--seed 7 --recipe svd --engine exact {usual} --compare-new-users --end-with-parent"
    )
    other = {"engine": "exact", "refit": True, "factors": 8, "epochs": 3, "learning_rate": 0.1, "regularization": 1e-05}
    line, _ = operator_call(run, **other, ensemble=5)
    assert "--factors 8 --epochs 3 --learning-rate 0.1 --regularization 1e-05 --refit --ensemble 5" in line


@pytest.mark.parametrize(
    ("training", "compares"),
    [
        ({"new_users": "operator"}, True),
        ({"new_users": "best"}, True),
        ({"new_users": "best", "recipe": "ease"}, False),
        ({"new_users": "popularity"}, False),
        ({"engine": "stock"}, False),
    ],
)
def test_both_lists_for_new_users_are_compared_where_that_says_something(
    training: dict[str, str], compares: bool, run: Run
) -> None:
    assert ("--compare-new-users" in operator_call(run, **training)[0]) == compares


def test_compiled_code_and_fonts_outlive_a_run(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("MPLCONFIGDIR", "/somewhere/else")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _, environment = operator_call(run)
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "cache" / "recdeploy" / "numba")
    assert environment["MPLCONFIGDIR"] == "/somewhere/else"


def test_without_a_cache_folder_a_run_uses_its_own(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder can be made in here")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    _, environment = operator_call(run)
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "out" / runs.PARTIAL / "numba")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "stock", "--refit"), "--refit needs --engine exact"),
        (("--engine", "stock", "--ensemble", "2"), "--ensemble needs --recipe svd and --engine exact"),
        (("--recipe", "ease", "--ensemble", "2"), "--ensemble needs --recipe svd and --engine exact"),
    ],
)
def test_what_an_engine_or_a_recipe_cannot_do_is_refused(
    options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    command = [sys.executable, str(runs.OPERATOR), "x.yaml", "--seed", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert message in done.stderr


# Progress


@pytest.mark.parametrize(
    ("scale", "times", "counts", "expected"),
    [
        (
            ("Scored", 4000, "users"),
            [100.0, 102.0, 105.0, 106.0, 110.0, 120.0],
            [500, 500, 500, 1500, 9999],
            [
                "Scored 1,000 of 4,000 users (25%), 200/s, 15 s left",
                "Scored 3,000 of 4,000 users (75%), 300/s, 3 s left",
                "Scored 4,000 of 4,000 users (100%), 200/s, 0 s left",
            ],
        ),
        (("Fitted", 20, "epochs"), [0.0, 30.0], [1], ["Fitted 1 of 20 epochs (5%), 0.033/s, 570 s left"]),
    ],
    ids=["every few seconds", "a slow rate with two digits"],
)
def test_progress_is_reported_with_share_rate_and_time_left(
    scale: Any, times: list[float], counts: list[int], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(progress, "tell", lines.append)
    clock = iter(times)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    reported = progress.Progress(*scale)
    for count in counts:
        reported.advance(count)
    assert lines == expected
