"""The endpoints of Resource Search."""

from dataclasses import dataclass

from oci_emulator.messages import Endpoint, Plain
from oci_emulator.resource_search.searches import Searches


@dataclass(frozen=True)
class ResourceSearch:
    """The service."""

    searches: Searches

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {"SearchResources": Plain(self.searches.search)}
