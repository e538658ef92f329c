"""The guide's methods that read or repair the state: what they return, and what they refuse to contradict OCI."""

from __future__ import annotations

import copy
import json

import pytest
from steps.cells import Cells
from steps.factories import adopt, delete_stored, living, switch_by_hand

from recdeploy_ops.domain.errors import CloudRefusedError, SettingsError, StateMismatchError
from recdeploy_ops.rollout.production import find_production


class TestTheState:
    def test_has_the_keys_of_the_guide(self, manager, cells, tmp_path):
        assert manager.state == {
            "current_version": 0,
            "production_deployment": None,
            "test_deployment": None,
            "deployment_history": (),
        }
        cells.release()
        second = Cells(manager, tmp_path, shift=1)
        second.until_test()

        state = manager.state

        serving = manager.context.ledger.read().production
        assert state["current_version"] == 1
        production = state["production_deployment"]
        assert (production["deployment_id"], production["model_id"]) == (serving.deployment_id, serving.model_id)
        assert (production["endpoint"], production["version"]) == (serving.url, 1)
        test = {"deployment_id": second.test.model_deployment_id, "endpoint": second.test.url, "version": 2}
        assert state["test_deployment"] == test
        [first] = state["deployment_history"]
        assert (first["action"], first["version"], first["model_id"]) == ("promoted", 1, serving.model_id)
        assert json.loads(json.dumps(state))["current_version"] == 1

    def test_tells_imports_promotions_and_rollbacks(self, manager, old_shop, run):
        adopt(manager.context, old_shop.make())
        run("run-1").release_fully()
        run("back").roll_back()
        adopt(manager.context)

        told = [(entry["action"], entry["version"]) for entry in manager.state["deployment_history"]]
        assert told == [("imported", 2), ("promoted", 3), ("rolled back", 2)]

    @pytest.mark.parametrize(
        "change",
        [
            lambda state: state.update(current_version=7),
            lambda state: state.__setitem__("current_version", 7),
            lambda state: state.pop("current_version"),
            lambda state: state["production_deployment"].clear(),
            lambda state: state["production_deployment"].setdefault("x", 1),
            lambda state: state.__delitem__("test_deployment"),
        ],
    )
    def test_cannot_be_written(self, manager, released, change):
        released()

        with pytest.raises(SettingsError, match=r"manager\.state is read from the ledger and cannot be written"):
            change(manager.state)
        copied = copy.deepcopy(manager.state)
        copied["current_version"] = 7
        assert manager.state["current_version"] == 1

    def test_is_not_that_of_another_storage(self, make_manager, released, tmp_path):
        released()
        elsewhere = make_manager(backup_root=tmp_path / "elsewhere" / "backups")

        for look in (lambda: elsewhere.state, elsewhere.get_deployment_summary, elsewhere.list_backups):
            with pytest.raises(StateMismatchError, match=r"the ledger at file:///.*elsewhere has no such entry"):
                look()


class TestTheSummary:
    def test_without_a_production_names_its_storage_and_what_may_serve(self, manager, old_shop):
        assert f"   Storage: {manager.context.store.uri}" in manager.get_deployment_summary().splitlines()
        production = old_shop.make()

        lines = manager.get_deployment_summary().splitlines()

        at = lines.index("⬜ PRODUCTION: No production deployment")
        assert f"({production}) is ACTIVE and does not belong to a project." in lines[at + 2]
        assert f"call manager.import_existing_deployment('{production}')" in "\n".join(lines)

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ("Product Recommender (EU)", "Product Recommender (EU)"),
            ("Product Recommender", "Product Recommender"),
            ("product-recommender", "Product Recommender"),
            (None, "Product Recommender"),
        ],
    )
    def test_shows_the_name_as_it_was_given(self, make_manager, given, shown):
        assert f"🎯 {shown} - Deployment Status" in make_manager(project_name=given).get_deployment_summary()


