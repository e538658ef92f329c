"""Look at the releases from a shell, and roll production back without Airflow.

``python -m recdeploy_ops status | history | backups | verify | rollback --version N --reason TEXT``

It reads the storage of the settings file that ``RECDEPLOY_SETTINGS`` names. Exit codes: 0; 1 for a damaged ledger, or,
of ``verify``, no ledger at all; 2 when ``verify`` finds the entries whole but cannot compare them with the tags in OCI,
so that a tail cut off would not be noticed; 3 when nothing could be looked at (settings, storage, credentials, the
storage of another project, a command that is not understood).

Of ``rollback``: 0 when production was verified to serve the version; 1 when that is not done and production is what it
was, verified where its switch had begun; 2 when PRODUCTION NEEDS A PERSON; 3 as above; 130 when it was interrupted: the
same command goes on.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from recdeploy_ops.context import open_context, utc_now
from recdeploy_ops.domain.codec import escaped
from recdeploy_ops.domain.errors import IntegrityError, RecdeployError
from recdeploy_ops.domain.events import TERMINAL
from recdeploy_ops.domain.release_plan import PREVIOUS
from recdeploy_ops.domain.release_status import describe_backups, describe_history, dump_history, summarise
from recdeploy_ops.domain.remedies import Audience
from recdeploy_ops.domain.terminal_rollbacks import RollbackRequest, plan_rollback
from recdeploy_ops.ledger.audits import audit
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.oci_clients.callers import name_caller
from recdeploy_ops.oci_clients.profiles import find_profile
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.rollbacks.terminal import DONE, NOT_DONE, TerminalRollback
from recdeploy_ops.rollout.tagging import find_tagged_heads
from recdeploy_ops.settings import DEFAULT_PATH, SETTINGS_VARIABLE, Settings, load_settings
from recdeploy_ops.storage.backups import list_backups
from recdeploy_ops.storage.keys import LEDGER
from recdeploy_ops.storage.roots import open_store

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.storage.stores import Store

WHOLE, FAULTY, NOT_COMPARED, NOT_SEEN = 0, 1, 2, 3
INTERRUPTED = 130  # as a shell says of a command that Ctrl-C has ended
DAMAGED = "The ledger is damaged. Run the DAG recommender_adopt to rebuild it from OCI."
ELSEWHERE = (
    "Production has a ledger that is not in this storage. Correct the setting storage; only if that ledger is lost, "
    "run the DAG recommender_adopt to rebuild it from OCI."
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code; errors go to standard error."""
    given = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        if given.command == "rollback":
            return _roll_back(settings, given)
        store = _open(settings)
        ledger = Ledger(store, settings.project_name, utc_now)
        ledger.require_project()
        if given.command == "verify":
            return _verify(settings, store)
        if given.command == "status":
            print(_describe_place(settings, store))
            state = ledger.read()
            print(summarise(state, settings.project_name) if state.seq else _explain_nothing(store))
        elif given.command == "history":
            print((dump_history if given.json else describe_history)(ledger.entries()))
        else:
            print(describe_backups(list_backups(store)))
    except RecdeployError as err:
        _complain(err)
        return FAULTY if isinstance(err, IntegrityError) else NOT_SEEN
    return WHOLE


