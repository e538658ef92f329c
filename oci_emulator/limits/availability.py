"""How much of each service limit is left, as the control plane has set it. Creations are not counted against it."""

from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.errors import ResourceNotFoundError
from oci_emulator.messages import OciRequest, document
from oci_emulator.offers import Offers
from oci_emulator.tenancies import Tenancy


@dataclass(frozen=True)
class Availability:
    """The service limits of the tenancy."""

    offers: Offers
    tenancy: Tenancy

    def get(self, request: OciRequest) -> Response:
        """Answer GetResourceAvailability; 404 for a limit of which OCI does not tell."""
        self.tenancy.check_compartment(request.required_query("compartmentId"))
        name = f"{request.path['serviceName']}/{request.path['limitName']}"
        if name not in self.offers.limits:
            raise ResourceNotFoundError(f"limit {name}")
        return document({"available": self.offers.limits[name], "used": 0})
