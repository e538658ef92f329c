"""The shop that a demo trains on: generated or the user's own files, and when it grows or is replaced."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from demo.calendars import Calendar
from demo.errors import DemoError
from demo.homes import SQL, read_timestamp_column, read_users_query, write_queries, write_settings
from demo.load import Loaded, load_store
from demo.store import generate_store, returns_column
from simulation.damages import DAMAGES
from simulation.generated import WEEKS

if TYPE_CHECKING:
    from datetime import date

    from demo.console import Console
    from demo.homes import Home
    from demo.options import Options

GENERATED = "generated"
SEGMENT = "segment"  # a column of a generated store's users


@dataclass(frozen=True)
class Origin:
    """Where the present store came from.

    Attributes:
        data: the folder, or `GENERATED`.
        columns: names given for the columns, by what they hold.
        has_timestamps: whether the interactions have timestamps.
        calendar: of a generated store; None for a folder, and for a store of an earlier version, which does not grow.
    """

    data: str
    columns: dict[str, str | None]
    has_timestamps: bool
    calendar: Calendar | None = None


class Shop:
    """The store of one demo folder.

    Args:
        home: the folder.
        options: which data is wanted, if any, and which damage.
        console: for progress.
        today: in UTC.
    """

    def __init__(self, home: Home, options: Options, console: Console, *, today: date) -> None:
        self._home = home
        self._options = options
        self._console = console
        self._today = today
        self._remembered = home.path / "run" / "shop.json"
        self._origin = self._recall()
        self._loaded: Loaded | None = None

    @property
    def is_other(self) -> bool:
        """Say whether the wanted data differs from the store's; without ``DATA`` any store will do."""
        if self._options.data is None or self._origin is None:
            return False
        return (self._origin.data, self._origin.columns) != (str(self._options.data), asdict(self._options.columns))

    @property
    def calendar(self) -> Calendar | None:
        """Return what the present store holds if it is a generated one."""
        return self._origin.calendar if self._origin else None

    @property
    def damage(self) -> str | None:
        """Return the name of the damage that is planted in the store."""
        return self.calendar.damage if self.calendar else None

    def prepare(self) -> None:
        """Read all of the wanted data before any service is started.

        Raises:
            DemoError: it cannot be used, or the store cannot have the wanted damage.
        """
        if self._options.damage and self._origin is not None and self._origin.calendar is None:
            origin = "an earlier version of the demo" if self._origin.data == GENERATED else self._origin.data
            raise DemoError(
                f"DAMAGE={self._options.damage} is for a generated store that grows, and the store in "
                f"{self._home.path} is from {origin}. Use another folder: make demo DEMO_HOME=.demo-2 "
                f"DAMAGE={self._options.damage}, or begin with another store: make clean"
            )
        if self._options.data is None:
            return
        column = read_timestamp_column()
        self._loaded = load_store(self._options.data, self._home.new_store, self._options.columns, column)
        self._console.step(f"read {self._options.data}: {self._loaded.columns_used}")

    def fill(self) -> None:
        """Fill the store with the wanted data unless it has some, and write the settings that match it."""
        if self._loaded is not None:
            self._home.new_store.replace(self._home.store)
            self._install(Origin(str(self._options.data), asdict(self._options.columns), self._loaded.has_timestamps))
            self._console.step(f"the store has {self._loaded.counts}  ({self._options.data})")
        elif self._origin is None:
            self._generate(Calendar.begin(self._today))
        else:
            if self._origin.calendar is None:
                self._console.step(
                    f"the present store is kept ({self._origin.data}); to generate a new one: make clean"
                )
            self._write_settings(self._origin)

    def grow(self) -> None:
        """Let a generated store live on for the next release, and plant the wanted damage in it.

        Only while no release can be reading the store.
        """
        calendar = self.calendar
        if calendar is None:
            return
        if calendar.is_released and not calendar.has_next_week(self._today):
            why = "has reached today" if calendar.week < WEEKS else "ends"
            self._console.step(
                f"the store has no week to add: its calendar {why} with week {calendar.week}, so this release gets no "
                "new orders; to begin another shop: make clean"
            )
        wanted = calendar.advance(self._today, self._options.damage)
        if wanted != replace(calendar, is_released=False):
            self._generate(wanted)

    def note_release(self) -> None:
        """Remember that a release of the present store was started."""
        if self._origin is not None and self._origin.calendar is not None:
            self._remember(replace(self._origin, calendar=replace(self._origin.calendar, is_released=True)))

    def _generate(self, calendar: Calendar) -> None:
        week, damage = calendar.week, calendar.damage
        counts = generate_store(self._home.store, first_day=calendar.beginning, weeks=week, damage=damage)
        self._install(Origin(GENERATED, asdict(self._options.columns), has_timestamps=True, calendar=calendar))
        self._console.step(f"the store has {counts}  ({GENERATED}: week {week}, orders before {calendar.day})")
        if damage:
            self._console.step(f"the store has the damage {damage}: {DAMAGES[damage].what}")

    def _install(self, origin: Origin) -> None:
        self._write_settings(origin)
        self._remember(origin)

    def _write_settings(self, origin: Origin) -> None:
        if origin.calendar is None:
            write_settings(self._home, has_timestamps=origin.has_timestamps)
            return
        has_segments = returns_column(self._home.store, read_users_query(), SEGMENT)
        write_settings(
            self._home,
            has_timestamps=origin.has_timestamps,
            lag_hours=origin.calendar.lag_hours(self._today),
            segment_column=SEGMENT,
            sql_folder=SQL if has_segments else write_queries(self._home, SEGMENT),
        )

    def _remember(self, origin: Origin) -> None:
        self._origin = origin
        self._remembered.parent.mkdir(parents=True, exist_ok=True)
        self._remembered.write_text(json.dumps(asdict(origin)), encoding="utf-8")

    def _recall(self) -> Origin | None:
        if not self._home.store.exists() or not self._remembered.exists():
            return None
        stored: dict[str, Any] = json.loads(self._remembered.read_text(encoding="utf-8"))
        calendar = stored.pop("calendar", None)
        return Origin(**stored, calendar=Calendar(**calendar) if calendar else None)
