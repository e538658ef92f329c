"""The drill: the bucket is lost, and the ledger is rebuilt from the catalog and the tags."""

from __future__ import annotations

import oci
import pytest
from steps.factories import USERS, Run

from recdeploy_ops.context import open_context
from recdeploy_ops.domain.errors import StateMismatchError
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.rollout.production import find_production
from recdeploy_ops.rollout.tagging import find_tagged_heads
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import adopt_production
from recdeploy_ops.storage.roots import open_store


@pytest.fixture
def open_shop(emulator, context):
    """Opens the shop's releases with an Object Storage bucket of a name, which is made when it is not there."""
    session = context.catalog._session

    def open_shop(name):
        details = oci.object_storage.models.CreateBucketDetails(name=name, compartment_id=emulator.compartment_id)
        session.object_storage.create_bucket(emulator.namespace, details)
        settings = context.settings.model_copy(update={"storage": f"oci://{name}@{emulator.namespace}/recommender"})
        return open_context(settings, open_store(settings.storage, session), session, "test")

    return open_shop


def lose(context, emulator):
    """Delete every object, as somebody who deletes the bucket does."""
    for found in list(context.store.list("")):
        context.store.delete(found.key)
    assert list(context.store.list("")) == []


def adopt(context, *, apply):
    return finish(context, lambda: adopt_production.advance(context.of_run("adopt"), deployment_id=None, apply=apply))


def version_served(context):
    ask = context.deployments.asker(find_production(context).url, timeout_seconds=10, fresh=True)
    return ask({"user_id": USERS[0]}).body["model_version"]


@pytest.mark.parametrize("bucket", ["shop", "shop-again"], ids=["the same bucket, empty", "a new bucket"])
def test_after_the_bucket_is_lost_the_next_release_and_a_rollback_work(emulator, open_shop, tmp_path, bucket):
    before = open_shop("shop")
    for number in (1, 2, 3):
        Run(before, f"run-{number}", tmp_path, shift=number).release_fully()
    known = before.ledger.read()
    production = find_production(before)
    lose(before, emulator)
    session = before.catalog._session
    shop = open_context(before.settings, before.store, session, "test") if bucket == "shop" else open_shop("shop-again")

    # Nothing begins beside production, and what is to be done is said.
    for way in (Run(shop, "run-4", tmp_path).plan, Run(shop, "back", tmp_path).rehearse_rollback):
        with pytest.raises(StateMismatchError, match=r"only if it is lost, let recommender_adopt rebuild it"):
            way()
    shown = adopt(shop, apply=False)
    lost = f"names entry {known.seq} of its ledger, and the ledger at {shop.store.uri} has no such entry"
    assert lost in shown["difference"][0]
    assert list(shop.store.list("ledger/")) == []

    adopt(shop, apply=True)

    rebuilt = shop.ledger.read()
    assert rebuilt.production.digest == known.production.digest
    assert rebuilt.production.version == 3
    assert rebuilt.previous_champion is None  # tags alone do not say which version served before
    assert {number: version.stage for number, version in rebuilt.versions.items()} == {
        1: Stage.RETIRED,
        2: Stage.RETIRED,
        3: Stage.CHAMPION,
    }
    assert {number: version.digest for number, version in rebuilt.versions.items()} == {
        number: version.digest for number, version in known.versions.items()
    }
    assert audit(shop.store, tagged_heads=find_tagged_heads(shop)) == []
    assert adopt(shop, apply=False)["difference"] == []

    Run(shop, "run-4", tmp_path, shift=4).release_fully()
    assert version_served(shop) == shop.ledger.read().production.version == 4
    assert Run(shop, "back", tmp_path).roll_back()["version"] == 3
    assert version_served(shop) == 3
    assert Run(shop, "further-back", tmp_path).roll_back(1)["version"] == 1
    assert version_served(shop) == 1
    assert find_production(shop).deployment_id == production.deployment_id
    assert find_production(shop).url == production.url
    assert audit(shop.store, tagged_heads=find_tagged_heads(shop)) == []
