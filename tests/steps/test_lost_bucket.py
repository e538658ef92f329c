"""The bucket is lost, and the ledger is rebuilt from the catalog and the tags."""

from __future__ import annotations

import pytest
from steps.factories import Run, adopt, delete_stored, find_faults, reopen, served

from recdeploy_ops.domain.errors import StateMismatchError
from recdeploy_ops.domain.stages import Stage
from recdeploy_ops.rollout.production import find_production

pytestmark = pytest.mark.more


@pytest.fixture
def open_shop(context, make_bucket):
    """Opens the shop's releases with a new Object Storage bucket of a name."""
    return lambda name: reopen(context, storage=f"{make_bucket(name)}/recommender")


@pytest.mark.parametrize("bucket", ["shop", "shop-again"], ids=["the same bucket, empty", "a new bucket"])
def test_after_the_bucket_is_lost_the_next_release_and_a_rollback_work(open_shop, tmp_path, bucket):
    before = open_shop("shop")
    for number in (1, 2, 3):
        Run(before, f"run-{number}", tmp_path, shift=number).release_fully()
    known = before.ledger.read()
    production = find_production(before)
    delete_stored(before, "")
    assert list(before.store.list("")) == []
    shop = reopen(before) if bucket == "shop" else open_shop("shop-again")

    # Nothing begins beside production, and the error says what to do.
    for way in (Run(shop, "run-4", tmp_path).plan, Run(shop, "back", tmp_path).rehearse_rollback):
        with pytest.raises(StateMismatchError, match=r"only if it is lost, let recommender_adopt rebuild it"):
            way()
    shown = adopt(shop, apply=False)
    lost = f"names entry {known.seq} of its ledger, and the ledger at {shop.store.uri} has no such entry"
    assert lost in shown["difference"][0]
    assert list(shop.store.list("ledger/")) == []

    adopt(shop)

    rebuilt = shop.ledger.read()
    assert rebuilt.production.digest == known.production.digest
    assert rebuilt.production.version == 3
    assert rebuilt.previous_champion is None  # tags alone do not say which version served before
    stages = {number: version.stage for number, version in rebuilt.versions.items()}
    assert stages == {1: Stage.RETIRED, 2: Stage.RETIRED, 3: Stage.CHAMPION}
    assert {number: version.digest for number, version in rebuilt.versions.items()} == {
        number: version.digest for number, version in known.versions.items()
    }
    assert find_faults(shop) == []
    assert adopt(shop, apply=False)["difference"] == []

    Run(shop, "run-4", tmp_path, shift=4).release_fully()
    assert served(shop) == shop.ledger.read().production.version == 4
    assert Run(shop, "back", tmp_path).roll_back()["version"] == 3
    assert served(shop) == 3
    assert Run(shop, "further-back", tmp_path).roll_back(1)["version"] == 1
    assert served(shop) == 1
    assert find_production(shop).deployment_id == production.deployment_id
    assert find_production(shop).url == production.url
    assert find_faults(shop) == []
