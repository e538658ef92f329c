import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from oci.vault.models import (
    Base64SecretContentDetails,
    RotationConfig,
    ScheduleSecretDeletionDetails,
    SecretGenerationContext,
    UpdateSecretDetails,
)

from oci_emulator.credentials import VAULT
from oci_emulator.testing import EmulatorError, running_emulator
from tests.emulator.clouds import Cloud, refusal
from tests.vaults import content, put_secret, replace_content, secret_details

MISSING = (404, "NotAuthorizedOrNotFound")
INVALID = (400, "InvalidParameter")


def text_of(bundle: Any) -> str:
    return base64.b64decode(bundle.data.secret_bundle_content.content).decode()


def read(cloud: Cloud, name: str, **options: Any) -> str:
    return text_of(cloud.secrets.get_secret_bundle_by_name(name, VAULT, **options))


def schedule(cloud: Cloud, secret: str, **wait: float) -> Any:
    due = datetime.now(UTC) + timedelta(**wait) if wait else None
    return cloud.vaults.schedule_secret_deletion(secret, ScheduleSecretDeletionDetails(time_of_deletion=due))


def test_a_secret_is_read_by_its_id_and_by_its_name(cloud: Cloud) -> None:
    secret = put_secret(cloud.vaults, "db.password_1-x", "pässword", metadata={"for": "shop"})
    bundle = cloud.secrets.get_secret_bundle(secret).data
    assert text_of(cloud.secrets.get_secret_bundle(secret)) == "pässword"
    assert (bundle.secret_id, bundle.version_number, bundle.metadata) == (secret, 1, {"for": "shop"})
    assert bundle.stages == ["CURRENT", "LATEST"]
    assert read(cloud, "db.password_1-x") == "pässword"


def test_a_secret_is_described_without_its_content(cloud: Cloud) -> None:
    secret = put_secret(cloud.vaults, "a", description="first")
    described = cloud.vaults.get_secret(secret)
    assert (described.data.secret_name, described.data.lifecycle_state) == ("a", "ACTIVE")
    assert (described.data.description, described.data.vault_id) == ("first", VAULT)
    encoded = base64.b64encode(b"opensesame").decode()
    listed = cloud.vaults.list_secrets(cloud.compartment)
    assert encoded not in f"{described.data}{listed.data}{cloud.emulator.calls()}"


def test_secrets_are_listed_by_name_and_vault(cloud: Cloud) -> None:
    for name in ("b", "a", "c"):
        put_secret(cloud.vaults, name)
    names = [item.secret_name for item in cloud.vaults.list_secrets(cloud.compartment, sort_by="NAME").data]
    newest_first = [item.secret_name for item in cloud.vaults.list_secrets(cloud.compartment).data]
    assert (names, newest_first) == (["a", "b", "c"], ["c", "a", "b"])
    assert [item.secret_name for item in cloud.vaults.list_secrets(cloud.compartment, name="b").data] == ["b"]
    assert cloud.vaults.list_secrets(cloud.compartment, vault_id="ocid1.vault.oc1..other").data == []


def test_new_content_is_a_new_version_and_the_old_one_can_be_read(cloud: Cloud) -> None:
    secret = put_secret(cloud.vaults, "a", "one")
    replace_content(cloud.vaults, secret, "two", name="second")
    replace_content(cloud.vaults, secret, "three")
    assert read(cloud, "a") == "three"
    assert read(cloud, "a", stage="PREVIOUS") == "two"
    assert read(cloud, "a", secret_version_name="second") == "two"
    assert read(cloud, "a", version_number=1) == "one"
    assert cloud.secrets.get_secret_bundle(secret, version_number=1).data.stages == ["DEPRECATED"]
    assert refusal(read, cloud, "a", version_number=4) == MISSING
    assert refusal(read, cloud, "a", stage="PENDING") == MISSING
    assert cloud.vaults.get_secret(secret).data.current_version_number == 3


def test_a_pending_version_is_not_current_until_it_is_made_so(cloud: Cloud) -> None:
    secret = put_secret(cloud.vaults, "a", "one")
    replace_content(cloud.vaults, secret, "two", stage="PENDING")
    assert read(cloud, "a") == "one"
    assert cloud.secrets.get_secret_bundle(secret, stage="LATEST").data.stages == ["PENDING", "LATEST"]
    cloud.vaults.update_secret(secret, UpdateSecretDetails(current_version_number=2))
    assert read(cloud, "a") == "two"
    assert read(cloud, "a", stage="PREVIOUS") == "one"
    assert refusal(read, cloud, "a", stage="PENDING") == MISSING


def test_a_secret_pending_deletion_cannot_be_read_and_keeps_its_name(cloud: Cloud) -> None:
    secret = put_secret(cloud.vaults, "a")
    schedule(cloud, secret)
    pending = cloud.vaults.get_secret(secret).data
    assert pending.lifecycle_state == "PENDING_DELETION"
    assert timedelta(days=29.9) < pending.time_of_deletion - datetime.now(UTC) < timedelta(days=30)
    assert refusal(cloud.secrets.get_secret_bundle, secret) == MISSING
    assert refusal(read, cloud, "a") == MISSING
    assert refusal(put_secret, cloud.vaults, "a") == INVALID
    assert refusal(replace_content, cloud.vaults, secret, "two") == (409, "IncorrectState")
    cloud.vaults.cancel_secret_deletion(secret)
    assert read(cloud, "a") == "opensesame"


