"""What the region and the tenancy offer and require: set by the control plane, stored with the other state."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from oci_emulator.errors import InvalidParameterError
from oci_emulator.store import Json, Store

_SETTING = "offers"


@dataclass(frozen=True)
class Offers:
    """The present offers."""

    store: Store

    @property
    def withdrawn_shapes(self) -> Collection[str]:
        """The shapes that the region does not list."""
        names: list[str] = self._values().get("withdrawn_shapes") or []
        return names

    @property
    def limits(self) -> Mapping[str, int]:
        """What is left of a service limit, by `service/name`."""
        limits: dict[str, int] = self._values().get("limits") or {}
        return limits

    @property
    def required_tags(self) -> Collection[str]:
        """The defined tags that each new resource must have, as `namespace.key`."""
        names: list[str] = self._values().get("required_tags") or []
        return names

    def check_tags(self, body: Json) -> None:
        """Refuse a new resource without a required tag."""
        defined = body.get("definedTags") or {}
        for name in self.required_tags:
            namespace, key = name.split(".")
            if not (defined.get(namespace) or {}).get(key):
                raise InvalidParameterError(f"Failed to validate tags: the required tag {name} has no value.")

    def change(self, **values: object) -> None:
        """Replace the given offers; the others stay."""
        self.store.save_setting(_SETTING, {**self._values(), **values})

    def _values(self) -> Json:
        values: Json = self.store.setting(_SETTING) or {}
        return values
