"""Everything about training but ADS itself, for which small scripts stand in."""

from __future__ import annotations

import contextlib
import csv
import html
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import shops

from include.training import progress
from recdeploy_ops.domain.errors import SourceDataError, TrainingFailedError
from recdeploy_ops.training import inputs, processes, reports, runs, train
from recdeploy_ops.training.processes import run_process

SOURCE = shops.settings_with().source
RATINGS = [("u1", "p1", 1.0), ("u1", "p2", 5.0), ("u2", "p1", 3.0), ("u3", "p3", 4.0)]
LISTS = "user_id,product_id,rating\nu1,p3,4.5\nu2,p2,4.0\nu2,p3,3.5\nu3,p1,2.0\nu3,p2,1.0\n"
MEASURES = '{"rmse": 0.9, "mae": 0.7, "finite": true}'
NEW_USERS = "product_id,rating\np3,4.123456789012345\np1,4.0\n"


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOOK_SECONDS", 0.05)


# Inputs


def prepare(tmp_path: Path, *args: Any, **extract: Any) -> tuple[inputs.Inputs, list[str]]:
    lines: list[str] = []
    work = tmp_path / "work"
    work.mkdir()
    folder = shops.write_extract(tmp_path / "extract", *args, **extract)
    return inputs.prepare_inputs(folder, work, SOURCE, lines.append), lines


def test_repeated_users_and_items_and_unrated_interactions_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [*RATINGS, ("u1", "p3", None), ("u2", "p3", float("nan")), ("u2", "p2", float("-inf"))]
    made, lines = prepare(tmp_path, rows, users=["u1", "u2", "u2", "u3", "u2"], items=["p1", "p1", "p2", "p3"])
    assert made.users.to_pylist() == ["u1", "u2", "u3"]
    assert made.items.to_pylist() == ["p1", "p2", "p3"]
    assert made.interactions == 4
    assert made.dropped == {"duplicate_users": 2, "duplicate_items": 1, "interactions_without_rating": 3}
    assert lines == [
        "Left out 2 rows: duplicate users.",
        "Left out 1 rows: duplicate items.",
        "Left out 3 rows: interactions without rating.",
        "Training on 4 interactions; 3 users, 3 items.",
    ]
    written = pq.read_table(tmp_path / "work" / "interactions.parquet")
    assert [tuple(row.values()) for row in written.to_pylist()] == RATINGS
    assert written.column_names == ["user_id", "product_id", "rating"]
    assert pq.read_table(tmp_path / "work" / "users.parquet").to_pydict() == {"user_id": ["u1", "u2", "u3"]}
    assert pq.read_table(tmp_path / "work" / "items.parquet").to_pydict() == {"product_id": ["p1", "p2", "p3"]}


def test_a_catalogue_that_everyone_has_rated_is_refused(tmp_path: Path) -> None:
    everything = [(f"u{u}", f"p{p}", 1.0) for u in range(3) for p in range(2)]
    with pytest.raises(SourceDataError, match="All 3 users have rated all 2 items: nothing is left"):
        prepare(tmp_path, everything)


@pytest.mark.parametrize("left", [("u0", "p0"), ("u2", "p1")])
def test_one_unrated_item_is_enough(left: tuple[str, str], tmp_path: Path) -> None:
    everything = [(f"u{u}", f"p{p}", 1.0) for u in range(3) for p in range(2)]
    rows = [row for row in everything if row[:2] != left] + [("u9", "p0", 1.0), ("u1", "p9", 1.0)]
    made, _ = prepare(tmp_path, rows, users=["u0", "u1", "u2"], items=["p0", "p1"])
    assert made.interactions == 7


@pytest.mark.parametrize("rows", [[], [("u1", "p1", 1.0), ("u2", "p1", None)]])
def test_too_few_ratings_are_refused(rows: list[Any], tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match="too few to train on"):
        prepare(tmp_path, rows, users=["u1"], items=["p1"])


@pytest.mark.parametrize("bad", ["a\rb", "a\x00b"])
def test_ids_that_a_csv_cannot_hold_are_refused(bad: str, tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match=r"1 ids in product_id hold a carriage return or a zero byte"):
        prepare(tmp_path, RATINGS, items=["p1", bad])


