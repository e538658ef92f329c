"""Make SDK clients with our retry rules from a profile."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from recdeploy_ops.oci_clients.calls import calling
from recdeploy_ops.oci_clients.signing import identify

if TYPE_CHECKING:
    from recdeploy_ops.oci_clients.profiles import OciProfile

TIMEOUTS = (10, 60)  # seconds to connect, and between two bytes of an answer
ATTEMPTS = 4
SECRET_SECONDS = 20  # Airflow looks secrets up in every process, also while it renders a page


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
