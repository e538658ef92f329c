"""What the tasks of all DAGs of this project have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from recdeploy_ops.notifications.releases import message_callbacks


def task_defaults(settings_name: str, *, retries: int = 2) -> dict[str, Any]:
    """Return a DAG's ``default_args``.

    Args:
        settings_name: name of the settings file, for `find_settings`.
        retries: how often a task that failed is tried again.
    """
    return {
        "owner": "recommender",
        "retries": retries,
        "retry_delay": timedelta(seconds=30),
        "settings_name": settings_name,
        **message_callbacks(settings_name),
    }
