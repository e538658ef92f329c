"""The endpoints of Identity."""

from dataclasses import dataclass

from oci_emulator.identity.tag_defaults import TagDefaults
from oci_emulator.messages import Endpoint, Plain


@dataclass(frozen=True)
class Identity:
    """The service."""

    tag_defaults: TagDefaults

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints by operation."""
        return {"AssembleEffectiveTagSet": Plain(self.tag_defaults.assemble)}
