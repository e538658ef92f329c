"""The shop that a demo trains on: generated or the user's own files, and when it is replaced."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from demo.homes import read_timestamp_column, write_settings
from demo.load import Loaded, load_store
from demo.store import generate_store

if TYPE_CHECKING:
    from demo.console import Console
    from demo.homes import Home
    from demo.options import Options

GENERATED = "generated"


@dataclass(frozen=True)
class Origin:
    """Where the present store came from.

    Attributes:
        data: the folder, or `GENERATED`.
        columns: names given for the columns, by what they hold.
        has_timestamps: whether the interactions have timestamps.
    """

    data: str
    columns: dict[str, str | None]
    has_timestamps: bool


class Shop:
    """The store of one demo folder.

    Args:
        home: the folder.
        options: which data is wanted, if any.
        console: for progress.
    """

    def __init__(self, home: Home, options: Options, console: Console) -> None:
        self._home = home
        self._options = options
        self._console = console
        self._remembered = home.path / "run" / "shop.json"
        self._origin = self._recall()
        self._loaded: Loaded | None = None

    @property
    def is_other(self) -> bool:
        """Say whether the wanted data differs from the store's; without ``DATA`` any store will do."""
        if self._options.data is None or self._origin is None:
            return False
        return (self._origin.data, self._origin.columns) != (str(self._options.data), asdict(self._options.columns))

    def prepare(self) -> None:
        """Read all of the wanted data before any service is started.

        Raises:
            DemoError: it cannot be used.
        """
        if self._options.data is None:
            return
        column = read_timestamp_column()
        self._loaded = load_store(self._options.data, self._home.new_store, self._options.columns, column)
        self._console.step(f"read {self._options.data}: {self._loaded.columns_used}")

    def fill(self, *, attached: bool) -> None:
        """Fill the store with the wanted data, and write the settings that match it.

        Args:
            attached: whether a release may be reading the store; then a generated one is not generated again.
        """
        if self._loaded is not None:
            self._home.new_store.replace(self._home.store)
            self._install(str(self._options.data), self._loaded)
        elif self._origin is not None and (attached or self._origin.data != GENERATED):
            self._console.step(f"the present store is kept ({self._origin.data}); to generate a new one: make clean")
            write_settings(self._home, has_timestamps=self._origin.has_timestamps)
        else:
            counts = generate_store(self._home.store, first_day=datetime.now(UTC).date())
            self._install(GENERATED, Loaded(counts, has_timestamps=True, columns_used=""))

    def _install(self, data: str, loaded: Loaded) -> None:
        self._console.step(f"the store has {loaded.counts}  ({data})")
        write_settings(self._home, has_timestamps=loaded.has_timestamps)
        self._origin = Origin(data, asdict(self._options.columns), loaded.has_timestamps)
        self._remembered.parent.mkdir(parents=True, exist_ok=True)
        self._remembered.write_text(json.dumps(asdict(self._origin)), encoding="utf-8")

    def _recall(self) -> Origin | None:
        if not self._home.store.exists() or not self._remembered.exists():
            return None
        stored: dict[str, Any] = json.loads(self._remembered.read_text(encoding="utf-8"))
        return Origin(**stored)
