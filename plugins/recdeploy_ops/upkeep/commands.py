"""The commands ``housekeeping``, ``pin``, ``unpin`` and ``erase`` of a terminal."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from recdeploy_ops.domain.codec import escaped
from recdeploy_ops.domain.erasures import describe_erasure
from recdeploy_ops.domain.errors import SettingsError
from recdeploy_ops.domain.events import TERMINAL, VersionPinned, VersionUnpinned
from recdeploy_ops.domain.release_plan import require_kept
from recdeploy_ops.domain.remedies import Remedy, TryAgain
from recdeploy_ops.domain.savings import describe_plan
from recdeploy_ops.rollout.holdings import make_plan
from recdeploy_ops.rollout.waits import finish
from recdeploy_ops.steps import housekeeping
from recdeploy_ops.upkeep.erasing import erase
from recdeploy_ops.upkeep.traces import describe_customer, plan_erasure

if TYPE_CHECKING:
    from collections.abc import Callable

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.ledger_state import LedgerState
    from recdeploy_ops.upkeep.customer_files import Customer

COMMANDS = ("housekeeping", "pin", "unpin", "erase")
DONE, NOT_DONE = 0, 1  # exit codes
APPLY = "do what the plan says; without it nothing is changed"


def add_commands(add: Callable[..., argparse.ArgumentParser], reason: Callable[[str], str]) -> None:
    """Add the commands to a parser.

    Args:
        add: adds a parser of a command, by its name and ``help``.
        reason: the type of a reason.
    """
    keeping = add("housekeeping", help="show what recommender_housekeeping would delete")
    keeping.add_argument("--apply", action="store_true", help=APPLY)
    for name, what in (("pin", "keep everything of a version, whatever the policy says"), ("unpin", "end that")):
        pinning = add(name, help=what)
        pinning.add_argument("--version", required=True, type=int, help="a number")
        pinning.add_argument("--reason", required=True, type=reason, help="why; shown in the history")
    erasing = add("erase", help="show where a customer is stored, and remove them")
    erasing.add_argument("--user", required=True, type=_user, help="the customer's id, as the queries return it")
    erasing.add_argument("--apply", action="store_true", help=APPLY)
    erasing.add_argument("--reason", type=reason, help="why, without the id, e.g. the number of the request")


def run_command(context: ReleaseContext, options: argparse.Namespace, caller: str, show: Callable[[str], None]) -> int:
    """Run one of the `COMMANDS` and return the exit code.

    Args:
        context: of the command; its run id is replaced.
        options: as parsed.
        caller: the person's name for the ledger.
        show: prints a text.
    """
    own = context.of_run(f"{TERMINAL}-{options.command}-after-{context.refresh().seq}")
    if options.command == "housekeeping":
        return _housekeeping(own, options, show)
    if options.command == "erase":
        return _erase(own, options, caller, show)
    return _pin(own, options, caller, show)


def _user(text: str) -> str:
    if text.strip():
        return text
    raise argparse.ArgumentTypeError("must not be empty")


def _housekeeping(context: ReleaseContext, options: argparse.Namespace, show: Callable[[str], None]) -> int:
    """Show the plan; with ``--apply`` do it. A release in progress stays: only Airflow knows if it has ended."""
    retention = context.settings.retention
    show(describe_plan(make_plan(context), retention.policy, retention.prices.prices))
    if options.apply:
        summary = finish(context, lambda: housekeeping.advance(context, has_ended=lambda _: False))
        show("Done." if summary.get("pruned") else "Nothing was deleted.")
    return DONE


def _pin(context: ReleaseContext, options: argparse.Namespace, caller: str, show: Callable[[str], None]) -> int:
    number, is_pinned = options.version, options.command == "pin"

    def require_possible(state: LedgerState) -> None:
        version = state.versions.get(number)
        if version is None:
            raise SettingsError(f"v{number} does not exist.", Remedy("Name a version that the command history shows"))
        if is_pinned:
            require_kept(state, version)
        elif number not in state.pinned:
            pinned = ", ".join(f"v{one}" for one in sorted(state.pinned)) or "no version"
            raise SettingsError(f"v{number} is not pinned; {pinned} is.")

    event = (VersionPinned if is_pinned else VersionUnpinned)(number, caller, options.reason)
    context.ledger.append(context.run_id, event, guard=require_possible)
    kept = "is kept whole" if is_pinned else "is kept as long as the policy says"
    show(f"v{number} {kept}.")
    return DONE


def _erase(context: ReleaseContext, options: argparse.Namespace, caller: str, show: Callable[[str], None]) -> int:
    """Show the plan; with ``--apply`` do it, and show what is left if that is anything."""
    customer = describe_customer(context, options.user)
    if options.apply:
        _require_reason(options, customer)
    plan = plan_erasure(context, customer)
    show(describe_erasure(plan))
    if not options.apply:
        return DONE
    left = erase(context, customer, plan, by=caller, reason=escaped(options.reason))
    if not left.is_empty:
        show(f"Not everything was erased:\n{describe_erasure(left)}")
        return NOT_DONE
    show("Erased. What is listed as not reached is left.")
    return DONE


def _require_reason(options: argparse.Namespace, customer: Customer) -> None:
    """Refuse to record a missing reason, or one that names the customer: an entry is never changed."""
    if not options.reason:
        raise SettingsError("--apply needs --reason.", TryAgain("Add a reason, e.g. the number of the request"))
    if options.user in options.reason or customer.text.is_in(options.reason):
        raise SettingsError(
            "The reason names the customer, and would stay in the ledger for good.",
            TryAgain("Give the number of the request instead"),
        )
