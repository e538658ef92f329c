"""``manager.state``: what the guide's manager kept in its ``deployment_state.json``, read from the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.events import Adopted, Promoted, RolledBack, TestDeployed
from recdeploy_ops.domain.remedies import Remedy
from recdeploy_ops.ledger.state_file import state_of_serving

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recdeploy_ops.domain.entries import Entry
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.domain.versions import Serving

ACTIONS: dict[type, str] = {Promoted: "promoted", RolledBack: "rolled back", Adopted: "imported"}


class GuideState(dict[str, Any]):
    """A dictionary that cannot be changed; a copy of it is a plain one."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise SettingsError(
            "manager.state is read from the ledger and cannot be written.",
            Remedy(
                "Call manager.import_existing_deployment() or manager.repair_production_state() to record what OCI has"
            ),
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle and copy make a plain dictionary."""
        return dict, (dict(self),)


def describe_guide_state(state: LedgerState, entries: Iterable[Entry]) -> GuideState:
    """Return the state under the guide's keys.

    Returns:
        ``current_version`` (0 without a production); ``production_deployment`` and ``test_deployment``, each None or
        with ``deployment_id``, ``endpoint`` and ``version``, production's also with ``model_id``, ``digest`` and
        ``deployed_at``; and ``deployment_history``: what was in production, oldest first, with ``action``.
    """
    holder, serving = state.holding_release, state.production
    test = holder.get(TestDeployed) if holder else None
    return GuideState(
        current_version=serving.version if serving else 0,
        production_deployment=_describe(serving) if serving else None,
        test_deployment=GuideState(deployment_id=test.deployment_id, endpoint=test.url, version=holder.version)
        if holder and test and test.deployment_id
        else None,
        deployment_history=tuple(_history(entries)),
    )


def _describe(serving: Serving) -> GuideState:
    return GuideState(state_of_serving(serving))


def _history(entries: Iterable[Entry]) -> list[GuideState]:
    """Return each version that production was verified to serve, at the time when it began to."""
    states: list[GuideState] = []
    for entry in entries:
        event = entry.event
        if isinstance(event, Promoted | RolledBack):
            served = {"version": event.version, "model_id": event.model_id, "deployment_id": event.deployment_id}
            endpoint = event.url
        elif isinstance(event, Adopted) and event.production is not None:
            known = event.production
            served = {"version": known.version, "model_id": known.model_id, "deployment_id": known.deployment_id}
            endpoint = known.url
        else:
            continue
        if states and all(states[-1][name] == value for name, value in served.items()):
            continue  # reconciled, with nothing new in production
        described = {**served, "endpoint": endpoint, "timestamp": entry.at.isoformat(), "run_id": entry.run_id}
        states.append(GuideState(action=ACTIONS[type(event)], **described))
    return states
