"""List and print the backups in the form of the guide's cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.storage import backups as stored_backups
from recdeploy_ops.storage.documents import parse_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.storage.stores import Store

RULE = "=" * 60
LOCAL = "file://"


def read_backups(store: Store, entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return the backups, oldest first; see `RecommenderDeploymentManager.list_backups`."""
    verified = [
        {
            "version": backup["version"],
            "timestamp": backup["prefix"].partition("_")[2],
            "backup_path": _path_of(store, backup["prefix"]),
            "files": backup["files"],
            "digest": backup["digest"],
            "is_verified": True,
            "production_deployment": _parse(store.read(f"{backup['prefix']}/metadata.json")),
        }
        for backup in stored_backups.list_backups(store)
    ]
    unverified = [
        {
            "version": backup.version,
            "timestamp": backup.timestamp,
            "backup_path": _path_of(store, backup.prefix),
            "files": len(backup.files),
            "digest": "",
            "is_verified": False,
            "production_deployment": _parse(backup.read_metadata(store)),
        }
        for backup in stored_backups.list_unverified(store, entries)
    ]
    return sorted([*unverified, *verified], key=lambda backup: str(backup["timestamp"]))


def print_backups(backups: Iterable[Mapping[str, Any]]) -> None:
    """Print what `RecommenderDeploymentManager.list_backups` returned."""
    lines = [line for backup in backups for line in _describe(backup)] or ["No backups found"]
    print("\n".join([RULE, "📦 Available Backups", RULE, *lines, RULE]))  # noqa: T201 - a cell prints this list


def _describe(backup: Mapping[str, Any]) -> list[str]:
    model_id = backup["production_deployment"].get("model_id", "not known")
    is_verified = backup.get("is_verified", True)
    state = f"manifest {backup['digest'][:12]}" if is_verified else "not verified: made by another manager"
    return [
        "",
        f"📌 Version {backup['version']} ({backup['timestamp']})",
        f"   Path: {backup['backup_path']}",
        f"   Files: {backup['files']}, {state}",
        f"   Production Model: {model_id}",
    ]


def _path_of(store: Store, prefix: str) -> str:
    return f"{store.uri}/{prefix}".removeprefix(LOCAL)


def _parse(content: bytes | str) -> dict[str, Any]:
    """Return the JSON object in a file; empty if it does not have one."""
    try:
        return parse_object(content, "metadata.json")
    except IntegrityError:
        return {}
