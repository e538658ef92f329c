"""The base of sections, and the types of single settings with their bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not true or false")
    return value


def _refuse_other_than_numbers(value: object) -> object:
    """Refuse text and true or false anywhere in the bounds of a gate."""
    for part in value.values() if isinstance(value, dict) else ():
        _refuse_other_than_numbers(part)
    if isinstance(value, str):
        raise ValueError(f"{value!r} is text: write a number without quotes")
    return _refuse_bool(value)


NUMBER = BeforeValidator(_refuse_bool)  # must come after Field, or the JSON schema loses the bounds
BOUNDS = BeforeValidator(_refuse_other_than_numbers)
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NUMBER]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Ocid = Annotated[str, Field(pattern=r"^ocid1\.[a-z0-9]+\.")]
LimitName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,98}$")]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False), NUMBER]
Days = Annotated[float, Field(ge=0, le=100 * 365, allow_inf_nan=False), NUMBER]
Price = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False), NUMBER]
Instances = Annotated[int, Field(ge=1, le=100), NUMBER]
Percent = Annotated[int, Field(ge=1, le=99), NUMBER]
Requests = Annotated[int, Field(gt=0, le=100_000), NUMBER]


class Section(BaseModel):
    """A section of the file: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)
