"""What the region and the tenancy offer to a release: shapes, logs, service limits, and rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recdeploy_ops.oci_clients.calls import calling

if TYPE_CHECKING:
    from collections.abc import Collection

    from recdeploy_ops.oci_clients.sessions import OciSession

SERVICE = "data-science"  # the service's name in OCI's limits


class Tenancy:
    """The tenancy of a profile, read only. Every method may raise `CloudRefusedError` and `CloudUnavailableError`.

    Args:
        session: signs the requests.
    """

    def __init__(self, session: OciSession) -> None:
        self._session = session

    def shapes(self) -> Collection[str]:
        """Return the names of the shapes that a model deployment can have in the region."""
        import oci.pagination

        with calling("list the shapes of model deployments"):
            listed = oci.pagination.list_call_get_all_results(
                self._session.data_science.list_model_deployment_shapes, self._session.profile.compartment_id
            ).data
        return frozenset(shape.name for shape in listed)

    def check_work_requests(self) -> None:
        """List one work request, which needs the same right as reading any."""
        with calling(f"list the work requests in the compartment {self._session.profile.compartment_id}"):
            self._session.data_science.list_work_requests(self._session.profile.compartment_id, limit=1)

    def check_log_group(self, group_id: str) -> None:
        """Read a log group."""
        with calling(f"read the log group {group_id}"):
            self._session.logging.get_log_group(group_id)

    def check_log(self, group_id: str, log_id: str) -> None:
        """Read a log of a log group."""
        with calling(f"read the log {log_id} of the log group {group_id}"):
            self._session.logging.get_log(group_id, log_id)

    def required_tags(self) -> Collection[str]:
        """Return the keys of the defined tags for which each new resource of the compartment needs a value.

        Here OCI gives the names of the keys, but only the OCIDs of their namespaces.
        """
        with calling(f"read the tag defaults of the compartment {self._session.profile.compartment_id}"):
            listed = self._session.identity.assemble_effective_tag_set(self._session.profile.compartment_id).data
        return sorted(default.tag_definition_name for default in listed if default.is_required)

    def available(self, limit: str) -> int | None:
        """Return how much is left of a service limit of Data Science in the compartment; None if OCI does not say.

        Args:
            limit: its name, as the console shows it under Governance, Limits, Quotas and Usage.
        """
        with calling(f"read what is left of the service limit {limit}"):
            answer = self._session.limits.get_resource_availability(
                SERVICE, limit, self._session.profile.compartment_id
            ).data
        return None if answer.available is None else int(answer.available)
