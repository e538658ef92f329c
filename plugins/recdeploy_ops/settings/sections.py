"""The sections of ``include/recommender.yaml``, with their defaults."""

from __future__ import annotations

import math
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote

from pydantic import Field, ValidationInfo, field_validator, model_validator

from recdeploy_ops.domain.freezes import FreezeWindow
from recdeploy_ops.domain.gates.behaviour import ListThresholds
from recdeploy_ops.domain.gates.history import HistoryThresholds
from recdeploy_ops.domain.gates.newest import NewestThresholds
from recdeploy_ops.domain.gates.quality import QualityThresholds
from recdeploy_ops.domain.gates.training import TrainingThresholds
from recdeploy_ops.domain.recipes import RECIPES
from recdeploy_ops.domain.records import Autoscaling
from recdeploy_ops.domain.sizes import SizeRequest
from recdeploy_ops.settings.messages import MessageSettings
from recdeploy_ops.settings.tags import TagSettings
from recdeploy_ops.settings.training import TrainingSettings
from recdeploy_ops.settings.types import (
    BOUNDS,
    NUMBER,
    Instances,
    LimitName,
    Name,
    Ocid,
    Percent,
    Requests,
    Seconds,
    Section,
    Share,
)
from recdeploy_ops.settings.upkeep import RetentionSettings, WatchSettings


class ConnectionNames(Section):
    """Ids of the Airflow connections."""

    oci: str = "oci_default"
    database: str = "recommender_db"


class SigningSettings(Section):
    """Whether the ledger's entries are signed."""

    connection: str | None = None
    unsigned_entries: Annotated[int, Field(ge=0), NUMBER] = 0


class SourceSettings(Section):
    """What the three queries return, and how they are read."""

    sql_folder: Path = Path("sql")
    user_column: str = "user_id"
    item_column: str = "product_id"
    rating_column: str = "rating"
    timestamp_column: str | None = "ordered_at"
    title_column: str | None = "title"
    segment_column: str | None = None
    implicit: bool = False
    repeated: Literal["latest", "mean", "max", "sum", "refuse"] | None = None
    parameters: dict[str, str | int | float | None] = {}  # noqa: RUF012 - each instance gets a copy
    batch_rows: Annotated[int, Field(ge=1, le=1_000_000), NUMBER] = 50_000

    @property
    def merging(self) -> str:
        """Return what happens to a user's repeated interactions with an item."""
        if self.repeated:
            return self.repeated
        if self.implicit:
            return "sum"
        return "latest" if self.timestamp_column else "refuse"

    @model_validator(mode="after")
    def _check_repeated(self) -> Self:
        if self.repeated == "latest" and self.timestamp_column is None:
            raise ValueError("repeated is latest, which needs a timestamp_column: choose mean, max, sum or refuse")
        return self

    @field_validator("parameters", mode="before")
    @classmethod
    def _check_parameters(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for name, value in values.items():
            if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
                raise ValueError(f"{name} is {value!r}: it must be a text, a finite number or null")
        # YAML reads 2026-01-31 without quotes as a date; the queries get its text.
        return {name: str(value) if isinstance(value, date) else value for name, value in values.items()}


class CondaEnvironment(Section):
    """The conda environment that serves ``score.py``."""

    slug: str
    type: Literal["data_science", "published"]
    path: Annotated[str, Field(pattern=r"^oci://[^@/]+@[^/]+/.+")]
    python_version: Annotated[str, Field(pattern=r"^3\.\d+$")]


class AutoscalingSettings(Section):
    """How OCI is to choose the number of instances."""

    minimum: Instances
    maximum: Instances
    initial: Instances
    metric: Literal["CPU_UTILIZATION", "MEMORY_UTILIZATION"] = "CPU_UTILIZATION"
    scale_in: Percent = 30
    scale_out: Annotated[Percent, Field(validate_default=True)] = 70
    cool_down_seconds: Annotated[int, Field(ge=600, le=24 * 60 * 60), NUMBER] = 600

    @field_validator("initial")
    @classmethod
    def _check_initial(cls, value: int, info: ValidationInfo) -> int:
        low, high = info.data.get("minimum", value), info.data.get("maximum", value)
        if not low <= value <= high:
            raise ValueError(f"it must be between minimum and maximum, which are {low} and {high}")
        return value

    @field_validator("scale_out")
    @classmethod
    def _check_scale_out(cls, value: int, info: ValidationInfo) -> int:
        if value <= info.data.get("scale_in", 0):
            raise ValueError(f"it must be more than scale_in, which is {info.data['scale_in']}")
        return value


class ServingSettings(Section):
    """Size and environment of the model deployments; None leaves that part of production's size unchanged."""

    conda_environment: CondaEnvironment
    instance_shape: Annotated[str, Field(pattern=r"^(VM|BM)\.[A-Za-z0-9.]+$")] | None = None
    ocpus: Annotated[float, Field(gt=0, le=114, allow_inf_nan=False), NUMBER] | None = None
    memory_gb: Annotated[float, Field(gt=0, le=1760, allow_inf_nan=False), NUMBER] | None = None
    instance_count: Instances | None = None
    autoscaling: AutoscalingSettings | None = None
    bandwidth_mbps: Annotated[int, Field(ge=10, le=8000), NUMBER] = 10
    workers: Annotated[int, Field(ge=1, le=64), NUMBER] = 2
    log_group_id: Ocid | None = None
    access_log_id: Ocid | None = None
    predict_log_id: Ocid | None = None
    service_limits: tuple[LimitName, ...] = ()

    @field_validator("autoscaling")
    @classmethod
    def _check_autoscaling(cls, value: AutoscalingSettings | None, info: ValidationInfo) -> AutoscalingSettings | None:
        if value and info.data.get("instance_count"):
            raise ValueError("instance_count is a fixed number of instances; set one of the two to null")
        return value

    @property
    def size(self) -> SizeRequest:
        """Return the size that the settings request."""
        autoscaling = Autoscaling(**self.autoscaling.model_dump()) if self.autoscaling else None
        return SizeRequest(self.instance_shape, self.ocpus, self.memory_gb, self.instance_count, autoscaling)


class ReleaseSettings(Section):
    """Deadlines of a release, and when nothing is promoted."""

    approval_timeout_hours: Annotated[float, Field(gt=0, le=30 * 24, allow_inf_nan=False), NUMBER] = 72
    approval_max_age_hours: Annotated[float, Field(gt=0, le=30 * 24, allow_inf_nan=False), NUMBER] = 24
    self_approval: bool = True
    approve_rollbacks: bool = False
    freeze_windows: tuple[FreezeWindow, ...] = ()
    bake_minutes: Annotated[float, Field(ge=0, le=8 * 60, allow_inf_nan=False), NUMBER] = 30
    test_lease_hours: Annotated[float, Field(gt=0, le=365 * 24, allow_inf_nan=False), NUMBER] = 96
    capacity_timeout_hours: Annotated[float, Field(ge=0, le=12, allow_inf_nan=False), NUMBER] = 6
    deployment_timeout_minutes: Annotated[float, Field(gt=0, le=24 * 60, allow_inf_nan=False), NUMBER] = 60
    poll_seconds: Seconds = 30
    ignored_deployments: tuple[Ocid, ...] = ()


class ProbeSettings(Section):
    """How endpoints are probed."""

    known_users: Requests = 200
    unknown_users: Requests = 50
    malformed_requests: Requests = 20
    latency_requests: Requests = 50
    consecutive_answers: Requests = 60
    timeout_seconds: Seconds = 60
    repeats: Annotated[int, Field(ge=0, le=10), NUMBER] = 4
    repeat_seconds: Seconds = 0.5


class GateSettings(Section):
    """Thresholds; ``docs/gates.md`` says what each means."""

    require_pass: bool = False
    max_null_id_share: Share = 0.0
    max_duplicate_share: Share = 0.0
    max_orphan_share: Share = 0.0
    max_invalid_rating_share: Share = 0.0
    max_single_rating_share: Share = 0.75
    max_age_hours: Annotated[float, Field(gt=0, le=100 * 365 * 24, allow_inf_nan=False), NUMBER] = 336
    max_future_hours: Annotated[float, Field(ge=0, le=100 * 365 * 24, allow_inf_nan=False), NUMBER] = 24
    min_user_coverage: Share = 0.999
    max_latency_ratio: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False), NUMBER] = 1.2
    max_latency_excess_ms: Annotated[float, Field(ge=0, le=3_600_000, allow_inf_nan=False), NUMBER] = 50
    history: Annotated[HistoryThresholds, BOUNDS] = HistoryThresholds()
    newest: Annotated[NewestThresholds, BOUNDS] = NewestThresholds()
    training: Annotated[TrainingThresholds, BOUNDS] = TrainingThresholds()
    lists: Annotated[ListThresholds, BOUNDS] = ListThresholds()
    quality: Annotated[QualityThresholds, BOUNDS] = QualityThresholds()


