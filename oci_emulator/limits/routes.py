"""The endpoints of Limits."""

from dataclasses import dataclass

from oci_emulator.limits.availability import Availability
from oci_emulator.messages import Endpoint, Plain


@dataclass(frozen=True)
class Limits:
    """The service."""

    availability: Availability

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {"GetResourceAvailability": Plain(self.availability.get)}
