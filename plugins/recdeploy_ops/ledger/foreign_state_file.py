"""Read a ``deployment_state.json`` that another deployment manager wrote: what it calls production, and what else."""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import KeyNotFoundError
from recdeploy_ops.storage.keys import STATE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from recdeploy_ops.storage.stores import Store

DEPLOYMENT = re.compile(r"ocid1\.datasciencemodeldeployment\.[A-Za-z0-9._-]*[A-Za-z0-9]")
MODEL = re.compile(r"ocid1\.datasciencemodel\.[A-Za-z0-9._-]*[A-Za-z0-9]")
HIGHEST_NUMBER = 10**6  # a higher one, such as a time, is not the number of a version
CURRENT, PRODUCTION, TEST = "current_version", "production_deployment", "test_deployment"
NUMBERS = ("version", "model_version")


@dataclass(frozen=True)
class ForeignStateFile:
    """A ``deployment_state.json`` that another deployment manager, or another project, wrote.

    Attributes:
        uri: of the file.
        content: its text.
        state: its JSON object; empty if it does not have one.
    """

    uri: str
    content: str
    state: Mapping[str, Any]

    @property
    def deployment_ids(self) -> tuple[str, ...]:
        """Return the OCIDs of the deployments that it names, in the file's order."""
        return tuple(dict.fromkeys(DEPLOYMENT.findall(self.content)))

    @property
    def production_ids(self) -> tuple[str, ...]:
        """Return the OCIDs of what it calls the production deployment."""
        return tuple(_named(DEPLOYMENT, self.state.get(PRODUCTION)))

    @property
    def test_deployment_ids(self) -> tuple[str, ...]:
        """Return the OCIDs of what it calls the test deployment."""
        return tuple(_named(DEPLOYMENT, self.state.get(TEST)))

    @property
    def highest_number(self) -> int:
        """Return the highest version number in it; 0 without any."""
        numbers = [_number(entry, name) for entry in _entries(self.state) for name in (CURRENT, *NUMBERS)]
        return max(filter(None, numbers), default=0)

    def number_of(self, deployment_id: str, model_id: str) -> int | None:
        """Return the number that it gives to what production, which serves a model, is; None if it does not say.

        An entry that names the model decides; else the current version, unless the file says that this deployment
        serves another model: then somebody switched it since.
        """
        production = self.state.get(PRODUCTION)
        for entry in [production, *_entries(self.state)]:
            if isinstance(entry, dict) and model_id in entry.values():
                number = _number_in(entry) or (_number(self.state, CURRENT) if entry is production else None)
                if number:
                    return number
        if deployment_id in _named(DEPLOYMENT, production) and _named(MODEL, production):
            return None
        return _number_in(production) or _number(self.state, CURRENT)


def find_foreign_state_file(store: Store, project: str) -> ForeignStateFile | None:
    """Return the state file if this project has not written it; None if it has, or if there is none.

    Args:
        store: the storage root.
        project: the name of this project.
    """
    try:
        content = store.read(STATE_FILE)
    except KeyNotFoundError:
        return None
    state = _parse(content)
    if state.get("project") == project:
        return None
    return ForeignStateFile(f"{store.uri}/{STATE_FILE}", content.decode("utf-8", errors="replace"), state)


def _parse(content: bytes) -> dict[str, Any]:
    try:
        state = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def _values(value: Any) -> Iterator[Any]:
    """Yield a JSON value and every value in it, the outer before the inner, however deep they are."""
    waiting = deque([value])
    while waiting:
        value = waiting.popleft()
        yield value
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    return (inner for inner in _values(value) if isinstance(inner, dict))


def _named(pattern: re.Pattern[str], value: Any) -> list[str]:
    """Return the OCIDs in the texts of a JSON value."""
    return [found for inner in _values(value) if isinstance(inner, str) for found in pattern.findall(inner)]


def _number_in(entry: Any) -> int | None:
    numbers = (_number(entry, name) for name in NUMBERS) if isinstance(entry, dict) else ()
    return next(filter(None, numbers), None)


def _number(entry: Mapping[str, Any], name: str) -> int | None:
    """Return a field as a version number, also from a text such as ``v2``; None if it is not one."""
    value = entry.get(name)
    if isinstance(value, str) and re.fullmatch(r"[vV]?[0-9]{1,6}", value):
        value = int(value.lstrip("vV"))
    return value if type(value) is int and 0 < value <= HIGHEST_NUMBER else None
