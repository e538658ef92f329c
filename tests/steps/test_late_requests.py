"""A request that a slow worker sends to OCI after others have closed its release: OCI refuses it, or it is undone."""

import pytest
from steps.factories import living, require_agreement, tidy_up

from recdeploy_ops.domain.errors import CloudUnavailableError, SwitchInterruptedError
from recdeploy_ops.domain.records import Decision


class Held:
    """A call to OCI that a slow worker has prepared and not sent, while others count that worker as ended."""

    def __init__(self, context, name, monkeypatch):
        self._send, self.arguments = getattr(context.deployments, name), None
        self._patch = monkeypatch
        monkeypatch.setattr(context.deployments, name, self._hold)

    def _hold(self, *arguments):
        self.arguments = arguments
        self._patch.undo()
        raise CloudUnavailableError("the worker is slow")

    def send(self):
        return self._send(*self.arguments)


CLOSERS = {
    "its own teardown": lambda run, context: run("run-2").close(),
    "housekeeping": lambda run, context: tidy_up(context, ended=True),
    "another release": lambda run, context: run("run-3").plan(has_ended=lambda holder: True),
    "its own plan": lambda run, context: run("run-2").plan(),
}


@pytest.mark.parametrize("closer", CLOSERS)
def test_a_switch_still_on_its_way_to_oci_when_its_release_is_closed_is_refused(
    context, run, approved, monkeypatch, closer
):
    held = Held(context, "switch_model", monkeypatch)
    with pytest.raises(SwitchInterruptedError, match="slow"):
        approved.promote()
    CLOSERS[closer](run, context)

    with pytest.raises(CloudUnavailableError, match="412"):
        held.send()
    require_agreement(context, 1)


def test_a_rollback_still_on_its_way_to_oci_when_it_is_closed_is_refused(context, run, two_versions, monkeypatch):
    back = run("back")
    back.rehearse_rollback()
    held = Held(context, "switch_model", monkeypatch)
    with pytest.raises(SwitchInterruptedError, match="slow"):
        back.switch_back()
    back.close()

    with pytest.raises(CloudUnavailableError, match="412"):
        held.send()
    require_agreement(context, 2)


@pytest.mark.parametrize("cleaner", ["housekeeping", "the next release"])
def test_a_first_production_that_oci_creates_after_its_release_was_closed_is_deleted(
    context, run, emulator, monkeypatch, cleaner
):
    first = run("run-1", skip_test_deployment=True)
    first.validate()
    first.answer(Decision.PROMOTE)
    held = Held(context, "create", monkeypatch)
    with pytest.raises(SwitchInterruptedError, match="slow"):
        first.promote()
    first.close()
    held.send()
    emulator.wait_until_idle()
    assert [d.name for d in living(context)] == ["product-recommender-production"]

    if cleaner == "housekeeping":
        tidy_up(context)
    else:
        run("run-2").plan()
        emulator.wait_until_idle()
    assert living(context) == []


def test_the_champion_is_restored_though_its_etag_cannot_be_invalidated(
    context, approved, emulator, monkeypatch, caplog
):
    Held(context, "switch_model", monkeypatch)
    with pytest.raises(SwitchInterruptedError, match="slow"):
        approved.promote()
    emulator.fail_next("UpdateModelDeployment", kind="status", status=400, code="LimitExceeded")
    approved.close()

    assert "etag could not be changed" in caplog.text
    require_agreement(context, 1)
    assert context.ledger.read().holder is None
