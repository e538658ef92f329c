"""The endpoints of Vault (management of secrets) and of Secret Retrieval."""

from dataclasses import dataclass

from oci_emulator.messages import Endpoint, Plain
from oci_emulator.vault.bundles import Bundles
from oci_emulator.vault.secrets import Secrets


@dataclass(frozen=True)
class Vault:
    """The service that manages secrets."""

    secrets: Secrets

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {
            "CreateSecret": Plain(self.secrets.create),
            "GetSecret": Plain(self.secrets.get),
            "ListSecrets": Plain(self.secrets.list_all),
            "UpdateSecret": Plain(self.secrets.update),
            "ScheduleSecretDeletion": Plain(self.secrets.schedule_deletion),
            "CancelSecretDeletion": Plain(self.secrets.cancel_deletion),
        }


@dataclass(frozen=True)
class SecretRetrieval:
    """The service that reads secrets."""

    bundles: Bundles

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {
            "GetSecretBundle": Plain(self.bundles.get),
            "GetSecretBundleByName": Plain(self.bundles.get_by_name),
        }
