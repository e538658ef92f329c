"""``include/recommender.yaml`` as validated settings, with errors that name the setting."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from recdeploy_ops.domain.errors import SettingsError

SETTINGS_VARIABLE = "RECDEPLOY_SETTINGS"
DEFAULT_PATH = Path(__file__).parents[2] / "include" / "recommender.yaml"

Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Ocid = Annotated[str, Field(pattern=r"^ocid1\.[a-z0-9]+\.")]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ConnectionNames(Section):
    """Ids of the Airflow connections."""

    oci: str = "oci_default"
    database: str = "recommender_db"


class SourceSettings(Section):
    """What the three queries return, and how they are read."""

    sql_folder: Path = Path("sql")
    user_column: str = "user_id"
    item_column: str = "product_id"
    rating_column: str = "rating"
    timestamp_column: str | None = "ordered_at"
    title_column: str | None = "title"
    parameters: dict[str, str | int | float | None] = {}
    batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000


class TrainingSettings(Section):
    """How the ADS operator is run."""

    top_k: Annotated[int, Field(ge=1, le=1000)] = 10
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    engine: Literal["stock", "exact"] = "exact"
    refit: bool = False
    factors: Annotated[int, Field(ge=1, le=10_000)] = 100
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 20
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.005
    regularization: Annotated[float, Field(ge=0, le=10)] = 0.02
    timeout_minutes: PositiveFloat = 240

    @field_validator("refit")
    @classmethod
    def _check_refit(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("engine") == "stock":
            raise ValueError("the stock engine is never trained on all ratings; set training.engine to exact")
        return value


class CondaEnvironment(Section):
    """The conda environment that serves ``score.py``."""

    slug: str
    type: Literal["data_science", "published"]
    path: Annotated[str, Field(pattern=r"^oci://[^@/]+@[^/]+/.+")]
    python_version: Annotated[str, Field(pattern=r"^3\.\d+$")]


class ServingSettings(Section):
    """Size and environment of the model deployments."""

    conda_environment: CondaEnvironment
    instance_shape: Annotated[str, Field(pattern=r"^(VM|BM)\.[A-Za-z0-9.]+$")] = "VM.Standard.E4.Flex"
    ocpus: Annotated[float, Field(gt=0, le=114)] = 1
    memory_gb: Annotated[float, Field(gt=0, le=1760)] = 16
    instance_count: Annotated[int, Field(ge=1, le=100)] = 1
    bandwidth_mbps: Annotated[int, Field(ge=10, le=8000)] = 10
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    log_group_id: Ocid | None = None
    access_log_id: Ocid | None = None
    predict_log_id: Ocid | None = None


class ReleaseSettings(Section):
    """Deadlines of a release."""

    approval_timeout_hours: PositiveFloat = 72
    self_approval: bool = True
    test_lease_hours: PositiveFloat = 96
    deployment_timeout_minutes: PositiveFloat = 60
    poll_seconds: PositiveFloat = 30


class ProbeSettings(Section):
    """How live endpoints are probed."""

    known_users: PositiveInt = 200
    unknown_users: PositiveInt = 50
    malformed_requests: PositiveInt = 20
    latency_requests: PositiveInt = 50
    consecutive_answers: PositiveInt = 40
    timeout_seconds: PositiveFloat = 60


class GateSettings(Section):
    """Thresholds; what each means stands in ``docs/gates.md``."""

    max_null_id_share: Share = 0.0
    max_duplicate_share: Share = 0.0
    max_orphan_share: Share = 0.0
    max_invalid_rating_share: Share = 0.0
    max_age_hours: PositiveFloat = 336
    min_user_coverage: Share = 0.999


class Settings(Section):
    """All of ``include/recommender.yaml``.

    Attributes:
        folder: where the file lies; relative paths in it start there.
    """

    folder: Path
    project_name: Name
    schedule: str | None = "0 3 * * 1"
    storage: str
    connections: ConnectionNames = ConnectionNames()
    source: SourceSettings = SourceSettings()
    training: TrainingSettings = TrainingSettings()
    serving: ServingSettings
    release: ReleaseSettings = ReleaseSettings()
    probes: ProbeSettings = ProbeSettings()
    gates: GateSettings = GateSettings()

    @field_validator("storage")
    @classmethod
    def _check_storage(cls, value: str) -> str:
        if not re.match(r"^(file:///.+|oci://[^@/]+@[^/]+(/.*)?)$", value):
            raise ValueError(f"{value!r} is neither file:///folder nor oci://bucket@namespace/prefix")
        return value.rstrip("/")

    @property
    def sql_folder(self) -> Path:
        """Return the folder of the three queries."""
        return self.folder / self.source.sql_folder


def load_settings(path: Path | None = None) -> Settings:
    """Read and validate the settings file.

    Args:
        path: the file; by default the one that ``RECDEPLOY_SETTINGS`` names, else ``include/recommender.yaml``.

    Raises:
        SettingsError: the file cannot be read, is no YAML, or a setting is missing, unknown or out of range.
    """
    path = path or Path(os.environ.get(SETTINGS_VARIABLE) or DEFAULT_PATH)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise SettingsError(f"Cannot read the settings file {path}: {err.strerror}.") from err
    except yaml.YAMLError as err:
        raise SettingsError(f"{path} is not valid YAML: {err}") from err
    if not isinstance(raw, dict):
        raise SettingsError(f"{path} must hold a mapping of settings, not {type(raw).__name__}.")
    try:
        return Settings.model_validate({**raw, "folder": path.resolve().parent})
    except ValidationError as err:
        raise SettingsError(f"{path}: " + "; ".join(map(_describe, err.errors()))) from err


def _describe(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name} is not a setting"
    return f"{name}: {problem['msg']} (it is {problem['input']!r})"