def test_an_extract_with_null_ids_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match="must hold text and no NULL"):
        prepare(tmp_path, RATINGS, users=["u1", None])


# The process


def child(tmp_path: Path, code: str, **how: Any) -> list[str]:
    given: dict[str, Any] = {"timeout_seconds": 30, "report": list[str]().append} | how
    return run_process(
        [sys.executable, "-c", textwrap.dedent(code)],
        folder=tmp_path,
        environment={"PATH": os.environ["PATH"]},
        **given,
    )


def gone(pid: int) -> bool:
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_lines_are_reported_as_they_come_and_the_last_returned(tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []
    code = """
        import sys, time
        print("one", flush=True); time.sleep(0.3); print(); print("zwö", file=sys.stderr)
    """
    lines = child(tmp_path, code, report=lambda line: heard.append((time.monotonic(), line)))
    assert [line for _, line in heard] == lines == ["one", "zwö"]
    assert heard[1][0] - heard[0][0] > 0.2


def test_an_exit_code_is_a_failure_that_quotes_the_last_lines(tmp_path: Path) -> None:
    code = "import sys; [print('line', n, flush=True) for n in range(50)]; sys.exit('KeyError: product_id')"
    with pytest.raises(TrainingFailedError) as caught:
        child(tmp_path, code)
    assert "ended with exit code 1" in str(caught.value)
    assert "line 49\n  KeyError: product_id" in str(caught.value)
    assert "line 35" not in str(caught.value)


def test_a_signal_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailedError, match=r"was killed by SIGKILL \(out of memory\?\)"):
        child(tmp_path, "import os; os.kill(os.getpid(), 9)")


def test_time_that_is_up_kills_the_process_and_its_children(tmp_path: Path) -> None:
    heard: list[str] = []
    code = """
        import subprocess, sys, time
        print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
        time.sleep(60)
    """
    with pytest.raises(TrainingFailedError, match=r"took longer than 0.00\d+ minutes and was killed"):
        child(tmp_path, code, timeout_seconds=0.4, report=heard.append)
    assert gone(int(heard[0]))


