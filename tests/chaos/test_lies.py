"""A cloud that lies: nothing is reported as done that is not, and the champion serves again, verified.

`make test` tries each lie a few times, `make test-chaos` a hundred times (CHAOS_TRIES).
"""

import os

import pytest
from steps.factories import USERS, Run

from recdeploy_ops.domain.errors import PromotionFailedError
from recdeploy_ops.domain.records import Decision

TRIES = int(os.environ.get("CHAOS_TRIES", "2"))
LIES = [
    "silently_reverted",  # SUCCEEDED and ACTIVE, with the old model's id
    "work_request_failed",  # FAILED while the old model stays ACTIVE
    "needs_attention",
    "old_still_serves",  # SUCCEEDED and ACTIVE with the new model's id, but the old one answers
    "stale_replica",  # one answer in four is the old model's
]


@pytest.mark.parametrize("lie", LIES)
def test_no_promotion_is_reported_as_done_that_is_not(releases, emulator, tmp_path, lie):
    Run(releases, "run-1", tmp_path).release_fully()
    second = Run(releases, "run-2", tmp_path, shift=1)
    second.validate()
    second.answer(Decision.PROMOTE)
    ask = releases.deployments.asker(releases.production(), timeout_seconds=10, fresh=True)

    for _ in range(TRIES):
        emulator.fail_next("UpdateModelDeployment", kind=lie)
        with pytest.raises(PromotionFailedError, match=r"v1 serves at .*, verified"):
            second.promote()
        second.close()
        assert releases.ledger.book().production.version == 1
        assert {ask({"user_id": user}).body["model_version"] for user in USERS} == {1}
        second.plan()

    second.promote()
    assert releases.ledger.book().production.version == 2
    assert {ask({"user_id": user}).body["model_version"] for user in USERS} == {2}
