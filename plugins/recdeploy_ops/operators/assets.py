"""The Airflow asset of production: it has a new event whenever production serves something else.

What production serves comes from the ledger, and what was said last from Airflow: so a task that runs again says
nothing twice, and what a terminal, a notebook or a killed task has changed is said by the next task that ends.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time.context import InletEventsAccessor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk.definitions.context import Context
    from pydantic import JsonValue

    from recdeploy_ops.domain.versions import Serving

log = logging.getLogger(__name__)

IDENTITY = ("version", "digest", "deployment_id")


def production_asset(project: str) -> Asset:
    """Return the asset that other DAGs wait for; its name is its URI."""
    return Asset(f"recommender://{project}/production")


def production_outlet(settings_name: str) -> AssetAlias:
    """Return the outlet of a task that may change production.

    An alias: Airflow gives an asset that is an outlet itself an event whenever the task succeeds.
    """
    return AssetAlias(f"production of {settings_name}")


def update_asset(alias: AssetAlias, project: str, serving: Serving, context: Context) -> None:
    """Give the asset of a project an event if production serves something else than its newest event says.

    Args:
        alias: the outlet of the task.
        project: name of the project.
        serving: what production serves.
        context: Airflow's, of the running task: Airflow creates the event once the task has succeeded.
    """
    asset = production_asset(project)
    extra: dict[str, JsonValue] = {
        "version": serving.version,
        "digest": serving.digest,
        "deployment_id": serving.deployment_id,
        "url": serving.url,
        "since": serving.since,
    }
    try:
        said = _newest_extra(asset)
    except AirflowRuntimeError as err:  # the release is done; the next task that ends says it
        log.warning("The asset %s is not updated, as Airflow does not say what its newest event is: %s", asset.uri, err)
        return
    if any(said.get(name) != extra[name] for name in IDENTITY):
        context["outlet_events"][alias].add(asset, extra=extra)
        log.info("The asset %s is updated: production serves v%s.", asset.uri, serving.version)


def _newest_extra(asset: Asset) -> Mapping[str, Any]:
    events = InletEventsAccessor(asset_name=asset.name, asset_uri=asset.uri).ascending(False).limit(1)
    return next((event.extra or {} for event in events), {})