def test_a_deleted_secret_is_gone_and_its_name_free(cloud: Cloud) -> None:
    secret = put_secret(cloud.vaults, "a", "one")
    with pytest.raises(EmulatorError, match="not PENDING_DELETION"):
        cloud.emulator.end_retention(secret)
    schedule(cloud, secret, days=2)
    cloud.emulator.end_retention(secret)
    assert refusal(cloud.secrets.get_secret_bundle, secret) == MISSING
    assert refusal(cloud.vaults.cancel_secret_deletion, secret) == MISSING
    put_secret(cloud.vaults, "a", "two")
    assert read(cloud, "a") == "two"


@pytest.mark.parametrize("wait", [{"hours": 23}, {"days": 31}])
def test_a_deletion_is_1_to_30_days_ahead(cloud: Cloud, wait: dict[str, float]) -> None:
    assert refusal(schedule, cloud, put_secret(cloud.vaults, "a"), **wait) == INVALID


@pytest.mark.parametrize(
    ("details", "answer"),
    [
        ({"secret_name": "a/b"}, INVALID),
        ({"secret_name": "a" * 256}, INVALID),
        ({"secret_name": None}, (400, "MissingParameter")),
        ({"secret_content": Base64SecretContentDetails(content="not base64!")}, INVALID),
        ({"secret_content": content("x", stage="PENDING")}, INVALID),
        ({"vault_id": "ocid1.vault.oc1..other"}, (400, "RelatedResourceNotAuthorizedOrNotFound")),
        ({"key_id": "ocid1.key.oc1..other"}, (400, "RelatedResourceNotAuthorizedOrNotFound")),
        ({"compartment_id": "ocid1.compartment.oc1..other"}, MISSING),
        ({"rotation_config": RotationConfig(is_scheduled_rotation_enabled=True)}, (501, "NotImplemented")),
        ({"enable_auto_generation": True}, (501, "NotImplemented")),
    ],
)
def test_an_invalid_secret_is_refused(cloud: Cloud, details: dict[str, Any], answer: tuple[int, str]) -> None:
    assert refusal(cloud.vaults.create_secret, secret_details("a", **details)) == answer
    assert cloud.vaults.list_secrets(cloud.compartment).data == []


def test_content_and_current_version_are_not_updated_together(cloud: Cloud) -> None:
    secret = put_secret(cloud.vaults, "a")
    both = UpdateSecretDetails(secret_content=content("two"), current_version_number=1)
    assert refusal(cloud.vaults.update_secret, secret, both) == INVALID
    unknown = UpdateSecretDetails(current_version_number=2)
    assert refusal(cloud.vaults.update_secret, secret, unknown) == INVALID
    generated = UpdateSecretDetails(secret_generation_context=SecretGenerationContext())
    assert refusal(cloud.vaults.update_secret, secret, generated) == (501, "NotImplemented")


def test_a_secret_changed_meanwhile_is_not_updated(cloud: Cloud) -> None:
    secret = put_secret(cloud.vaults, "a", "one")
    etag = cloud.vaults.get_secret(secret).headers["etag"]
    replace_content(cloud.vaults, secret, "two")
    details = UpdateSecretDetails(secret_content=content("three"))
    assert refusal(cloud.vaults.update_secret, secret, details, if_match=etag) == (412, "NoEtagMatch")


def test_an_unknown_secret_or_vault_is_not_found(cloud: Cloud) -> None:
    put_secret(cloud.vaults, "a")
    assert refusal(read, cloud, "A") == MISSING
    assert refusal(cloud.secrets.get_secret_bundle_by_name, "a", "ocid1.vault.oc1..other") == MISSING
    assert refusal(cloud.secrets.get_secret_bundle, "ocid1.vaultsecret.oc1..no") == MISSING


def test_a_wrong_key_cannot_read_and_a_fault_hits_a_read(cloud: Cloud) -> None:
    put_secret(cloud.vaults, "a")
    stranger = cloud.client(type(cloud.secrets), {**cloud.emulator.config, "user": "ocid1.user.oc1..stranger"})
    assert refusal(stranger.get_secret_bundle_by_name, "a", VAULT) == (401, "NotAuthenticated")
    cloud.emulator.fail_next("GetSecretBundleByName", status=429)
    assert refusal(read, cloud, "a") == (429, "TooManyRequests")
    assert read(cloud, "a") == "opensesame"


def test_secrets_survive_a_restart_and_return_with_a_snapshot(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        secret = put_secret(Cloud(emulator).vaults, "a", "one")
        emulator.kill()
    with running_emulator(tmp_path) as emulator:
        cloud = Cloud(emulator)
        assert read(cloud, "a") == "one"
        emulator.snapshot("one")
        replace_content(cloud.vaults, secret, "two")
        emulator.restore("one")
        assert read(cloud, "a") == "one"