def test_a_stop_ends_it(tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(TrainingFailedError, match="was stopped on request"):
        child(tmp_path, "import time; print(1, flush=True); time.sleep(60)", report=lambda _: stop.set(), stop=stop)


def test_an_exception_in_between_leaves_no_process(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(60)", report=interrupt)
    assert gone(pids[0])


def test_a_child_that_outlives_its_output_is_waited_for(tmp_path: Path) -> None:
    code = "import os, sys, time; os.close(1); os.close(2); time.sleep(0.3); open('done', 'w'); os._exit(0)"
    assert child(tmp_path, code) == []
    assert (tmp_path / "done").exists()


def test_the_last_lines_are_read_however_late_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the thread that reads them may be slower than the process that wrote them."""
    pump = processes._pump
    monkeypatch.setattr(processes, "_pump", lambda *pipes: (time.sleep(0.5), pump(*pipes)))
    assert child(tmp_path, "print('written')") == ["written"]


def test_a_grandchild_that_holds_the_output_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "DRAIN_SECONDS", 0.1)
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid)"
    started = time.monotonic()
    lines = child(tmp_path, code)
    assert time.monotonic() - started < 20
    assert gone(int(lines[0]))


def test_silence_is_broken_by_a_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HEARTBEAT_SECONDS", 0.1)
    heard: list[str] = []
    child(tmp_path, "import time; time.sleep(0.4)", report=heard.append)
    assert heard[0] == "Still running, 0 minutes so far"


def test_the_operator_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    config = tmp_path / "recommender.yaml"
    os.mkfifo(config)  # read for ever by an operator that is not ended
    parent = f"""
        import subprocess, sys, time
        child = subprocess.Popen(
            [sys.executable, {str(runs.OPERATOR)!r}, {str(config)!r}, "--seed", "1", "--end-with-parent"],
            stdin=subprocess.PIPE, start_new_session=True)
        print(child.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(parent)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        time.sleep(0.2)
        process.kill()
    ended = gone(pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    assert ended


# The whole, with a script in the place of the operator


def run(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch, **how: Any) -> dict[str, Any]:
    operator = tmp_path / "operator.py"
    operator.write_text(textwrap.dedent(script))
    monkeypatch.setattr(runs, "OPERATOR", operator)
    folder = shops.write_extract(tmp_path / "extract", RATINGS)
    given: dict[str, Any] = {"top_k": 2, "seed": 7, "report": list[str]().append} | how
    return train(folder, tmp_path / "out", shops.settings_with(), **given)


def writing(
    lists: str | None = LISTS,
    report: str | None = "<html/>",
    measures: str | None = MEASURES,
    new_users: str | None = None,
) -> str:
    outputs = {"recommendations.csv": lists, "report.html": report, "new_users.csv": new_users}
    parts = {f"outputs/{name}": text for name, text in outputs.items()} | {"measures.json": measures}
    writes = [f"pathlib.Path({n!r}).write_text({t!r})" for n, t in parts.items() if t is not None]
    return "\n".join(["import pathlib", *writes, "print('written')"])


def test_results_are_whole_and_say_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    metrics = run(tmp_path, writing(), monkeypatch, report=lines.append)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "recommendations.csv",
        "recommender.yaml",
        "report.html",
    ]
    assert (out / "recommendations.csv").read_text() == LISTS
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert metrics.pop("seconds") < 20
    assert metrics == {
        "rmse": 0.9,
        "mae": 0.7,
        "users": 3,
        "items": 3,
        "interactions": 4,
        "dropped": {"duplicate_users": 0, "duplicate_items": 0, "interactions_without_rating": 0},
        "users_without_list": 0,
        "recommendations": 5,
        "top_k": 2,
        "seed": 7,
        "engine": "exact",
    }
    assert str(tmp_path) not in (out / "recommender.yaml").read_text()
    assert "written" in lines
    assert lines[-1] == f"report.html has no table {reports.HEADING!r}: new users get the most popular items."


def test_users_without_a_list_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    metrics = run(tmp_path, writing(LISTS.replace("u1,p3,4.5\n", "")), monkeypatch, report=lines.append)
    assert metrics["users_without_list"] == 1
    assert "1 users get no list: they have rated every item of the catalogue." in lines


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (writing(lists=None), "recommendations.csv is missing"),
        (writing(lists=""), "recommendations.csv cannot be read (Empty CSV file)"),
        (writing(lists=LISTS.partition("\n")[0] + "\n"), "recommendations.csv has no rows"),
        (
            writing(lists=LISTS.replace("4.5", "nan")),
            "has a rating that is not a finite number in 1 rows (first: 'u1', 'p3', 'nan')",
        ),
        (writing(lists=LISTS.replace("4.5", "")), "not a finite number in 1 rows"),
        (writing(lists=LISTS.replace("4.5", "inf")), "not a finite number in 1 rows"),
        (
            writing(lists=LISTS.replace("u1", "")),
            "1 ids in user_id that the operator was not given (first: '', 'p3', 4.5)",
        ),
        (writing(lists=LISTS.replace("p3", "p03")), "2 ids in product_id that the operator was not given"),
        (writing(lists=LISTS.replace("rating", "score")), "has the columns ['user_id', 'product_id', 'score']"),
        (writing(report=None), "wrote no report.html"),
        (writing(measures=None), "measured nothing"),
        (writing(measures='{"rmse": NaN, "mae": 1}'), "which are not numbers"),
        (writing(measures=MEASURES.replace("true", "false")), "SGD has diverged"),
        (writing(new_users=NEW_USERS.replace("p1", "p9")), "twice, into new_users.csv (first: 'p9', 4.0)"),
        (writing(new_users=NEW_USERS.replace("p1", "p3")), "twice, into new_users.csv (first: 'p3', 4.0)"),
        (
            writing(new_users=NEW_USERS.replace("4.0", "inf")),
            "new_users.csv has a rating that is not a finite number in 1 rows (first: 'p1', 'inf')",
        ),
        (writing(new_users=NEW_USERS + "p2,3.0\n"), "wrote 3 rows into new_users.csv, more than the 2 asked for"),
        (
            writing(new_users=NEW_USERS.replace("rating", "score")),
            "new_users.csv has the columns ['product_id', 'score']",
        ),
        (writing(new_users="product_id,rating\n"), "new_users.csv has no rows"),
        ("print('starting'); raise SystemExit(3)", "ended with exit code 3"),
    ],
)
def test_what_is_missing_or_wrong_is_a_failure_that_says_so(
    script: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingFailedError) as caught:
        run(tmp_path, script, monkeypatch)
    assert problem in str(caught.value)
    assert "Its last lines:\n  " in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_older_result_does_not_outlive_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, writing(), monkeypatch)
    with pytest.raises(TrainingFailedError):
        run(tmp_path, writing(lists=None), monkeypatch)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_operator_sees_no_secret_and_no_folder_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "oracle://someone:geheim@db")
    lines: list[str] = []
    script = writing() + "\nimport os, sys; print(*sys.argv[1:]); print(*sorted(os.environ))"
    run(tmp_path, script, monkeypatch, report=lines.append)
    assert any(line.startswith("recommender.yaml --seed 7 ") and line.endswith(" --end-with-parent") for line in lines)
    names = set(next(line for line in lines if "PYTHONHASHSEED" in line).split())
    assert not {name for name in names if name.startswith(("AIRFLOW", "OCI", "RECDEPLOY"))}


