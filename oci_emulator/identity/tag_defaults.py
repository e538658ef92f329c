"""The tag defaults of all compartments: the required tags that the control plane has set."""

from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.messages import OciRequest, document
from oci_emulator.offers import Offers
from oci_emulator.store import Json
from oci_emulator.tenancies import Tenancy, timestamp


@dataclass(frozen=True)
class TagDefaults:
    """The tag defaults of the tenancy."""

    offers: Offers
    tenancy: Tenancy

    def assemble(self, request: OciRequest) -> Response:
        """Answer AssembleEffectiveTagSet."""
        compartment = self.tenancy.check_compartment(request.required_query("compartmentId"))
        return document([self._shown(name, compartment) for name in self.offers.required_tags])

    def _shown(self, name: str, compartment: str) -> Json:
        namespace, key = name.split(".")
        return {
            "id": f"ocid1.tagdefault.oc1..{name.lower()}",
            "compartmentId": compartment,
            "tagNamespaceId": f"ocid1.tagnamespace.oc1..{namespace.lower()}",
            "tagDefinitionId": f"ocid1.tagdefinition.oc1..{name.lower()}",
            "tagDefinitionName": key,
            "value": "",
            "isRequired": True,
            "lifecycleState": "ACTIVE",
            "timeCreated": timestamp(),
        }
