"""Make SDK clients with our retry rules from a connection's fields."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.oci_clients.calls import calling
from recdeploy_ops.oci_clients.signing import identify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AUTHS = ("api_key", "resource_principal", "instance_principal", "workload_identity", "security_token")
KEY_FIELDS = ("tenancy", "user", "fingerprint")
TIMEOUTS = (10, 60)  # seconds to connect, and between two bytes of an answer
ATTEMPTS = 4
SECRET_SECONDS = 20  # Airflow looks secrets up in every process, also while it renders a page
IN_AIRFLOW = Remedy("Add it to its extra in Airflow (Admin > Connections) or in its AIRFLOW_CONN_... variable")


@dataclass(frozen=True)
class OciProfile:
    """How to reach OCI: the content of an Airflow connection of type ``oci``.

    Attributes:
        auth: one of `AUTHS`.
        region: e.g. ``us-ashburn-1``; None if the principal knows it.
        compartment_id: OCID of the compartment of models and deployments; of the secrets, if the profile is a vault's.
        project_id: OCID of the Data Science project; empty in a vault's profile.
        key: ``tenancy``, ``user``, ``fingerprint``, ``key_file`` or ``key_content``, ``pass_phrase``,
            ``security_token_file``: those that the kind of authentication needs.
        service_endpoint: base URL that replaces OCI's own, for the emulator.
        source: where the fields come from, for messages.
    """

    auth: str
    region: str | None
    compartment_id: str
    project_id: str
    key: Mapping[str, str] = field(repr=False)
    service_endpoint: str | None = None
    source: str = "the OCI connection"

    @classmethod
    def from_fields(
        cls,
        fields: Mapping[str, Any],
        *,
        source: str,
        remedy: Remedy = IN_AIRFLOW,
        needed: Sequence[str] = ("compartment_id", "project_id"),
    ) -> OciProfile:
        """Validate the fields of a connection's extra.

        Args:
            fields: by name.
            source: where they come from, for messages.
            remedy: where a missing one is added.
            needed: the fields that must be there with every kind of authentication.

        Raises:
            SettingsError: a field is missing or unusable; names it and the connection.
        """
        auth = fields.get("auth") or "api_key"
        if auth not in AUTHS:
            raise SettingsError(f"{source}: 'auth' must be one of {', '.join(AUTHS)}.")
        of_auth = {
            "api_key": ("region", *KEY_FIELDS),
            "security_token": ("region", "security_token_file", "key_file"),
        }
        missing = [name for name in (*needed, *of_auth.get(auth, ())) if not fields.get(name)]
        if auth == "api_key" and not (fields.get("key_file") or fields.get("key_content")):
            missing.append("key_file (or key_content)")
        if missing:
            raise SettingsError(f"{source} lacks {', '.join(missing)}; auth {auth!r} needs it.", remedy)
        key_names = (*KEY_FIELDS, "key_file", "key_content", "pass_phrase", "security_token_file")
        return cls(
            auth=auth,
            region=fields.get("region"),
            compartment_id=fields.get("compartment_id") or "",
            project_id=fields.get("project_id") or "",
            key={name: fields[name] for name in key_names if fields.get(name)},
            service_endpoint=fields.get("service_endpoint") or None,
            source=source,
        )


class OciSession:
    """SDK clients for one profile.

    Args:
        profile: how to reach OCI.
    """

    def __init__(self, profile: OciProfile) -> None:
        self.profile = profile

    @cached_property
    def data_science(self) -> Any:
        """Return the Data Science client: models, deployments, work requests."""
        import oci.data_science

        return self._client(oci.data_science.DataScienceClient, "data_science")

    @cached_property
    def object_storage(self) -> Any:
        """Return the Object Storage client."""
        import oci.object_storage

        return self._client(oci.object_storage.ObjectStorageClient, "object_storage")

    @cached_property
    def logging(self) -> Any:
        """Return the client of Logging: log groups and logs, not their entries."""
        import oci.logging

        return self._client(oci.logging.LoggingManagementClient, "logging")

    @cached_property
    def limits(self) -> Any:
        """Return the client of service limits and quotas."""
        import oci.limits

        return self._client(oci.limits.LimitsClient, "limits")

    @cached_property
    def identity(self) -> Any:
        """Return the client of Identity: the tags that a compartment requires."""
        import oci.identity

        return self._client(oci.identity.IdentityClient, "identity")

    def project_name(self) -> str:
        """Return the name of the profile's Data Science project, as a proof that OCI answers.

        Raises:
            CloudRefusedError: wrong credentials, or the project does not exist or may not be read.
            CloudUnavailableError: OCI does not answer.
            SettingsError: the credentials cannot be used.
        """
        with calling(f"read the project {self.profile.project_id}"):
            return str(self.data_science.get_project(self.profile.project_id).data.display_name)

    @cached_property
    def secrets(self) -> Any:
        """Return the client that reads secrets of OCI Vault."""
        import oci.secrets

        return self._client(oci.secrets.SecretsClient, "secrets", retry_strategy=retry_strategy(SECRET_SECONDS))

    @cached_property
    def vaults(self) -> Any:
        """Return the client that lists secrets of OCI Vault."""
        import oci.vault

        return self._client(oci.vault.VaultsClient, "vaults", retry_strategy=retry_strategy(SECRET_SECONDS))

    def monitoring(self, *, posts: bool) -> Any:
        """Return a Monitoring client; one that posts metrics has OCI's endpoint for that."""
        import oci.monitoring

        client = self._client(oci.monitoring.MonitoringClient, f"monitoring-{posts}")
        if posts:
            base = client.base_client
            base.endpoint = base.endpoint.replace("://telemetry.", "://telemetry-ingestion.", 1)
        return client

    @cached_property
    def notifications(self) -> Any:
        """Return the client that publishes messages; it does not repeat them, as nothing tells a second one apart."""
        import oci.ons
        import oci.retry

        client = oci.ons.NotificationDataPlaneClient
        return self._client(client, "notifications", retry_strategy=oci.retry.NoneRetryStrategy())

    def predictions(self, base_url: str, *, timeout_seconds: float) -> Any:
        """Return a client for deployed models, without retries and breaker: probes must see every failure.

        Args:
            base_url: a deployment's URL without its OCID.
            timeout_seconds: longest time to wait for an answer.
        """
        import oci.circuit_breaker
        import oci.model_deployment
        import oci.retry

        return self._client(
            oci.model_deployment.ModelDeploymentClient,
            "predictions",
            service_endpoint=base_url,
            timeout=(TIMEOUTS[0], timeout_seconds),
            retry_strategy=oci.retry.NoneRetryStrategy(),
            circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
        )

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return identify(self.profile)

    def _client(self, client_class: Any, name: str, **options: Any) -> Any:
        import oci.circuit_breaker

        defaults: dict[str, Any] = {
            "timeout": TIMEOUTS,
            "retry_strategy": retry_strategy(),
            # One breaker for each client: with the SDK's shared default, one failing service would stop all others.
            "circuit_breaker_strategy": oci.circuit_breaker.CircuitBreakerStrategy(name=f"{name}-{id(self)}"),
        }
        if self.profile.service_endpoint:
            defaults["service_endpoint"] = self.profile.service_endpoint
        return client_class(**self._identity, **{**defaults, **options})


def retry_token(*parts: str | int) -> str:
    """Return the same ``opc-retry-token`` for the same parts, so that a repeated request has no second effect."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def retry_strategy(total_seconds: float = 120) -> Any:
    """Return the strategy for all requests: each may be repeated, as every mutation has a retry token or an etag.

    No request is repeated after `total_seconds`. Unlike the SDK's default, it does not retry 409: an update that waits
    for another one would overwrite it.
    """
    import oci.retry

    return oci.retry.RetryStrategyBuilder(
        max_attempts_check=True,
        max_attempts=ATTEMPTS,
        total_elapsed_time_check=True,
        total_elapsed_time_seconds=total_seconds,
        service_error_check=True,
        service_error_retry_on_any_5xx=True,
        service_error_retry_config={429: []},
        retry_max_wait_between_calls_seconds=10,
        retry_base_sleep_time_seconds=1,
        backoff_type=oci.retry.BACKOFF_DECORRELATED_JITTER_VALUE,
    ).get_retry_strategy()
