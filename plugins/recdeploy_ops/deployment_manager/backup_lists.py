"""List and print the backups in the form of the guide's cells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recdeploy_ops.storage import backups as stored_backups

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recdeploy_ops.storage.stores import Store

RULE = "=" * 60
LOCAL = "file://"


def read_backups(store: Store) -> list[dict[str, Any]]:
    """Return the complete backups, oldest first; see `RecommenderDeploymentManager.list_backups`."""
    return [
        {
            "version": backup["version"],
            "timestamp": backup["prefix"].partition("_")[2],
            "backup_path": f"{store.uri}/{backup['prefix']}".removeprefix(LOCAL),
            "files": backup["files"],
            "digest": backup["digest"],
            "production_deployment": json.loads(store.read(f"{backup['prefix']}/metadata.json")),
        }
        for backup in stored_backups.list_backups(store)
    ]


def print_backups(backups: Iterable[Mapping[str, Any]]) -> None:
    """Print what `RecommenderDeploymentManager.list_backups` returned."""
    lines = [line for backup in backups for line in _describe(backup)] or ["No backups found"]
    print("\n".join([RULE, "📦 Available Backups", RULE, *lines, RULE]))  # noqa: T201 - a cell prints this list


def _describe(backup: Mapping[str, Any]) -> list[str]:
    return [
        "",
        f"📌 Version {backup['version']} ({backup['timestamp']})",
        f"   Path: {backup['backup_path']}",
        f"   Files: {backup['files']}, manifest {backup['digest'][:12]}",
        f"   Production Model: {backup['production_deployment']['model_id']}",
    ]