def test_the_timeout_is_that_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = shops.settings_with()
    short = chosen.training.model_copy(update={"timeout_minutes": 0.005})
    monkeypatch.setattr(shops, "settings_with", lambda: chosen.model_copy(update={"training": short}))
    with pytest.raises(TrainingFailedError, match=r"took longer than 0.005 minutes"):
        run(tmp_path, "import time; time.sleep(60)", monkeypatch)
    assert list((tmp_path / "out").iterdir()) == []


# The list for new users


def page(rows: list[tuple[str, str, str]], heading: str = reports.HEADING) -> str:
    """A report as the operator writes it: every text on a line of its own."""
    header = "".join(f"<th>\n   {name}\n  </th>" for name in ("user_id", "product_id", "rating"))
    body = "".join("<tr>" + "".join(f"<td>\n   {html.escape(cell)}\n  </td>" for cell in row) + "</tr>" for row in rows)
    table = f'<table 0"="" class="x cellspacing="><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>'
    other = "<table><thead><tr><th>rmse</th></tr></thead><tbody><tr><td>0.9</td></tr></tbody></table>"
    return f"<h2>Item Statistics</h2>{other}<script>'<h2>'</script><h2>\n {heading}\n</h2>{table}<h2>Yaml</h2>{other}"


def new_users(
    tmp_path: Path, rows: list[tuple[str, str, str]], items: list[str], users: list[str] | None = None, **how: Any
) -> tuple[list[list[str]] | None, str]:
    made, _ = prepare(tmp_path, RATINGS, items=items, users=users)
    (tmp_path / "report.html").write_text(page(rows, **how), encoding="utf-8")
    lines: list[str] = []
    target = tmp_path / "new_users.csv"
    reports.write_new_users(tmp_path / "report.html", target, made, SOURCE, 3, lines.append)
    if not target.exists():
        return None, lines[0]
    with target.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream)), lines[0]


HOSTILE = ["</td><script>alert(1)</script>", "a & b &amp; c", ' "q", x', "ユーザー7", "00420", "a\n  b", "NaN"]


@pytest.mark.parametrize("item", HOSTILE)
def test_a_hostile_item_is_read_as_it_is(item: str, tmp_path: Path) -> None:
    rows, line = new_users(tmp_path, [("__new_user__", item, "4.50"), ("__new_user__", "p1", "4.25")], ["p1", *HOSTILE])
    assert rows == [["product_id", "rating"], [item, "4.50"], ["p1", "4.25"]]
    assert line == "Read 2 recommendations for new users from report.html."


@pytest.mark.parametrize(
    "rows",
    [
        [("__new_user__", "p9", "4.5")],
        [("__new_user__", "p1", "4.5"), ("__new_user__", "p1", "4.4")],
        [("__new_user__", "p1", "nan")],
        [("__new_user__", "p1", "high")],
        [("__new_user__", f"p{n}", "1") for n in range(1, 5)],
    ],
)
def test_a_list_that_is_not_as_expected_is_not_used(rows: list[tuple[str, str, str]], tmp_path: Path) -> None:
    found, line = new_users(tmp_path, rows, ["p1", "p2", "p3", "p4"])
    assert found is None
    assert "is not what was expected" in line


