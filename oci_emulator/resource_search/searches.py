"""SearchResources, for queries with equalities: `query <type> resources where field = 'value' && ...`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from oci_emulator.data_science.catalog import DEPLOYMENT, MODEL, PROJECT, VERSION_SET
from oci_emulator.data_science.configurations import CONFIGURATION, MODEL_PART
from oci_emulator.errors import NotImplementedByEmulatorError
from oci_emulator.listings import paginate
from oci_emulator.messages import OciRequest, document
from oci_emulator.store import Json, Resource, Store

_TYPES = {
    PROJECT: "DataScienceProject",
    MODEL: "DataScienceModel",
    VERSION_SET: "DataScienceModelVersionSet",
    DEPLOYMENT: "DataScienceModelDeployment",
}
_QUERY = re.compile(r"query\s+(\w+)\s+resources(?:\s+where\s+(.+))?", re.IGNORECASE | re.DOTALL)
_CONDITION = re.compile(r"\s*(\w+)\s*=\s*'([^']*)'\s*")
_SHOWN = ("compartmentId", "timeCreated", "displayName", "lifecycleState", "freeformTags", "definedTags")


@dataclass(frozen=True)
class Searches:
    """Finds the stored resources of Data Science."""

    store: Store

    def search(self, request: OciRequest) -> Response:
        """Answer SearchResources."""
        text = request.json().get("query")
        parsed = _QUERY.fullmatch(text.strip()) if isinstance(text, str) else None
        kinds = _kinds(parsed.group(1)) if parsed else []
        conditions = _conditions(parsed.group(2)) if parsed else None
        if not kinds or conditions is None:
            raise NotImplementedByEmulatorError(
                f"The search {text!r} is not emulated; use \"query {MODEL} resources where field = 'value' && ...\"."
            )
        resources = [resource for kind in kinds for resource in self.store.all_of(kind)]
        items = [_summary(resource) for resource in resources if _meets(resource, conditions)]
        page, token = paginate(items, request.query)
        return document({"items": page}, opc_next_page=token) if token else document({"items": page})


def _kinds(name: str) -> list[str]:
    return [kind for kind in _TYPES if name.lower() in (kind, "all")]


def _conditions(text: str | None) -> Mapping[str, str] | None:
    """Return the values by field name in lower case; None if the text is not a list of equalities."""
    matches = [_CONDITION.fullmatch(part) for part in text.split("&&")] if text else []
    if not all(matches):
        return None
    return {match.group(1).lower(): match.group(2) for match in matches if match}


def _meets(resource: Resource, conditions: Mapping[str, str]) -> bool:
    fields = {name.lower(): value for name, value in resource.body.items()}
    fields["identifier"] = resource.id
    if CONFIGURATION in resource.body:
        fields["modelid"] = resource.body[CONFIGURATION][MODEL_PART]["modelId"]
    return all(fields.get(name) == value for name, value in conditions.items())


def _summary(resource: Resource) -> Json:
    shown = {name: resource.body[name] for name in _SHOWN if name in resource.body}
    return {"resourceType": _TYPES[resource.kind], "identifier": resource.id, **shown}
