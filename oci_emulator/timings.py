"""The durations of the emulated transitions."""

from pydantic import BaseModel, ConfigDict, Field


class Timings(BaseModel):
    """The minimum duration of each transition of a model deployment, in seconds."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    create: float = Field(0.2, ge=0)
    update: float = Field(0.2, ge=0)
    delete: float = Field(0.2, ge=0)
    activate: float = Field(0.2, ge=0)
    deactivate: float = Field(0.2, ge=0)
