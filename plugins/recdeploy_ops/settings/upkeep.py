"""The sections ``watch`` and ``retention``: how production is watched, and what housekeeping keeps."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from recdeploy_ops.domain.baking import LEAST_REQUESTS
from recdeploy_ops.domain.retention import RetentionPolicy
from recdeploy_ops.domain.savings import Prices
from recdeploy_ops.settings.types import NUMBER, Days, Ocid, Price, Requests, Section, Share


class WatchSettings(Section):
    """How production is watched: by `recommender_monitor`, and in a bake; ``docs/watching.md`` says what each does."""

    schedule: str | None = "*/5 * * * *"
    topic_id: Ocid | None = None
    window_minutes: Annotated[float, Field(ge=1, le=60, allow_inf_nan=False), NUMBER] = 5
    requests: Annotated[int, Field(ge=LEAST_REQUESTS, le=100_000), NUMBER] = 1000
    monitor_requests: Requests = 60
    max_error_rate: Share = 0.005
    max_wrong_share: Share = 0.001
    max_latency_ratio: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False), NUMBER] = 1.1
    max_latency_excess_ms: Annotated[float, Field(ge=0, le=3_600_000, allow_inf_nan=False), NUMBER] = 25
    alarm_p95_ms: Annotated[float, Field(gt=0, le=3_600_000, allow_inf_nan=False), NUMBER] = 1000
    alarm_error_rate: Share = 0.02


class RetentionPrices(Section):
    """What OCI bills, to show what housekeeping saves; None leaves that part out."""

    storage_gb_month: Price | None = None
    test_hour: Price | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"

    @property
    def prices(self) -> Prices:
        """Return the prices."""
        return Prices(self.storage_gb_month, self.test_hour, self.currency)


class RetentionSettings(Section):
    """What housekeeping keeps, besides what it never deletes."""

    versions: Annotated[int, Field(ge=1, le=10_000), NUMBER] = 5
    days: Days = 90
    customer_days: Days = 30
    prices: RetentionPrices = RetentionPrices()

    @field_validator("customer_days")
    @classmethod
    def _check_customer_days(cls, value: float, info: ValidationInfo) -> float:
        days = info.data.get("days", value)
        if value > days:
            raise ValueError(f"customers' data must not be kept longer than the rest, which is days: {days:g}")
        return value

    @property
    def policy(self) -> RetentionPolicy:
        """Return how long things are kept."""
        return RetentionPolicy(self.versions, self.days, self.customer_days)