class _Parser(argparse.ArgumentParser):
    """Ends with a code of its own: 2, which argparse has, would say something of production."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(NOT_SEEN, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="python -m recdeploy_ops", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="what is in production, on TEST, and going on")
    history = commands.add_parser("history", help="every entry of the ledger")
    history.add_argument("--json", action="store_true", help="all of each entry, as one line of JSON")
    commands.add_parser("backups", help="the backups, oldest first")
    commands.add_parser("verify", help="whether the ledger is whole: no entry edited, missing, reordered or cut off")
    rollback = commands.add_parser("rollback", help="bring an earlier version back, for when Airflow is down")
    rollback.add_argument("--version", required=True, type=_version, help=f"a number, or {PREVIOUS}")
    rollback.add_argument("--reason", required=True, type=_reason, help="why; shown in the history")
    rollback.add_argument("--yes", action="store_true", help="do not ask before anything is changed")
    rollback.add_argument(
        "--ended-run",
        metavar="RUN",
        help="a run that holds the release lock and has ended for certain, e.g. as its Airflow is gone",
    )
    return parser


def _version(text: str) -> int | str:
    if text == PREVIOUS or (text.isdecimal() and int(text) > 0):
        return text if text == PREVIOUS else int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor {PREVIOUS!r}")


def _reason(text: str) -> str:
    if text.strip():
        return escaped(text.strip())
    raise argparse.ArgumentTypeError("it is empty: the history must say why")


def _roll_back(settings: Settings, given: argparse.Namespace) -> int:
    """Show what is going to happen, ask, and do it."""
    _show_progress()
    session = OciSession(find_profile(settings.connections.oci))
    store = open_store(settings.storage, session)
    context = open_context(settings, store, session, TERMINAL)
    state = context.refresh()
    print(_describe_place(settings, store))
    request = RollbackRequest(given.version, given.reason, given.ended_run)
    try:
        plan = plan_rollback(state, request)
    except RecdeployError as err:
        _complain(err)
        return NOT_DONE
    print("\n".join(plan.summary), flush=True)
    if not (plan.is_done or given.yes or _is_confirmed()):
        return NOT_DONE
    if plan != plan_rollback(context.refresh(), request):
        print("Nothing is changed: a release went on meanwhile. Run this command again.", file=sys.stderr)
        return NOT_DONE
    rollback = TerminalRollback(context, request, plan, name_caller(session.profile.key))
    try:
        done = rollback.run()
    except RecdeployError as err:
        code, said = rollback.judge(err)
        print(said, file=sys.stderr)
        return code
    except KeyboardInterrupt:
        print(_explain_interruption(context, state.production.version if state.production else None), file=sys.stderr)
        return INTERRUPTED
    print(f"v{done['version']} serves at {done['url']}, verified.")
    if done["left"]:
        print(f"The rollback is done. What is left to do: {done['left']}", file=sys.stderr)
    return DONE


def _show_progress() -> None:
    """Let the steps tell on standard error what they do."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("recdeploy_ops").setLevel(logging.INFO)


def _is_confirmed() -> bool:
    """Ask at a terminal; nobody can be asked anywhere else."""
    if not sys.stdin.isatty():
        print("Nothing is changed: nobody can be asked here. Add --yes to go on without a question.", file=sys.stderr)
        return False
    try:
        answer = input("Type yes to go on: ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() == "yes":
        return True
    print("Nothing is changed.", file=sys.stderr)
    return False


def _explain_interruption(context: ReleaseContext, served_before: int | None) -> str:
    """Return what an interrupted rollback has left behind, as the ledger was last read."""
    holder, serving = context.state.holding_release, context.state.production
    if holder is not None and holder.open_switch is not None:
        left = f"the run {holder.run_id} is switching production, and what it serves is not verified"
    elif holder is not None and holder.is_from_terminal:
        left = "this rollback holds the release lock"
    elif serving is not None and serving.version != served_before:
        left = f"v{serving.version} serves, verified; its tags may be missing"
    else:
        return "Interrupted: production was not changed by this command."
    return f"Interrupted: {left}. Run the same command again: it goes on."


def _verify(settings: Settings, store: Store) -> int:
    """Say what the ledger's own entries show, and only then what OCI's tags, which may not be at hand, show."""
    print(_describe_place(settings, store))
    faults = audit(store, tagged_heads={})
    count = sum(1 for stored in store.list(LEDGER) if stored.key.endswith(".json"))
    if not faults and not count:
        print(_explain_nothing(store))
    for fault in faults:
        print(fault)
    if count and not faults:
        print(f"The ledger's {count} entries are whole.")
    try:
        session = OciSession(find_profile(settings.connections.oci))
        heads = find_tagged_heads(open_context(settings, store, session, "verify"))
    except RecdeployError as err:
        err.audience = Audience.TERMINAL
        print(f"The tags could not be compared: {err}\nA tail cut off together with the snapshot would not be noticed.")
        return FAULTY if faults or not count else NOT_COMPARED
    found = [fault for fault in audit(store, tagged_heads=heads) if fault not in faults]
    for fault in found:
        print(fault)
    if faults or found:
        print(DAMAGED if count else ELSEWHERE)
        return FAULTY
    print(f"It agrees with the tags of {' and '.join(heads)}." if heads else "No deployment carries a tag to compare.")
    return WHOLE if count else FAULTY


def _complain(err: RecdeployError) -> None:
    err.audience = Audience.TERMINAL
    print(err, file=sys.stderr)


def _describe_place(settings: Settings, store: Store) -> str:
    return f"Project {settings.project_name}, storage {store.uri}"


def _explain_nothing(store: Store) -> str:
    path = os.environ.get(SETTINGS_VARIABLE) or DEFAULT_PATH
    return f"No ledger at {store.uri}: is this the right settings file ({path})?"


def _open(settings: Settings) -> Store:
    is_remote = settings.storage.startswith("oci://")
    return open_store(settings.storage, OciSession(find_profile(settings.connections.oci)) if is_remote else None)


if __name__ == "__main__":
    sys.exit(main())
