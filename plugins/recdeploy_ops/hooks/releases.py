"""Open storage, ledger and OCI from settings and connections."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from recdeploy_ops.context import ReleaseContext, open_context
from recdeploy_ops.domain.tries import ONLY_TRY, Tries
from recdeploy_ops.hooks.connections import find_airflow_connection
from recdeploy_ops.hooks.oci import OciHook
from recdeploy_ops.settings import DEFAULT_NAME, Settings, find_settings, load_settings
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from recdeploy_ops.extraction import Source
    from recdeploy_ops.oci_clients.sessions import OciSession


class ReleasesHook(BaseHook):
    """Opens storage, ledger and OCI from a settings file and its connections.

    Args:
        settings_name: name of the settings file, for `find_settings`.
    """

    def __init__(self, settings_name: str = DEFAULT_NAME) -> None:
        super().__init__()
        self.settings_name = settings_name

    @cached_property
    def settings(self) -> Settings:
        """Return the validated settings; raises `SettingsError`."""
        return load_settings(find_settings(self.settings_name))

    @cached_property
    def session(self) -> OciSession:
        """Return the session that signs requests to OCI; raises `SettingsError`."""
        return OciHook(self.settings.connections.oci).session

    def context(self, run_id: str, tries: Tries = ONLY_TRY) -> ReleaseContext:
        """Return the context of a run's steps, with the number of this try; raises `SettingsError`."""
        store = open_store(self.settings.storage, self.session)
        opened = open_context(self.settings, store, self.session, run_id, find=find_airflow_connection)
        return replace(opened, tries=tries)

    def source(self) -> Source:
        """Return the source database; raises `SettingsError`."""
        from recdeploy_ops.hooks.sources import source_for

        return source_for(self.settings.connections.database)
