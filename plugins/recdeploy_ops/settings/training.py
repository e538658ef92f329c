"""The section ``training`` of ``include/recommender.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from recdeploy_ops.settings.types import NUMBER, Section


class AlsSettings(Section):
    """Hyper-parameters of the recipe ``als``."""

    factors: Annotated[int, Field(ge=1, le=10_000), NUMBER] = 64
    epochs: Annotated[int, Field(ge=1, le=10_000), NUMBER] = 15
    regularization: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False), NUMBER] = 10
    weight: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False), NUMBER] = 5


class TrainingSettings(Section):
    """How the ADS operator is run."""

    recipe: Literal["svd", "ease", "als"] = "svd"
    top_k: Annotated[int, Field(ge=1, le=1000), NUMBER] = 10
    seed: Annotated[int, Field(ge=0, le=2**32 - 1), NUMBER] = 42
    engine: Literal["stock", "exact"] = "exact"
    refit: bool = False
    ensemble: Annotated[int, Field(ge=1, le=50), NUMBER] = 1
    factors: Annotated[int, Field(ge=1, le=10_000), NUMBER] = 100
    epochs: Annotated[int, Field(ge=1, le=10_000), NUMBER] = 20
    learning_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), NUMBER] = 0.005
    regularization: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False), NUMBER] = 0.02
    als: AlsSettings = AlsSettings()
    new_users: Literal["operator", "popularity", "best"] = "operator"
    challenger: Literal["ease", "als", "none"] = "ease"
    challenger_minutes: Annotated[float, Field(gt=0, le=7 * 24 * 60, allow_inf_nan=False), NUMBER] = 30
    timeout_minutes: Annotated[float, Field(gt=0, le=7 * 24 * 60, allow_inf_nan=False), NUMBER] = 240

    @field_validator("engine")
    @classmethod
    def _check_engine(cls, value: str, info: ValidationInfo) -> str:
        recipe = info.data.get("recipe", "svd")
        if value == "stock" and recipe != "svd":
            raise ValueError(f"stock is ADS's own model, the recipe svd, and training.recipe is {recipe}: set exact")
        return value

    @field_validator("refit")
    @classmethod
    def _check_refit(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("engine") == "stock":
            raise ValueError("the stock engine cannot refit on all ratings; set training.engine to exact")
        return value

    @field_validator("ensemble")
    @classmethod
    def _check_ensemble(cls, value: int, info: ValidationInfo) -> int:
        recipe = info.data.get("recipe", "svd")
        if value > 1 and recipe != "svd":
            raise ValueError(f"only the recipe svd averages models, and training.recipe is {recipe}: set 1")
        if value > 1 and info.data.get("engine") == "stock":
            raise ValueError("the stock engine trains one model; set training.engine to exact, or 1 here")
        return value

    @field_validator("new_users")
    @classmethod
    def _check_new_users(cls, value: str, info: ValidationInfo) -> str:
        if value == "best" and info.data.get("engine") == "stock":
            raise ValueError(
                "best trains without some users, which the stock engine cannot; set training.engine to exact"
            )
        return value
