"""The options of ``make demo NAME=value``, read from the environment that make passes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from demo.errors import DemoError
from demo.load import Columns
from simulation.damages import DAMAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

Decision: TypeAlias = Literal["promote", "reject"]


@dataclass(frozen=True)
class Options:
    """The validated options of one demo.

    Attributes:
        home: folder of everything that the demo creates, absolute.
        decision: how to answer the approval; None leaves it to a person.
        data: absolute folder of CSV files; None generates a store.
        columns: names of their columns.
        damage: the name of a damage to plant in the generated store; None for an honest one.
        keep: whether to leave everything running.
        emulator_port: port of the OCI emulator; None keeps or chooses one.
        airflow_port: port of Airflow; None keeps or chooses one.
        timeout_minutes: how long a release may go without a change of a task, not counting the wait for a person.
    """

    home: Path
    decision: Decision | None = None
    data: Path | None = None
    columns: Columns = field(default_factory=Columns)
    damage: str | None = None
    keep: bool = False
    emulator_port: int | None = None
    airflow_port: int | None = None
    timeout_minutes: float = 20


def read_options(environ: Mapping[str, str]) -> Options:
    """Read the options; an empty value counts as not given.

    Raises:
        DemoError: a value is invalid; the message says which are valid.
    """
    given = {name: value for name, value in environ.items() if value}
    if "DATA" in given and "DAMAGE" in given:
        raise DemoError(
            f"DAMAGE={given['DAMAGE']} is for the generated store only, and DATA={given['DATA']} replaces it. "
            "Leave one of them out."
        )
    return Options(
        home=Path(given.get("DEMO_HOME", ".demo")).expanduser().resolve(),
        decision=_decision(given.get("DECISION")),
        data=Path(given["DATA"]).expanduser().resolve() if "DATA" in given else None,
        columns=Columns(
            user=given.get("DATA_USER"),
            item=given.get("DATA_ITEM"),
            rating=given.get("DATA_RATING"),
            timestamp=given.get("DATA_TIMESTAMP"),
            title=given.get("DATA_TITLE"),
        ),
        damage=_damage(given.get("DAMAGE")),
        keep=_flag("KEEP", given.get("KEEP", "0")),
        emulator_port=_port("PORT", given.get("PORT")),
        airflow_port=_port("AIRFLOW_PORT", given.get("AIRFLOW_PORT")),
        timeout_minutes=_minutes(given.get("TIMEOUT", "20")),
    )


def _decision(text: str | None) -> Decision | None:
    if text is None:
        return None
    if text.lower() == "promote":
        return "promote"
    if text.lower() == "reject":
        return "reject"
    raise DemoError(f"DECISION={text} is neither promote nor reject. Leave it out to decide in Airflow's own page.")


def _damage(name: str | None) -> str | None:
    if name is None or name in DAMAGES:
        return name
    lines = [
        f"  {known:<18} {damage.what}{' (the gates may miss it)' if damage.is_missed else ''}"
        for known, damage in DAMAGES.items()
    ]
    raise DemoError("\n".join([f"DAMAGE={name} is not one of the damages that can be planted:", *lines]))


def _flag(name: str, text: str) -> bool:
    if text.lower() in {"1", "yes", "true"}:
        return True
    if text.lower() in {"0", "no", "false"}:
        return False
    raise DemoError(f"{name}={text} is neither 1 nor 0.")


def _port(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise DemoError(f"{name}={text} is not a port. Give a number from 1024 to 65535.")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0
    if not 0 < minutes <= 24 * 60:
        raise DemoError(f"TIMEOUT={text} is not a number of minutes above 0 and up to 1440.")
    return minutes
