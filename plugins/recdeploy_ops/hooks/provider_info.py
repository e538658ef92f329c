"""This project as a provider of Airflow: connections of type ``oci``, a notifier, and a secrets backend.

Airflow finds this through ``plugins/recdeploy-*.dist-info`` where PYTHONPATH names ``plugins/``, in every process:
nothing is imported here but the standard library.
"""

from __future__ import annotations

from typing import Any

AUTHS = ["api_key", "resource_principal", "instance_principal", "workload_identity", "security_token"]
HIDDEN_FIELDS = ["host", "port", "schema", "login", "password"]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in Airflow's form (``airflow/provider_info.schema.json``)."""
    return {
        "package-name": "recdeploy",
        "name": "Recommender on OCI",
        "description": "Connections of type oci, messages to OCI Notifications, and secrets from OCI Vault.",
        "connection-types": [
            {
                "connection-type": "oci",
                "hook-class-name": "recdeploy_ops.hooks.oci.OciHook",
                "hook-name": "Oracle Cloud Infrastructure",
                "ui-field-behaviour": {"hidden-fields": HIDDEN_FIELDS, "relabeling": {}, "placeholders": {}},
                "conn-fields": _fields(),
            }
        ],
        "notifications": ["recdeploy_ops.notifications.topics.OciNotifier"],
        "secrets-backends": ["recdeploy_ops.vault.backends.OciVaultBackend"],
    }


def _fields() -> dict[str, Any]:
    """Return the fields of the connection's extra, in the order of the form."""
    needed, key = {"type": "string"}, "For api_key"
    return {
        "auth": _field("Authentication", "How requests are signed.", {**needed, "enum": AUTHS, "default": "api_key"}),
        "region": _field("Region", "If the principal does not know it, e.g. eu-frankfurt-1."),
        "compartment_id": _field("Compartment", "OCID of the compartment of models and deployments.", needed),
        "project_id": _field("Project", "OCID of the Data Science project.", needed),
        "tenancy": _field("Tenancy", f"{key}: its OCID."),
        "user": _field("User", f"{key}: the user's OCID."),
        "fingerprint": _field("Fingerprint", f"{key}: that of the key."),
        "key_file": _field("Key file", f"{key} and security_token: path of the private key on every worker."),
        "key_content": _field(
            "Key", f"{key}, instead of a file: the private key in PEM.", _optional(format="password")
        ),
        "pass_phrase": _field("Pass phrase", "Of the key, if it has one.", _optional(format="password")),
        "security_token_file": _field("Token file", "For security_token: path of the token on every worker."),
        "service_endpoint": _field("Endpoint", "Replaces OCI's own, for the emulator: leave it empty."),
    }


def _field(label: str, description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": schema or _optional()}


def _optional(**details: str) -> dict[str, Any]:
    return {"type": ["string", "null"], **details}