class TestImports:
    def test_take_the_arguments_of_the_guides_authors(self, manager, old_shop):
        production = old_shop.make()
        url = manager.context.deployments.get(production).url

        lines = manager.import_existing_deployment(
            deployment_id=production,
            model_id=old_shop.models[2],
            endpoint=f"{url}/predict",
            version=5,
            description="the shop's first deployment",
        )

        assert any(line.startswith("production: the ledger has nothing, OCI has v5") for line in lines)
        assert "described as: the shop's first deployment" in lines
        assert manager.current_version == 5
        assert manager.repair_production_state(production, old_shop.models[2], url, version=5) == []

    @pytest.mark.parametrize("method", ["import_existing_deployment", "repair_production_state"])
    @pytest.mark.parametrize(
        ("wrong", "error", "says"),
        [
            (
                {"model_id": "ocid1.datasciencemodel.x"},
                StateMismatchError,
                "has the model .*, not ocid1.datasciencemodel.x",
            ),
            (
                {"endpoint": "https://elsewhere/predict"},
                StateMismatchError,
                "has the URL http.*, not https://elsewhere",
            ),
            ({"version": "two"}, SettingsError, "version must be a whole number, not 'two'"),
            ({"version": 1}, SettingsError, "v1 is taken: backups/v1_"),
        ],
    )
    def test_refuse_what_contradicts_oci(self, manager, old_shop, method, wrong, error, says):
        production = old_shop.make()

        with pytest.raises(error, match=says):
            getattr(manager, method)(deployment_id=production, **wrong)
        assert manager.current_version == 0

    def test_refuse_a_deployment_that_does_not_exist(self, manager):
        with pytest.raises(CloudRefusedError):
            manager.import_existing_deployment("ocid1.datasciencemodeldeployment.oc1.iad.gone")

    def test_a_model_alone_is_refused(self, manager):
        with pytest.raises(SettingsError, match="does not name a deployment"):
            manager.repair_production_state(model_id="ocid1.datasciencemodel.x")


class TestRepairsFromABackup:
    def test_record_the_deployment_that_the_backup_names(self, manager, old_shop):
        production = old_shop.make()
        name = old_shop.back_up(2, 21, model_id=old_shop.models[2], deployment_id=production)

        lines = manager.repair_production_state_from_backup()

        assert any(line.startswith("production: the ledger has nothing, OCI has v2") for line in lines)
        assert manager.repair_production_state_from_backup(name) == []
        assert manager.repair_production_state_from_backup(2) == []

    def test_a_backup_of_what_no_longer_serves_is_refused(self, manager, old_shop):
        production = old_shop.make()

        with pytest.raises(StateMismatchError, match=rf"has the model {old_shop.models[2]}, not {old_shop.models[1]}"):
            manager.repair_production_state_from_backup(1)
        assert manager.current_version == 0
        assert production in manager.get_deployment_summary()

    def test_a_backup_of_this_project_repairs_a_lost_ledger(self, manager, two_releases, emulator, make_manager):
        switch_by_hand(manager.context, emulator)
        manager.repair_production_state()
        delete_stored(manager.context, "ledger/")
        again = make_manager()

        assert any("OCI has v1" in line for line in again.repair_production_state_from_backup(1))
        assert again.current_version == 1
        assert len(living(again.context)) == 1
        assert find_production(again.context).tags["recdeploy-version"] == "1"

    @pytest.mark.parametrize(
        ("backup", "says"),
        [(None, "No backup exists below"), (7, "No backup is 7 below"), ("v9_x", "No backup is v9_x below")],
    )
    def test_no_such_backup(self, manager, backup, says):
        with pytest.raises(SettingsError, match=says):
            manager.repair_production_state_from_backup(backup)

    def test_a_backup_that_names_no_deployment(self, manager, old_shop):
        old_shop.back_up(1, 20)

        with pytest.raises(SettingsError, match=r"metadata.json does not name a deployment.*repair_production_state\("):
            manager.repair_production_state_from_backup()
