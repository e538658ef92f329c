"""The tags of production after a release: what does not keep them from being set, and what is only a warning."""

import pytest
from steps.factories import find_faults

from recdeploy_ops.domain.errors import TransientError
from recdeploy_ops.domain.waiting import Waiting
from recdeploy_ops.oci_clients.tags import VERSION_TAG
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.steps import close_release


def test_tags_that_oci_accepts_and_ignores_are_a_warning(approved, emulator, caplog):
    approved.promote()
    emulator.fail_next("UpdateModelDeployment", kind="silently_reverted", times=None)

    approved.close()
    assert "keeps its old tags" in caplog.text
    assert len(emulator.calls("UpdateModelDeployment")) < 20


@pytest.mark.parametrize("moment", ["before the tags are requested", "while the tags are set"])
def test_an_entry_that_somebody_records_meanwhile_does_not_keep_the_tags_old(
    context, run, approved, emulator, caplog, no_retries, moment
):
    approved.promote()
    if moment == "before the tags are requested":
        emulator.fail_next("UpdateModelDeployment", status=503, times=None)
        with pytest.raises(TransientError):
            approved.close()
        emulator.clear_faults()
    else:
        emulator.set_timings(update=1)
        assert isinstance(close_release.advance(approved.context), Waiting)
    run("freeze").freeze()
    approved.close()

    assert find_production(context).tags[VERSION_TAG] == "2"
    assert "keeps its old tags" not in caplog.text
    assert find_faults(context) == []
