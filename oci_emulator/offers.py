"""What the region and the tenancy offer and demand: set by the control plane, kept with the other state."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

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

    def change(self, **values: object) -> None:
        """Replace those of the offers that are given."""
        self.store.save_setting(_SETTING, {**self._values(), **values})

    def _values(self) -> Json:
        values: Json = self.store.setting(_SETTING) or {}
        return values
