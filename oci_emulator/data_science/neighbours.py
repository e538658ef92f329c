"""Resources of other teams in the same project, in whatever form OCI has for them: listed and read, never changed.

They are documents as they were given: nothing serves them, and nothing here understands their configuration.
"""

from dataclasses import dataclass

from oci_emulator.data_science.catalog import DEPLOYMENT, MODEL, NEIGHBOURS
from oci_emulator.errors import InvalidParameterError
from oci_emulator.store import Json, Resource, Store
from oci_emulator.tenancies import Tenancy, new_ocid, timestamp

_PLACES = {"models": MODEL, "modelDeployments": DEPLOYMENT}


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of the tenancy."""

    store: Store
    tenancy: Tenancy

    def add(self, collection: str, document: Json) -> str:
        """Keep a document and return its OCID; what every resource of OCI has is completed where it is not given.

        Args:
            collection: `models` or `modelDeployments`, as in the paths of OCI.
            document: the resource as OCI would show it.

        Raises:
            InvalidParameterError: no such collection exists, or the document lacks its compartment or project.
        """
        kind = _PLACES.get(collection)
        if kind is None:
            raise InvalidParameterError(f"{collection!r} is not one of {', '.join(_PLACES)}.")
        missing = [name for name in ("compartmentId", "projectId") if not document.get(name)]
        if missing:
            raise InvalidParameterError(f"The document lacks {' and '.join(missing)}.")
        self.tenancy.check_compartment(document["compartmentId"])
        identifier = document.get("id") or new_ocid(kind)
        shown = {"timeCreated": timestamp(), "lifecycleState": "ACTIVE", **document, "id": identifier}
        self.store.save(Resource(NEIGHBOURS[kind], identifier, shown))
        return str(identifier)
