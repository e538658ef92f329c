"""Secrets of the tenancy's vault: CreateSecret, UpdateSecret and the schedule of a deletion.

A secret is ACTIVE at once. A deletion that is due happens only through the control plane.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from oci_emulator.credentials import KEY, VAULT
from oci_emulator.data_science.catalog import Catalog, pick, require, require_object
from oci_emulator.errors import (
    IncorrectStateError,
    InvalidParameterError,
    NotImplementedByEmulatorError,
    RelatedResourceNotFoundError,
    ResourceNotFoundError,
)
from oci_emulator.listings import Listing
from oci_emulator.messages import OciRequest, document, empty
from oci_emulator.store import Json, Resource
from oci_emulator.tenancies import parse_timestamp, timestamp
from oci_emulator.vault.versions import Version, Versions

KIND = "vaultsecret"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_FIELDS = ("description", "metadata", "freeformTags", "definedTags")
_CREATED = ("compartmentId", "keyId", "secretName", "vaultId", *_FIELDS)
_NOT_EMULATED = (
    "secretRules",
    "replicationConfig",
    "rotationConfig",
    "secretGenerationContext",
    "enableAutoGeneration",
)
_HIDDEN = frozenset({"createdBy"})
_LISTING = Listing(
    filters=("name", "lifecycleState", "vaultId"),
    sortable=("TIMECREATED", "NAME"),
    omits=frozenset({"createdBy", "metadata", "currentVersionNumber"}),
    fields={"name": "secretName", "TIMECREATED": "timeCreated", "NAME": "secretName"},
)
# https://docs.oracle.com/en-us/iaas/Content/secret-management/Tasks/delete-secret.htm
_SHORTEST_WAIT, _LONGEST_WAIT = timedelta(days=1), timedelta(days=30)


@dataclass(frozen=True)
class Secrets:
    """The secrets of the tenancy's only vault; their contents are private."""

    catalog: Catalog

    def create(self, request: OciRequest) -> Response:
        """Answer CreateSecret."""
        body = _checked(request.json())
        name = require(body, "secretName")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidParameterError(f"secretName {name!r} has other characters than letters, digits, -, _ and .")
        for field, known in (("vaultId", VAULT), ("keyId", KEY)):
            if require(body, field) != known:
                raise RelatedResourceNotFoundError(f"{field} {body[field]} is not found, or you are not authorized.")
        if self.named(name):
            raise InvalidParameterError(f"A secret with the name {name} already exists in the vault.")
        secret = self.catalog.draft(KIND, body, _CREATED, lifecycleState="ACTIVE", currentVersionNumber=1)
        version = _version(require_object(body, "secretContent"))
        if version.is_pending:
            raise InvalidParameterError("The first version of a secret is CURRENT, not PENDING.")
        Versions.of(secret).add(version)
        return _shown(self.catalog.store.save(secret))

    def get(self, request: OciRequest) -> Response:
        """Answer GetSecret."""
        return _shown(self.catalog.find(KIND, request, "secretId"))

    def list_all(self, request: OciRequest) -> Response:
        """Answer ListSecrets."""
        return _LISTING.reply(request, self.catalog.listed(KIND, request), lambda secret: secret.body)

    def update(self, request: OciRequest) -> Response:
        """Answer UpdateSecret: description, metadata and tags, and either new contents or another current version."""
        secret = self._in_state(request, "ACTIVE")
        body = _checked(request.json())
        secret.body.update(pick(body, _FIELDS))
        if body.get("secretContent") and body.get("currentVersionNumber"):
            raise InvalidParameterError("secretContent and currentVersionNumber cannot be updated at the same time.")
        versions = Versions.of(secret)
        if body.get("secretContent"):
            versions.add(_version(require_object(body, "secretContent")))
        elif body.get("currentVersionNumber"):
            versions.make_current(body["currentVersionNumber"])
        secret.body["currentVersionNumber"] = versions.current
        return _shown(self.catalog.store.save(secret))

    def schedule_deletion(self, request: OciRequest) -> Response:
        """Answer ScheduleSecretDeletion; the time is 1 to 30 days from now, 30 by default."""
        secret = self._in_state(request, "ACTIVE")
        now, text = datetime.now(UTC), request.json().get("timeOfDeletion")
        due = now + _LONGEST_WAIT if text is None else parse_timestamp(text, "timeOfDeletion")
        if not now + _SHORTEST_WAIT <= due <= now + _LONGEST_WAIT:
            raise InvalidParameterError(f"timeOfDeletion {text} is not between 1 and 30 days from now.")
        secret.body |= {"lifecycleState": "PENDING_DELETION", "timeOfDeletion": timestamp(due)}
        return empty(self.catalog.store.save(secret), status=200)

    def cancel_deletion(self, request: OciRequest) -> Response:
        """Answer CancelSecretDeletion."""
        secret = self._in_state(request, "PENDING_DELETION")
        secret.body["lifecycleState"] = "ACTIVE"
        del secret.body["timeOfDeletion"]
        return empty(self.catalog.store.save(secret), status=200)

    def end_retention(self, identifier: str) -> None:
        """Delete a secret that is pending deletion, as its time of deletion does.

        Raises ResourceNotFoundError if it does not exist, IncorrectStateError if it is not pending deletion.
        """
        secret = self.catalog.store.find(KIND, identifier)
        if secret is None:
            raise ResourceNotFoundError(f"secret {identifier}")
        _check_state(secret, "PENDING_DELETION")
        secret.body["lifecycleState"] = "DELETED"
        secret.private.clear()
        self.catalog.store.save(secret)

    def named(self, name: str) -> Resource | None:
        """Return the secret with this name, unless it is deleted; a secret pending deletion still has its name."""
        secrets = self.catalog.store.all_of(KIND)
        named = [item for item in secrets if item.body["secretName"] == name]
        return next((item for item in named if item.body["lifecycleState"] != "DELETED"), None)

    def _in_state(self, request: OciRequest, state: str) -> Resource:
        secret = self.catalog.find_existing(KIND, request, "secretId")
        _check_state(secret, state)
        return secret


def _checked(body: Json) -> Json:
    """Refuse what is not emulated."""
    if asked := [name for name in _NOT_EMULATED if body.get(name) not in (None, False, [])]:
        raise NotImplementedByEmulatorError(f"{', '.join(asked)} of a secret: not emulated.")
    return body


def _check_state(secret: Resource, state: str) -> None:
    if secret.body["lifecycleState"] != state:
        raise IncorrectStateError(f"Secret {secret.id} is {secret.body['lifecycleState']}, not {state}.")


def _version(content: Json) -> Version:
    """Return the new version that is in secretContent. Messages never quote the content."""
    if content.get("contentType") != "BASE64":
        raise InvalidParameterError(f"contentType is {content.get('contentType')!r}, not 'BASE64'.")
    stage, name = content.get("stage") or "CURRENT", content.get("name")
    if stage not in ("CURRENT", "PENDING"):
        raise InvalidParameterError(f"stage is {stage!r}, not CURRENT or PENDING.")
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        raise InvalidParameterError(f"The version name {name!r} has other characters than letters, digits, -, _ and .")
    encoded = require(content, "content")
    try:
        base64.b64decode(encoded, validate=True)
    except (binascii.Error, TypeError, ValueError) as err:
        raise InvalidParameterError("The content of the secret is not base64.") from err
    return Version(content=encoded, name=name, is_pending=stage == "PENDING", created=timestamp())


def _shown(secret: Resource) -> Response:
    return document({name: value for name, value in secret.body.items() if name not in _HIDDEN}, secret)
