"""How requests are signed: by a key, a session token, or what the machine is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import SettingsError

if TYPE_CHECKING:
    from recdeploy_ops.oci_clients.sessions import OciProfile


def identify(profile: OciProfile) -> dict[str, Any]:
    """Return the SDK's config and the signer of a profile.

    Raises:
        SettingsError: the credentials cannot be used.
    """
    try:
        return _by_key(profile) if profile.auth == "api_key" else _by_principal(profile)
    except (OSError, ValueError) as err:
        raise SettingsError(f"{profile.source}: cannot sign requests as {profile.auth}: {err}") from err


def _by_key(profile: OciProfile) -> dict[str, Any]:
    import oci.config
    import oci.exceptions
    import oci.signer

    key = profile.key
    config = {**key, "region": profile.region}
    try:
        oci.config.validate_config(config)
        signer = oci.signer.Signer(
            key["tenancy"],
            key["user"],
            key["fingerprint"],
            private_key_file_location=key.get("key_file"),
            pass_phrase=key.get("pass_phrase"),
            private_key_content=key.get("key_content"),
        )
    except oci.exceptions.InvalidConfig as err:
        raise SettingsError(f"{profile.source}: {err}") from err
    except (oci.exceptions.InvalidPrivateKey, oci.exceptions.MissingPrivateKeyPassphrase) as err:
        raise SettingsError(f"{profile.source}: the private key cannot be used: {err}") from err
    return {"config": config, "signer": signer}


def _by_principal(profile: OciProfile) -> dict[str, Any]:
    import oci.auth.signers as signers
    import oci.signer

    match profile.auth:
        case "resource_principal":
            signer = signers.get_resource_principals_signer()
        case "instance_principal":
            signer = signers.InstancePrincipalsSecurityTokenSigner()
        case "workload_identity":
            signer = signers.get_oke_workload_identity_resource_principal_signer()
        case _:
            token = Path(profile.key["security_token_file"]).expanduser().read_text(encoding="utf-8").strip()
            private_key = oci.signer.load_private_key_from_file(profile.key["key_file"])
            signer = signers.SecurityTokenSigner(token, private_key)
    return {"config": {"region": profile.region} if profile.region else {}, "signer": signer}
