"""Making a deployment manager: settings, credentials, and the shop's database."""

from __future__ import annotations

import json

import pytest
from shops import FakeOracleShop
from steps.factories import shop

from recdeploy_ops.deployment_manager.sources import source_of as source_of_parameters
from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.oci_clients.profiles import find_profile


class TestMakingAManager:
    def test_a_backup_root_of_the_users_own(self, make_manager, tmp_path):
        manager = make_manager(project_name="My Shop", backup_root=tmp_path / "data" / "backups")

        assert manager.settings.storage == (tmp_path / "data").as_uri()
        assert manager.settings.project_name == "my-shop"
        assert "🎯 My Shop - Deployment Status" in manager.get_deployment_summary()
        assert make_manager(backup_root="oci://b@ns/x/backups/").settings.storage == "oci://b@ns/x"

    def test_an_argument_that_cannot_be_used_is_named(self, make_manager, tmp_path):
        with pytest.raises(SettingsError, match="backup_root must be named 'backups'"):
            make_manager(backup_root=tmp_path)
        with pytest.raises(SettingsError, match="project_name"):
            make_manager(project_name="!")

    def test_the_sdks_own_file_with_the_sessions_variables_is_enough(self, monkeypatch, emulator, project_id):
        monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT", raising=False)
        monkeypatch.setenv("OCI_CONFIG_LOCATION", str(emulator.config_file))
        with pytest.raises(SettingsError, match="Set NB_SESSION_COMPARTMENT_OCID and PROJECT_OCID"):
            find_profile("oci_default")
        monkeypatch.setenv("NB_SESSION_COMPARTMENT_OCID", emulator.compartment_id)
        monkeypatch.setenv("PROJECT_OCID", project_id)
        monkeypatch.setenv("OCI_ODSC_SERVICE_ENDPOINT", emulator.url)

        profile = find_profile("oci_default")

        assert (profile.auth, profile.project_id, profile.service_endpoint) == ("api_key", project_id, emulator.url)
        assert profile.key["user"] == emulator.config["user"]
        monkeypatch.setenv("OCI_CONFIG_PROFILE", "OTHER")
        with pytest.raises(SettingsError, match="no profile 'OTHER'"):
            find_profile("oci_default")

    def test_the_variable_of_airflows_connection_comes_first(self, monkeypatch, profile_fields):
        monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", json.dumps({"conn_type": "oci", "extra": profile_fields}))
        assert find_profile("oci_default").project_id == profile_fields["project_id"]
        monkeypatch.setenv("AIRFLOW_CONN_OCI_DEFAULT", "oci://x")
        with pytest.raises(SettingsError, match="AIRFLOW_CONN_OCI_DEFAULT is not a JSON connection"):
            find_profile("oci_default")

    def test_the_connections_file_of_airflow_comes_next(self, monkeypatch, profile_fields, tmp_path):
        monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT", raising=False)
        monkeypatch.setenv("OCI_CONFIG_LOCATION", str(tmp_path / "none"))
        monkeypatch.delenv("OCI_RESOURCE_PRINCIPAL_VERSION", raising=False)
        file = tmp_path / "connections.json"
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps({"connections_file_path": str(file)}))
        with pytest.raises(SettingsError, match="Cannot sign requests to OCI"):
            find_profile("oci_default")
        file.write_text(json.dumps({"oci_default": {"conn_type": "oci", "extra": profile_fields}}))

        assert find_profile("oci_default").project_id == profile_fields["project_id"]
        file.write_text(json.dumps({"oci_default": {"extra": {"region": "x"}}}))
        with pytest.raises(SettingsError, match=r"oci_default in .*connections\.json lacks compartment_id"):
            find_profile("oci_default")
        file.write_text("oci_default: yaml")
        with pytest.raises(SettingsError, match="is not a JSON file of connections"):
            find_profile("oci_default")
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", "[]")
        with pytest.raises(SettingsError, match="AIRFLOW__SECRETS__BACKEND_KWARGS is not a JSON object"):
            find_profile("oci_default")

    def test_a_config_file_that_lacks_a_field_does_not_send_the_person_to_airflow(self, monkeypatch, tmp_path):
        monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT", raising=False)
        (tmp_path / "config").write_text("[DEFAULT]\nregion=x\nuser=u\ntenancy=t\n")
        monkeypatch.setenv("OCI_CONFIG_LOCATION", str(tmp_path / "config"))
        monkeypatch.setenv("NB_SESSION_COMPARTMENT_OCID", "c")
        monkeypatch.setenv("PROJECT_OCID", "p")

        with pytest.raises(SettingsError, match=r"config with .* lacks fingerprint.*Add it there") as refused:
            find_profile("oci_default")
        assert "Airflow" not in str(refused.value)

    def test_a_resource_principal_is_used_and_without_one_the_error_says_what_to_set(self, monkeypatch, tmp_path):
        monkeypatch.delenv("AIRFLOW_CONN_OCI_DEFAULT", raising=False)
        monkeypatch.setenv("OCI_CONFIG_LOCATION", str(tmp_path / "none"))
        monkeypatch.delenv("OCI_RESOURCE_PRINCIPAL_VERSION", raising=False)
        with pytest.raises(SettingsError, match="Set AIRFLOW_CONN_OCI_DEFAULT"):
            find_profile("oci_default")
        for name, value in (("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2"), ("PROJECT_OCID", "p")):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PROJECT_COMPARTMENT_OCID", "c")
        assert find_profile("oci_default").auth == "resource_principal"


ORACLE = {"user_name": "ADMIN", "password": "x", "service_name": "shop_medium", "wallet_location": "/wallet"}


class TestConnectionParameters:
    @pytest.mark.parametrize("missing", ["user_name", "password", "service_name"])
    def test_a_missing_one_is_named(self, missing):
        with pytest.raises(SettingsError, match=rf"lacks {missing} \(Cell 3\)"):
            source_of_parameters({**ORACLE, missing: None})

    def test_an_unknown_one_is_named(self):
        with pytest.raises(SettingsError, match="has unknown entries: host"):
            source_of_parameters({**ORACLE, "host": "x"})

    def test_oracle_gets_the_wallet_and_one_date_format(self, monkeypatch):
        import oracledb

        opened = []
        monkeypatch.setattr(oracledb, "connect", lambda **how: opened.append(FakeOracleShop({}, **how)) or opened[-1])

        source = source_of_parameters(ORACLE)

        assert source.name == "Oracle shop_medium"
        source._connect()
        [session] = opened
        how = session.opened_with
        assert (how["dsn"], how["config_dir"], how["wallet_location"]) == ("shop_medium", "/wallet", "/wallet")
        assert "NLS_SORT = BINARY" in session.executed[0]

    def test_a_url_leads_to_any_other_database(self, manager, tmp_path):
        rows = manager.extract_data({"url": f"sqlite:///{shop(tmp_path)}"})

        assert rows == {"interactions": 12, "users": 6, "items": 6}
