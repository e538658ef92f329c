"""The versions of a secret, and their rotation states.

The rules are those of the SDK's `oci.vault.models.SecretVersion.stages`.
"""

from dataclasses import asdict, dataclass
from typing import Any

from oci_emulator.errors import InvalidParameterError
from oci_emulator.store import Json, Resource


@dataclass(frozen=True)
class Version:
    """One version: its content in base64, and whether it is marked PENDING."""

    content: str
    name: str | None
    is_pending: bool
    created: str


@dataclass(frozen=True)
class Versions:
    """The versions in a secret's private document, numbered from 1; changes are made in that document."""

    stored: Json

    @classmethod
    def of(cls, secret: Resource) -> "Versions":
        """Return the versions of this secret."""
        if not secret.private:
            secret.private = {"versions": [], "current": None, "previous": None}
        return cls(secret.private)

    @property
    def current(self) -> int:
        """Return the number of the CURRENT version."""
        return int(self.stored["current"])

    def add(self, version: Version) -> None:
        """Add a version, which becomes CURRENT unless it is PENDING. Raises InvalidParameterError for a used name."""
        stored: list[Json] = self.stored["versions"]
        if version.name and any(item["name"] == version.name for item in stored):
            raise InvalidParameterError(f"The secret has a version with the name {version.name} already.")
        stored.append(asdict(version))
        if not version.is_pending:
            self.make_current(len(stored))

    def make_current(self, number: object) -> None:
        """Mark a version CURRENT, and the one before PREVIOUS. Raises InvalidParameterError for an unknown number."""
        if not isinstance(number, int) or number not in range(1, len(self.stored["versions"]) + 1):
            raise InvalidParameterError(f"The secret has no version {number!r}.")
        if number != self.stored["current"]:
            self.stored.update({"current": number, "previous": self.stored["current"]})
        self.stored["versions"][number - 1]["is_pending"] = False

    def find(self, *, number: int | None, name: str | None, stage: str) -> tuple[int, Version, list[str]] | None:
        """Return number, version and stages of the newest match, or None; `stage` counts without number and name."""
        for found in range(len(self.stored["versions"]), 0, -1):
            version, stages = Version(**self.stored["versions"][found - 1]), self._stages(found)
            by_stage = number is None and name is None and stage in stages
            if by_stage or found == number or (number is None and name is not None and version.name == name):
                return found, version, stages
        return None

    def _stages(self, number: int) -> list[str]:
        stored: dict[str, Any] = self.stored
        marks = {
            "CURRENT": number == stored["current"],
            "PENDING": stored["versions"][number - 1]["is_pending"],
            "PREVIOUS": number == stored["previous"],
        }
        stages = [stage for stage, is_marked in marks.items() if is_marked] or ["DEPRECATED"]
        return [*stages, "LATEST"] if number == len(stored["versions"]) else stages
