"""The operations of OCI as data, and how a request is matched to one."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from urllib.parse import unquote

from oci_emulator.errors import MethodNotAllowedError, NotFoundError

DATA_SCIENCE = "Data Science"
IDENTITY = "Identity"
LIMITS = "Limits"
LOGGING = "Logging"
MODEL_DEPLOYMENT = "Model Deployment"
MONITORING = "Monitoring"
NOTIFICATIONS = "Notifications"
OBJECT_STORAGE = "Object Storage"
RESOURCE_SEARCH = "Resource Search"
VAULT = "Vault"
VAULT_BUNDLES = "Secret Retrieval"

# Parameters that may contain slashes; all others end at the next slash.
_GREEDY_PARAMETERS = frozenset({"objectName"})
_WILDCARD = ""
# Operations whose body clients stream: the signature covers neither the body nor its headers.
_STREAMED = frozenset(
    {
        "CreateJobArtifact",
        "CreateModelArtifact",
        "CreateModelCustomMetadatumArtifact",
        "CreateModelDefinedMetadatumArtifact",
        "CreateModelGroupArtifact",
        "CreateStepArtifact",
        "PutObject",
        "UpdateModelCustomMetadatumArtifact",
        "UpdateModelDefinedMetadatumArtifact",
        "UploadPart",
    }
)


@dataclass(frozen=True)
class Operation:
    """One operation of the real API: `GET /20190101/models/{modelId}` is `GetModel` of Data Science."""

    service: str
    name: str
    method: str
    path: str

    @property
    def streams_body(self) -> bool:
        """Return whether clients stream the body, and therefore do not sign it."""
        return self.name in _STREAMED

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path as a regular expression with a group for each parameter."""
        parts = re.split(r"\{(\w+)\}", self.path)
        for index, part in enumerate(parts):
            if index % 2:
                parts[index] = f"(?P<{part}>{'.+' if part in _GREEDY_PARAMETERS else '[^/]+'})"
            else:
                parts[index] = re.escape(part)
        return re.compile("".join(parts), re.DOTALL)


@dataclass(frozen=True)
class Match:
    """An operation, and the values of the parameters in its path."""

    operation: Operation
    parameters: Mapping[str, str]


def read_real_operations() -> tuple[Operation, ...]:
    """Read the table of all operations of OCI."""
    lines = files("oci_emulator").joinpath("real_operations.tsv").read_text(encoding="utf-8").splitlines()
    return tuple(Operation(*line.split("\t")) for line in lines[1:])


@dataclass(frozen=True)
class OperationTable:
    """Finds the operation for a method and a raw path."""

    operations: Iterable[Operation] = field(default_factory=read_real_operations)

    @cached_property
    def _groups(self) -> Mapping[str, list[Operation]]:
        groups: dict[str, list[Operation]] = defaultdict(list)
        # Fixed paths first, so that a parameter does not match their last word.
        for operation in sorted(self.operations, key=lambda operation: operation.path.count("{")):
            groups[_group(operation.path)].append(operation)
        return groups

    def match(self, method: str, raw_path: str) -> Match:
        """Return the operation at `raw_path` (percent-encoded, without query).

        Raises NotFoundError for an unknown path, MethodNotAllowedError for an unknown method of a known path.
        """
        candidates = self._candidates(raw_path) or self._candidates(raw_path.rstrip("/"))
        if not candidates:
            raise NotFoundError(f"OCI has no operation at {raw_path}.")
        for match in candidates:
            if match.operation.method == method:
                return match
        raise MethodNotAllowedError(f"{raw_path} does not support {method}.")

    def _candidates(self, raw_path: str) -> list[Match]:
        operations = self._groups.get(_group(raw_path)) or self._groups.get(_WILDCARD, [])
        matches = []
        for operation in operations:
            if hit := operation.pattern.fullmatch(raw_path):
                matches.append(Match(operation, {name: unquote(value) for name, value in hit.groupdict().items()}))
        return matches


def _group(path: str) -> str:
    """Return the start of a path that identifies a group of operations: version and collection, or first word."""
    parts = path.split("/")[1:]
    if not parts or parts[0].startswith("{"):
        return _WILDCARD
    return "/".join(parts[:2]) if parts[0].isdigit() else parts[0]
