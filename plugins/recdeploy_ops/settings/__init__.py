"""``include/recommender.yaml`` as validated settings."""

from recdeploy_ops.settings.loading import (
    DEFAULT_NAME,
    DEFAULT_PATH,
    ONE_LINE,
    SETTINGS_VARIABLE,
    find_settings,
    limits,
    load_settings,
    name_settings,
)
from recdeploy_ops.settings.messages import ChannelSettings, MessageSettings
from recdeploy_ops.settings.sections import (
    AutoscalingSettings,
    CondaEnvironment,
    ConnectionNames,
    GateSettings,
    ProbeSettings,
    ReleaseSettings,
    ServingSettings,
    Settings,
    SourceSettings,
)
from recdeploy_ops.settings.tags import TagSettings
from recdeploy_ops.settings.training import TrainingSettings
from recdeploy_ops.settings.upkeep import RetentionSettings, WatchSettings

__all__ = [
    "DEFAULT_NAME",
    "DEFAULT_PATH",
    "ONE_LINE",
    "SETTINGS_VARIABLE",
    "AutoscalingSettings",
    "ChannelSettings",
    "CondaEnvironment",
    "ConnectionNames",
    "GateSettings",
    "MessageSettings",
    "ProbeSettings",
    "ReleaseSettings",
    "RetentionSettings",
    "ServingSettings",
    "Settings",
    "SourceSettings",
    "TagSettings",
    "TrainingSettings",
    "WatchSettings",
    "find_settings",
    "limits",
    "load_settings",
    "name_settings",
]
