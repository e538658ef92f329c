"""The champion's side of a backtest: housekeeping trains it, and the next release uses it if it is what it needs."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from steps.factories import USERS, damage, delete_stored, erase_user, event_types, find_faults, reopen, tidy_up

from recdeploy_ops.domain.errors import StorageUnavailableError
from recdeploy_ops.domain.events import CandidateEvaluated, ChampionBacktested, GateModelsTrained, ModelTrained
from recdeploy_ops.domain.gates.quality import QualityThresholds
from recdeploy_ops.evaluation import champion_sides, stored_sides
from recdeploy_ops.evaluation.backtests import hold_out_last
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.storage.bundles import open_bundle, verify_bundle
from recdeploy_ops.storage.directories import DirectoryStore
from recdeploy_ops.storage.keys import run_prefix
from recdeploy_ops.training import gate_models

# Small enough for a shop of six users who have rated two of six products each.
SMALL = QualityThresholds(fewest_interactions=2, held_out_share=0.5, seeds=3)
RECIPE = {"engine": "exact", "refit": False, "factors": 5, "epochs": 2, "learning_rate": 0.01, "regularization": 0.02}
INPUTS = {"top_k": 2, "seed": 42, "model": RECIPE}
TWINS, POPULAR = 2, 1  # the most popular items, which the recipe is shown beside
BACKTESTS = f"{run_prefix('run-1', 'backtests')}/"


def with_quality(settings, quality):
    return settings.model_copy(update={"gates": settings.gates.model_copy(update={"quality": quality})})


@pytest.fixture
def settings(settings):
    return with_quality(settings, SMALL)


@pytest.fixture
def champion(context, run, begin_with):
    """v1 serves, which was trained by a known recipe."""
    begin_with("released-by-a-recipe", lambda: run("run-1", inputs=INPUTS).release_fully())
    return context


@pytest.fixture
def trained(caplog):
    """Returns how many models each training for the gates had since the last call."""
    caplog.set_level("INFO")

    def count():
        numbers = [int(number) for number in re.findall(r"Training (\d+) models for the gates", caplog.text)]
        caplog.clear()
        return numbers

    return count


def evaluate(run, run_id="run-2", **how):
    """Take a run until its candidate, of another seed than the champion's, is judged; return the report's details."""
    candidate = run(run_id, shift=1, inputs={**INPUTS, "seed": 7}, **how)
    candidate.plan()
    candidate.make()
    release = candidate.context.release
    assert release.get(GateModelsTrained)
    return read_report(candidate.context.store, release.require(CandidateEvaluated))["details"]


def open_side(context):
    stored = context.refresh().backtests[1]
    bundle = open_bundle(context.store, stored.prefix, digest=stored.digest, made_by=ChampionBacktested.task)
    verify_bundle(context.store, bundle)
    return bundle


def test_the_release_after_housekeeping_trains_only_the_candidates_side(champion, run, trained):
    assert tidy_up(champion) == {"left": [], "backtest": "trained"}
    assert trained() == [SMALL.seeds]
    assert tidy_up(champion) == {"left": []}
    assert trained() == []

    used = evaluate(run)["quality"]

    assert trained() == [TWINS + POPULAR + SMALL.seeds]
    assert used["candidate_trainings"] == SMALL.seeds
    assert event_types(champion, "housekeeping") == ["champion_backtested"]
    assert "champion_backtested" not in event_types(champion, "run-2")
    assert find_faults(champion) == []


@pytest.mark.more
def test_a_side_that_is_gone_is_trained_again_and_gives_the_same_numbers(champion, run, trained, caplog):
    tidy_up(champion)
    used = evaluate(run)["quality"]
    run("run-2").close()
    delete_stored(champion, BACKTESTS)
    trained()

    assert evaluate(run, "run-3")["quality"] == used

    assert "is gone" in caplog.text
    assert trained() == [SMALL.seeds, TWINS + POPULAR + SMALL.seeds]
    open_side(champion)


def test_a_release_that_trains_the_champions_side_stores_it_for_the_next(champion, run, trained, caplog):
    own = evaluate(run)["quality"]
    assert "trained by this release: it was not trained before." in caplog.text
    assert trained() == [SMALL.seeds, TWINS + POPULAR + SMALL.seeds]
    assert "champion_backtested" in event_types(champion, "run-2")
    run("run-2").close()

    assert tidy_up(champion) == {"left": []}
    assert evaluate(run, "run-3")["quality"] == own
    assert trained() == [TWINS + POPULAR + SMALL.seeds]


def test_a_changed_setting_of_the_backtest_trains_it_again(champion, run, trained, caplog):
    tidy_up(champion)
    trained()
    changed = with_quality(champion.settings, replace(SMALL, seeds=2, margin=0.5))
    context = reopen(champion, gates=changed.gates)
    candidate = run("run-2", shift=1, inputs=INPUTS)
    candidate.context = context.of_run("run-2")
    candidate.plan()
    candidate.make()

    assert "changed since it was trained: backtest." in caplog.text
    assert trained() == [2, TWINS + POPULAR + 2]


def test_what_only_judges_the_backtest_does_not_train_it_again(champion, trained):
    tidy_up(champion)
    trained()
    changed = with_quality(champion.settings, replace(SMALL, margin=0.5, fewest_hits=1, fewest_users=1))

    assert tidy_up(reopen(champion, gates=changed.gates)) == {"left": []}
    assert trained() == []


@pytest.mark.parametrize("file", [pytest.param("lists.npz", marks=pytest.mark.more), "manifest.json"])
def test_a_damaged_side_is_trained_again_and_replaced(champion, run, trained, caplog, file):
    tidy_up(champion)
    before = champion.refresh().backtests[1]
    damage(champion.store, f"{before.prefix}/{file}")
    trained()

    evaluate(run)

    assert "the stored one cannot be used: " in caplog.text
    assert trained() == [SMALL.seeds, TWINS + POPULAR + SMALL.seeds]
    open_side(champion)
    assert champion.refresh().backtests[1] == before


@pytest.mark.more
def test_a_side_that_holds_out_other_rows_is_trained_again(champion, run, trained, caplog, monkeypatch):
    """As after a change of the code that chooses them, which the inputs do not show."""
    with monkeypatch.context() as patched:
        patched.setattr(champion_sides, "hold_out_last", lambda *arguments: hold_out_last(*arguments)[:-1])
        tidy_up(champion)
    before = champion.refresh().backtests[1]
    trained()

    evaluate(run)

    assert "other interactions are held out now." in caplog.text
    assert trained() == [SMALL.seeds, TWINS + POPULAR + SMALL.seeds]
    after = champion.refresh().backtests[1]
    assert (after.inputs, after.prefix == before.prefix) == (before.inputs, False)


def test_while_a_release_is_in_progress_nothing_is_trained(champion, run, trained):
    run("run-2", shift=1, inputs=INPUTS).plan()

    assert tidy_up(champion) == {"left": []}
    assert trained() == []


@pytest.mark.parametrize("inputs", [{}, {ModelTrained.IMPORTED: True}], ids=["made by hand", "imported"])
def test_a_champion_of_an_unknown_recipe_has_no_side(context, run, trained, inputs):
    run("run-1", inputs=inputs).release_fully()
    trained()

    assert tidy_up(context) == {"left": []}
    assert trained() == []
    assert context.refresh().backtests == {}


def test_a_failed_training_is_an_error_in_the_log_and_the_release_trains_it_itself(
    champion, run, trained, caplog, monkeypatch, tmp_path
):
    script = tmp_path / "fails.py"
    script.write_text("raise SystemExit('no memory')", encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(gate_models, "SCRIPT", script)
        assert tidy_up(champion) == {"left": [], "backtest": "failed"}
    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "The next release must train the champion's side of the backtest itself" in error.getMessage()
    assert "no memory" in error.getMessage()
    trained()

    evaluate(run)
    assert trained() == [SMALL.seeds, TWINS + POPULAR + SMALL.seeds]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), StorageUnavailableError("no answer")], ids=str)
def test_whatever_fails_in_the_training_housekeeping_succeeds(champion, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    promoted = champion.refresh().production
    with monkeypatch.context() as patched:
        patched.setattr(stored_sides, "train_champion_side", fail)
        assert tidy_up(champion) == {"left": [], "backtest": "failed"}
    assert champion.refresh().production == promoted
    assert champion.state.backtests == {}
    assert tidy_up(champion) == {"left": [], "backtest": "trained"}


def test_a_customer_who_is_erased_during_the_training_does_not_come_back(champion, monkeypatch):
    train = stored_sides.train_champion_side

    def train_and_erase(*arguments, **options):
        done = train(*arguments, **options)
        erase_user(champion, USERS[0])
        return done

    with monkeypatch.context() as patched:
        patched.setattr(stored_sides, "train_champion_side", train_and_erase)
        assert tidy_up(champion) == {"left": [], "backtest": "failed"}
    assert champion.refresh().backtests == {}
    assert list(champion.store.list(BACKTESTS)) == []

    assert tidy_up(champion) == {"left": [], "backtest": "trained"}
    assert USERS[0].encode() not in champion.store.read(open_side(champion).key("held_out.parquet"))


class Killed(BaseException):
    """Ends a process where it is raised."""


@pytest.mark.parametrize("key", ["lists.npz", "manifest.json", "ledger/"])
def test_housekeeping_that_is_killed_leaves_nothing_that_counts(champion, trained, monkeypatch, key):
    """Before a file of the bundle, before its manifest, and before the event."""
    with monkeypatch.context() as patched:
        for name in ("create", "upload"):
            patched.setattr(DirectoryStore, name, dying(getattr(DirectoryStore, name), key))
        with pytest.raises(Killed):
            tidy_up(champion)
    assert champion.refresh().backtests == {}
    trained()

    assert tidy_up(reopen(champion)) == {"left": [], "backtest": "trained"}
    bundle = open_side(champion)
    stored = {found.key for found in champion.store.list(BACKTESTS)}
    assert stored == {bundle.key(name) for name in (*bundle.files, "manifest.json")}


def dying(method, key):
    def method_of_a_killed_process(self, name, *arguments):
        if key in name:
            raise Killed
        return method(self, name, *arguments)

    return method_of_a_killed_process


def test_the_ledger_names_no_customer_and_the_bundle_does(champion):
    tidy_up(champion)

    [entry] = [entry for entry in champion.history() if isinstance(entry.event, ChampionBacktested)]
    assert not [user for user in USERS if json.dumps(user).strip('"') in entry.encode().decode()]
    side = open_side(champion)
    assert USERS[0].encode() in champion.store.read(side.key("held_out.parquet"))
    assert side.facts["users"] == len(USERS)
