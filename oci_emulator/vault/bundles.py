"""Secret bundles: the contents of a version of a secret.

A secret that is pending deletion answers 404, as a missing one: OCI documents that it is inaccessible at once, and
https://github.com/external-secrets/external-secrets/issues/6771 reports the status.
"""

from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.credentials import VAULT
from oci_emulator.errors import InvalidParameterError, ResourceNotFoundError
from oci_emulator.messages import OciRequest, document
from oci_emulator.store import Resource
from oci_emulator.vault.secrets import KIND, Secrets
from oci_emulator.vault.versions import Versions

_STAGES = ("CURRENT", "PENDING", "LATEST", "PREVIOUS", "DEPRECATED")


@dataclass(frozen=True)
class Bundles:
    """Reads the secrets' contents."""

    secrets: Secrets

    def get(self, request: OciRequest) -> Response:
        """Answer GetSecretBundle."""
        secret = self.secrets.catalog.find(KIND, request, "secretId")
        return _bundle(request, secret)

    def get_by_name(self, request: OciRequest) -> Response:
        """Answer GetSecretBundleByName."""
        name, vault = request.required_query("secretName"), request.required_query("vaultId")
        secret = self.secrets.named(name) if vault == VAULT else None
        if secret is None:
            raise ResourceNotFoundError(f"secret {name} in vault {vault}")
        return _bundle(request, secret)


def _bundle(request: OciRequest, secret: Resource) -> Response:
    if secret.body["lifecycleState"] != "ACTIVE":
        raise ResourceNotFoundError(f"secret {secret.id}")
    stage, number = request.query.get("stage", "CURRENT"), request.query.get("versionNumber")
    if stage not in _STAGES:
        raise InvalidParameterError(f"stage is {stage!r}, not one of {', '.join(_STAGES)}.")
    if number is not None and not number.isdecimal():
        raise InvalidParameterError(f"versionNumber is {number!r}, not a number.")
    found = Versions.of(secret).find(
        number=None if number is None else int(number), name=request.query.get("secretVersionName"), stage=stage
    )
    if found is None:
        raise ResourceNotFoundError(f"the requested version of secret {secret.id}")
    number_found, version, stages = found
    shown = {
        "secretId": secret.id,
        "timeCreated": version.created,
        "versionNumber": number_found,
        "versionName": version.name,
        "secretBundleContent": {"contentType": "BASE64", "content": version.content},
        "stages": stages,
        "metadata": secret.body.get("metadata"),
    }
    return document(shown, secret)
