"""Which operation of Resource Search is answered by what."""

from dataclasses import dataclass

from oci_emulator.messages import Endpoint, Plain
from oci_emulator.resource_search.searches import Searches


@dataclass(frozen=True)
class ResourceSearch:
    """The service."""

    searches: Searches

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoint of each operation that is emulated."""
        return {"SearchResources": Plain(self.searches.search)}
