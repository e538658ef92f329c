"""Neighbours: resources of other teams in the same project, of any kind that OCI has, listed and read, never changed.

They are stored documents: nothing serves them, and nothing here reads their configuration.
"""

from dataclasses import dataclass

from oci_emulator.data_science.catalog import DEPLOYMENT, MODEL, NEIGHBOURS
from oci_emulator.errors import InvalidParameterError
from oci_emulator.store import Json, Resource, Store
from oci_emulator.tenancies import Tenancy, new_ocid, timestamp

_KINDS = {"models": MODEL, "modelDeployments": DEPLOYMENT}


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of the tenancy."""

    store: Store
    tenancy: Tenancy

    def add(self, collection: str, document: Json) -> str:
        """Store a document and return its OCID; add the id, time and lifecycle state if it lacks them.

        Args:
            collection: `models` or `modelDeployments`, as in OCI's paths.
            document: the resource as OCI would show it.

        Raises:
            InvalidParameterError: no such collection exists, or the document lacks its compartment or project.
        """
        kind = _KINDS.get(collection)
        if kind is None:
            raise InvalidParameterError(f"{collection!r} is not one of {', '.join(_KINDS)}.")
        missing = [name for name in ("compartmentId", "projectId") if not document.get(name)]
        if missing:
            raise InvalidParameterError(f"The document lacks {' and '.join(missing)}.")
        self.tenancy.check_compartment(document["compartmentId"])
        identifier = document.get("id") or new_ocid(kind)
        shown = {"timeCreated": timestamp(), "lifecycleState": "ACTIVE", **document, "id": identifier}
        self.store.save(Resource(NEIGHBOURS[kind], identifier, shown))
        return str(identifier)
