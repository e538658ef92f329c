"""How requests are signed: by a key, a session token, or what the machine is.

Keys and tokens in files are read again when they change; principals renew their tokens themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recdeploy_ops.oci_clients.profiles import OciProfile


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

    from recdeploy_ops.oci_clients.renewals import sign_by_key_file

    key = profile.key
    config = {**key, "region": profile.region}
    try:
        oci.config.validate_config(config)
        signer = _from_content(key) if key.get("key_content") else sign_by_key_file(key)
    except oci.exceptions.InvalidConfig as err:
        raise SettingsError(f"{profile.source}: {err}") from err
    except (oci.exceptions.InvalidPrivateKey, oci.exceptions.MissingPrivateKeyPassphrase) as err:
        raise SettingsError(f"{profile.source}: the private key cannot be used: {err}") from err
    return {"config": config, "signer": signer}


def _from_content(key: Mapping[str, str]) -> Any:
    import oci.signer

    return oci.signer.Signer(
        key["tenancy"],
        key["user"],
        key["fingerprint"],
        private_key_file_location=None,
        pass_phrase=key.get("pass_phrase"),
        private_key_content=key["key_content"],
    )


def _by_principal(profile: OciProfile) -> dict[str, Any]:
    import oci.auth.signers as signers

    from recdeploy_ops.oci_clients.renewals import sign_by_token

    match profile.auth:
        case "resource_principal":
            signer = signers.get_resource_principals_signer()
        case "instance_principal":
            signer = signers.InstancePrincipalsSecurityTokenSigner()
        case "workload_identity":
            signer = signers.get_oke_workload_identity_resource_principal_signer()
        case _:
            signer = sign_by_token(profile.key)
    return {"config": {"region": profile.region} if profile.region else {}, "signer": signer}