@pytest.mark.parametrize(
    ("rows", "heading"),
    [([], reports.HEADING), ([("u1", "p1", "1")], reports.HEADING), ([("__new_user__", "p1", "1")], "Something")],
)
def test_a_report_without_the_list_says_so(rows: list[tuple[str, str, str]], heading: str, tmp_path: Path) -> None:
    found, line = new_users(tmp_path, rows, ["p1"], heading=heading)
    assert found is None
    assert "has no table" in line


def test_items_that_differ_only_in_space_are_not_guessed(tmp_path: Path) -> None:
    found, _ = new_users(tmp_path, [("__new_user__", "a b", "1")], ["a b", "a  b"])
    assert found is None


def test_a_user_of_that_name_is_not_taken_for_everyone_new(tmp_path: Path) -> None:
    found, line = new_users(tmp_path, [("__new_user__", "p1", "1")], ["p1"], users=["u1", "__new_user__"])
    assert found is None
    assert "stands in the place" in line


def test_a_list_for_new_users_is_kept_with_every_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    run(tmp_path, writing(new_users=NEW_USERS), monkeypatch, report=lines.append)
    assert (tmp_path / "out" / "new_users.csv").read_text() == NEW_USERS
    assert lines[-1] == "new_users.csv has 2 recommendations for new users."


# What the operator is told


def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **training: Any) -> tuple[str, dict[str, str]]:
    """The command line and the environment of an operator that gets these settings."""
    chosen = shops.settings_with()
    changed = chosen.training.model_copy(update=training)
    monkeypatch.setattr(shops, "settings_with", lambda: chosen.model_copy(update={"training": changed}))
    script = writing() + "\nimport json, os, sys; print(*sys.argv[2:]); print(json.dumps(dict(os.environ)))"
    lines: list[str] = []
    run(tmp_path, script, monkeypatch, report=lines.append)
    place = next(number for number, line in enumerate(lines) if line.startswith("--seed"))
    return lines[place], json.loads(lines[place + 1])


def test_engine_and_hyperparameters_are_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = "--factors 100 --epochs 20 --learning-rate 0.005 --regularization 0.02"
    (tmp_path / "usual").mkdir()
    assert told(tmp_path / "usual", monkeypatch)[0] == f"--seed 7 --engine exact {usual} --end-with-parent"
    other = {"engine": "exact", "refit": True, "factors": 8, "epochs": 3, "learning_rate": 0.1, "regularization": 1e-05}
    (tmp_path / "other").mkdir()
    line, _ = told(tmp_path / "other", monkeypatch, **other)
    assert "--factors 8 --epochs 3 --learning-rate 0.1 --regularization 1e-05 --refit" in line


def test_compiled_code_and_fonts_outlive_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("MPLCONFIGDIR", "/somewhere/else")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _, environment = told(tmp_path, monkeypatch)
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "cache" / "recdeploy" / "numba")
    assert environment["MPLCONFIGDIR"] == "/somewhere/else"


def test_where_nothing_can_be_kept_the_run_keeps_it_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder can be made in here")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    _, environment = told(tmp_path, monkeypatch)
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "out" / runs.PARTIAL / "numba")


def test_the_stock_engine_cannot_be_refitted(tmp_path: Path) -> None:
    command = [sys.executable, str(runs.OPERATOR), "x.yaml", "--seed", "1", "--engine", "stock", "--refit"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "--refit needs --engine exact" in done.stderr


# Progress


def test_progress_is_told_every_few_seconds_with_share_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(progress, "tell", lines.append)
    clock = iter([100.0, 102.0, 105.0, 106.0, 110.0, 120.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    scored = progress.Progress("Scored", 4000, "users")
    for count in (500, 500, 500, 1500, 9999):
        scored.advance(count)
    assert lines == [
        "Scored 1,000 of 4,000 users (25%), 200/s, 15 s left",
        "Scored 3,000 of 4,000 users (75%), 300/s, 3 s left",
        "Scored 4,000 of 4,000 users (100%), 200/s, 0 s left",
    ]


def test_slow_progress_keeps_two_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(progress, "tell", lines.append)
    clock = iter([0.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    progress.Progress("Fitted", 20, "epochs").advance()
    assert lines == ["Fitted 1 of 20 epochs (5%), 0.033/s, 570 s left"]
