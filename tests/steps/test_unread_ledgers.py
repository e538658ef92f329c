"""If the ledger cannot be read, OCI alone shows whether production may be half switched."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from steps.factories import damage

from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import (
    IntegrityError,
    PromotionFailedError,
    StorageUnavailableError,
    SwitchInterruptedError,
)
from recdeploy_ops.domain.tries import Tries
from recdeploy_ops.steps import close_release, promote
from recdeploy_ops.storage.keys import LEDGER, SNAPSHOT
from recdeploy_ops.storage.roots import open_store

pytestmark = pytest.mark.usefixtures("no_retries")
FIRST_TRY, LAST_TRY = (Tries(number, 2, timedelta(seconds=30), "close_release goes on") for number in (1, 2))
NOT_KNOWN = "The ledger cannot be read, and production may be in the middle of a switch: "
NEEDS_A_PERSON = "PRODUCTION NEEDS A PERSON. "
GOES_ON = "close_release goes on. "
HALF_DONE = "the tags of .* say v1; it is ACTIVE, configured for the model .*, and it answers with version 2"


@pytest.fixture
def unread(context, monkeypatch):
    """Returns the context of a process that cannot read the ledger: its entries are damaged, or do not answer."""

    def open_unread(cause, tries=FIRST_TRY):
        session = context.catalog._session
        store = open_store(context.settings.storage, session)
        if cause is IntegrityError:
            newest = max(found.key for found in store.list(LEDGER) if found.key != SNAPSHOT)
            damage(store, newest)
        else:
            monkeypatch.setattr(store, "list", fail(cause("The storage did not answer.")))
        return replace(open_context(context.settings, store, session, "run-2"), tries=tries)

    return open_unread


def fail(error):
    def raise_it(*_, **__):
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("step", "cause", "tries", "becomes", "begins", "next_try"),
    [
        (promote, StorageUnavailableError, FIRST_TRY, SwitchInterruptedError, "", "It is tried again in 30 s"),
        (close_release, StorageUnavailableError, LAST_TRY, SwitchInterruptedError, NEEDS_A_PERSON, GOES_ON),
        (promote, IntegrityError, FIRST_TRY, PromotionFailedError, NEEDS_A_PERSON, GOES_ON),
        (close_release, OSError, FIRST_TRY, PromotionFailedError, NEEDS_A_PERSON, GOES_ON),
    ],
)
def test_the_error_says_that_a_switch_may_be_open(switching, unread, step, cause, tries, becomes, begins, next_try):
    with pytest.raises(becomes, match=rf"{NOT_KNOWN}{HALF_DONE}.* Why: .*{next_try}") as raised:
        step.advance(unread(cause, tries))
    assert str(raised.value).startswith(begins + NOT_KNOWN)


@pytest.mark.parametrize("cause", [StorageUnavailableError, IntegrityError])
def test_production_at_rest_leaves_the_storages_own_error(approved, unread, cause):
    with pytest.raises(cause) as raised:
        close_release.advance(unread(cause, LAST_TRY))
    assert NOT_KNOWN not in str(raised.value)


def test_the_error_is_the_storages_own_without_a_production(unread):
    with pytest.raises(StorageUnavailableError, match=r"^The storage did not answer\.$"):
        close_release.advance(unread(StorageUnavailableError))


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ([("ListModelDeployments", {"status": 503})], "OCI cannot tell either .*refused to list the model deploy"),
        ([("Predict", {"status": 503})], "it is ACTIVE, configured for the model .*it does not answer"),
        ([("GetModel", {"status": 404})], "it is ACTIVE, configured for the model .*it answers with version 1"),
        (
            [("GetModelDeployment", {"status": 503}), ("Predict", {"status": 502})],
            "its configuration is not known .*it does not answer",
        ),
    ],
    ids=["no list", "no answer", "no model", "nothing"],
)
def test_production_is_not_at_rest_where_oci_does_not_show_it(approved, unread, emulator, faults, says):
    for operation, fault in faults:
        emulator.fail_next(operation, times=None, **fault)

    with pytest.raises(SwitchInterruptedError, match=f"{NOT_KNOWN}.*{says}"):
        close_release.advance(unread(StorageUnavailableError))
