"""From settings and connections to what the steps work with."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from recdeploy_ops.hooks.oci import OciHook
from recdeploy_ops.releases import Releases
from recdeploy_ops.settings import Settings, load_settings
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from recdeploy_ops.extraction import Source


class ReleasesHook(BaseHook):
    """Opens storage, ledger and OCI as ``include/recommender.yaml`` and its connections say."""

    @cached_property
    def settings(self) -> Settings:
        """Return the validated settings; raises `SettingsError`."""
        return load_settings()

    @cached_property
    def releases(self) -> Releases:
        """Return what the steps work with; raises `SettingsError`."""
        session = OciHook(self.settings.connections.oci).session
        return Releases(self.settings, open_store(self.settings.storage, session), session)

    def source(self) -> Source:
        """Return the source database; raises `SettingsError`."""
        from recdeploy_ops.hooks.sources import source_for

        return source_for(self.settings.connections.database)
