"""Each recipe through every step, week after week: released again, changed to the next one, and rolled back."""

from __future__ import annotations

import pytest
from steps.factories import Run, answer_of, reopen
from steps.shop_weeks import MOVIELENS, generated_store, movielens

from recdeploy_ops.domain import events
from recdeploy_ops.domain.gates.recipe_changes import OF_CHANGES
from recdeploy_ops.evaluation.stored_reports import read_report
from recdeploy_ops.steps import run_ads_operator

# A recipe for each week: each is released twice, and each is changed to another.
CHAIN = ("svd", "svd", "ease", "ease", "als", "als", "svd")
REPORTS = (events.DataChecked, events.CandidateChecked, events.CandidateEvaluated, events.TestValidated)
needs_movielens = pytest.mark.skipif(not MOVIELENS.is_dir(), reason="needs MovieLens-100k beside the repository")


@pytest.fixture
def settings(settings):
    """The settings that are shipped, for a shop whose past weeks are released today, on a machine that is busy."""
    bounds = {"max_age_hours": 24 * 7 * len(CHAIN) + settings.gates.max_age_hours, "max_latency_excess_ms": 5_000}
    training = settings.training.model_copy(update={"challenger": "none"})  # for information; it takes time
    return settings.model_copy(
        update={"gates": settings.gates.model_copy(update=bounds), "training": training},
    )


class WeeklyRun(Run):
    """A run of a week, whose model is trained by a recipe."""

    def __init__(self, context, shop, week, folder):
        shop.write(folder / "shop.db", week)
        training = context.settings.training.model_copy(update={"recipe": CHAIN[week]})
        super().__init__(reopen(context, training=training), f"week-{week}", folder, top_k=10)

    def train(self):
        self._take(run_ads_operator)

    def findings(self):
        """Return every finding by its gate."""
        release = self.context.release
        reports = [read_report(self.context.store, release.require(event)) for event in REPORTS]
        return {finding["gate"]: finding for report in reports for finding in report["findings"]}


def select(findings, verdict):
    return {gate: finding["message"] for gate, finding in findings.items() if finding["verdict"] == verdict}


@pytest.mark.more
@pytest.mark.timeout(1800)  # seven releases
@pytest.mark.parametrize(
    "make_weeks",
    [pytest.param(generated_store, id="generated"), pytest.param(movielens, id="movielens", marks=needs_movielens)],
)
def test_each_recipe_is_released_again_changed_to_the_next_and_rolled_back(context, make_weeks, tmp_path):
    shop = make_weeks(len(CHAIN))
    user = shop.shop.users.ids[0].as_py()

    for week, recipe in enumerate(CHAIN):
        run = WeeklyRun(context, shop, week, tmp_path)
        run.validate()
        findings, former = run.findings(), CHAIN[week - 1] if week else None
        held = select(findings, "HOLD")
        assert select(findings, "FAIL") == {}
        if former is None:
            assert all("this is the first release" in said for said in held.values())
        elif former == recipe:
            assert held == {}
        else:
            assert f"The recipe changes from {former} to {recipe}" in held["recipe"]
            assert set(held) <= {"recipe", *OF_CHANGES, "explained_variance"}
        run.promote_fully()
        assert answer_of(context, user)["model_version"] == week + 1

    for version in (6, 4, 2):  # by als, ease and svd
        Run(reopen(context), f"back-{version}", tmp_path).roll_back(str(version))
        assert answer_of(context, user)["model_version"] == version
