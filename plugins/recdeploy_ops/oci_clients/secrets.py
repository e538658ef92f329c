"""Read secrets of OCI Vault by name, and say why one cannot be read. No message quotes a secret's content."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import CloudRefusedError, SourceDataError
from recdeploy_ops.domain.remedies import GrantPolicy
from recdeploy_ops.oci_clients.calls import calling

if TYPE_CHECKING:
    from recdeploy_ops.oci_clients.sessions import OciSession

# oci.vault.models.CreateSecretDetails.secret_name; longer names are refused.
SECRET_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
UNAUTHORIZED, NOT_FOUND = 401, 404
CREDENTIALS = GrantPolicy("Check the credentials of the secrets backend, and this machine's clock")

log = logging.getLogger(__name__)


class VaultSecrets:
    """The secrets of one vault.

    OCI answers 404 both for a secret that does not exist and for one that the caller may not read. With a compartment,
    `read` asks the list of secrets, which tells them apart; without one, both count as absent.

    Args:
        session: signs the requests; its compartment, if it has one, is the secrets'.
        vault_id: OCID of the vault.
    """

    def __init__(self, session: OciSession, vault_id: str) -> None:
        self._session = session
        self._vault_id = vault_id
        self._has_explained = False

    def read(self, name: str) -> str | None:
        """Return the text of a secret's CURRENT version; None if it does not exist or is being deleted.

        Args:
            name: as OCI allows it; another name is not looked up and counts as absent.

        Raises:
            CloudRefusedError: it exists, but may not be read, or the credentials are wrong.
            CloudUnavailableError: OCI did not answer, or answered 429 or 5xx.
            SourceDataError: its content is not UTF-8 text.
            SettingsError: the credentials cannot be used.
        """
        if not SECRET_NAME.fullmatch(name):
            log.info("%r is not a name that a secret of OCI Vault can have; it is not looked up there.", name)
            return None
        try:
            with calling(f"read the secret {name!r} of {self._vault_id}"):
                bundle = self._session.secrets.get_secret_bundle_by_name(name, self._vault_id).data
        except CloudRefusedError as err:
            if err.status == UNAUTHORIZED:
                raise CloudRefusedError(err.message, CREDENTIALS, status=err.status, code=err.code) from err
            if err.status != NOT_FOUND:
                raise
            self._check_is_absent(name)
            return None
        return _text(name, bundle.secret_bundle_content.content)

    def _check_is_absent(self, name: str) -> None:
        """Raise CloudRefusedError if a secret that was not found exists; log what else may be the reason."""
        compartment = self._session.profile.compartment_id
        if not compartment:
            self._explain(
                "OCI found no secret %r in %s, or this principal may not read it: the answer is the same. With the "
                "secrets' compartment_id it can be told apart.",
                name,
                self._vault_id,
            )
            return
        try:
            states = self._states(name=name)
            is_visible = bool(states) or self._has_explained or bool(self._states(limit=1))
        except CloudRefusedError as err:
            if err.status != NOT_FOUND:
                raise
            is_visible, states = False, []
        if "ACTIVE" in states:
            raise CloudRefusedError(
                f"The secret {name!r} exists in {self._vault_id}, but its content may not be read.",
                GrantPolicy(f"Allow its principal 'to read secret-bundles in compartment id {compartment}'"),
                status=NOT_FOUND,
                code="NotAuthorizedOrNotFound",
            )
        if states:
            log.warning("The secret %r is %s: it counts as absent.", name, ", ".join(states))
        elif not is_visible:
            self._explain(
                "OCI shows no secret of %s in the compartment %s. Check the OCIDs of both, and allow the principal 'to "
                "inspect secrets' and 'to read secret-bundles' there.",
                self._vault_id,
                compartment,
            )

    def _states(self, **options: Any) -> list[str]:
        """Return the lifecycle states of the secrets that are listed."""
        with calling(f"list the secrets of {self._vault_id}"):
            compartment = self._session.profile.compartment_id
            listed = self._session.vaults.list_secrets(compartment, vault_id=self._vault_id, **options).data
        return [secret.lifecycle_state for secret in listed]

    def _explain(self, message: str, *values: str) -> None:
        """Log the reason once: Airflow looks each connection up here first, also those that are defined elsewhere."""
        if not self._has_explained:
            log.warning(message, *values)
            self._has_explained = True


def _text(name: str, content: str) -> str:
    with suppress(binascii.Error, ValueError):  # their messages and contexts would quote the content
        return base64.b64decode(content, validate=True).decode("utf-8")
    raise SourceDataError(f"The content of the secret {name!r} is not text in UTF-8.")