class Settings(Section):
    """All of ``include/recommender.yaml``.

    Attributes:
        folder: of the file; relative paths in it start there.
    """

    folder: Path
    project_name: Name
    schedule: str | None = "0 3 * * 1"
    storage: str
    connections: ConnectionNames = ConnectionNames()
    signing: SigningSettings = SigningSettings()
    source: SourceSettings = SourceSettings()
    training: TrainingSettings = TrainingSettings()
    serving: ServingSettings
    tags: TagSettings = TagSettings()
    release: ReleaseSettings = ReleaseSettings()
    probes: ProbeSettings = ProbeSettings()
    watch: WatchSettings = WatchSettings()
    gates: GateSettings = GateSettings()
    messages: MessageSettings = MessageSettings()
    retention: RetentionSettings = RetentionSettings()

    @field_validator("storage")
    @classmethod
    def _check_storage(cls, value: str) -> str:
        if not re.fullmatch(r"file:///.+|oci://[^@/]+@[^/]+(/.*)?", value):
            raise ValueError(f"{value!r} is neither file:///folder nor oci://bucket@namespace/prefix")
        if re.search(r"[#?\x00-\x1f\x7f]|%00", value):
            raise ValueError(f"{value!r} has '#', '?' or a control character: write '#' as %23 and '?' as %3F")
        if value.startswith("file:") and not Path(unquote(value.removeprefix("file://"))).parts[1:]:
            raise ValueError(f"{value!r} names no folder: write file:///folder")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _check_implicit(self) -> Self:
        if self.source.implicit and self.training.recipe == "svd":
            raise ValueError(
                "source.implicit is true, but training.recipe svd predicts ratings: set training.recipe to ease or "
                "als, or source.implicit to false"
            )
        return self

    @property
    def model(self) -> dict[str, Any]:
        """Return what determines a model besides its rows, its seed and the length of its lists, for the ledger."""
        return self.model_of(self.training.recipe)

    def model_of(self, recipe: str) -> dict[str, Any]:
        """Return the same of another recipe than the configured one."""
        own = {**self.training.model_dump(mode="json"), "implicit": self.source.implicit}
        if recipe == "als":
            own |= self.training.als.model_dump(mode="json")
        return {"recipe": recipe, **{name: own[name] for name in RECIPES[recipe].settings}}

    @property
    def sql_folder(self) -> Path:
        """Return the folder of the three queries."""
        return self.folder / self.source.sql_folder
