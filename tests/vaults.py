"""Secrets in the emulator's vault, put there with the SDK's own client."""

import base64
from typing import Any

from oci.vault.models import Base64SecretContentDetails, CreateSecretDetails, UpdateSecretDetails

from oci_emulator.credentials import COMPARTMENT, KEY, VAULT


def content(text: str | bytes, **details: Any) -> Any:
    """Return the content of a secret version."""
    data = text if isinstance(text, bytes) else text.encode()
    return Base64SecretContentDetails(content=base64.b64encode(data).decode(), **details)


def secret_details(name: str, text: str | bytes = "opensesame", **details: Any) -> Any:
    """Return the details of a new secret."""
    values = {
        "compartment_id": COMPARTMENT,
        "vault_id": VAULT,
        "key_id": KEY,
        "secret_name": name,
        "secret_content": content(text),
        **details,
    }
    return CreateSecretDetails(**values)


def put_secret(client: Any, name: str, text: str | bytes = "opensesame", **details: Any) -> str:
    """Create a secret with a `VaultsClient`; return its OCID."""
    return str(client.create_secret(secret_details(name, text, **details)).data.id)


def replace_content(client: Any, secret: str, text: str | bytes, **details: Any) -> None:
    """Add a version to a secret."""
    client.update_secret(secret, UpdateSecretDetails(secret_content=content(text, **details)))
