"""Show the releases in a shell; roll production back, freeze promotions or resume them without Airflow.

``python -m recdeploy_ops status | history | backups | verify | rollback | freeze | resume | housekeeping | pin |
unpin | erase``, each with ``--help``.

It reads the storage of the settings file that ``RECDEPLOY_SETTINGS`` names. Exit codes: 0; 1 if the ledger is damaged
or, for ``verify``, does not exist or has an entry with a wrong date; 2 if ``verify`` finds the entries whole but has
not compared them with a tag in OCI, because OCI does not answer or no deployment has such a tag: a ledger that was
rewritten would then not be noticed; 3 if nothing could be checked (settings, storage, credentials, the storage of
another project, an unknown command).

Exit codes of ``rollback``: 0 if production was verified to serve the version; 1 if it was not rolled back and
production is what it was, verified if its switch had begun; 2 if PRODUCTION NEEDS A PERSON; 3 as above; 130 if it was
interrupted: the same command continues.

``housekeeping`` and ``erase`` print a plan, and change something only with ``--apply``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from recdeploy_ops.context import open_context, utc_now
from recdeploy_ops.domain.codec import escaped
from recdeploy_ops.domain.errors import IntegrityError, RecdeployError
from recdeploy_ops.domain.events import TERMINAL
from recdeploy_ops.domain.freezes import find_freezes
from recdeploy_ops.domain.release_plan import PREVIOUS
from recdeploy_ops.domain.release_status import describe_backups, describe_history, dump_history, summarise
from recdeploy_ops.domain.remedies import Audience
from recdeploy_ops.domain.terminal_rollbacks import RollbackRequest, plan_rollback
from recdeploy_ops.ledger.opening import open_ledger
from recdeploy_ops.oci_clients.callers import name_caller
from recdeploy_ops.oci_clients.profiles import find_profile
from recdeploy_ops.oci_clients.sessions import OciSession
from recdeploy_ops.rollbacks.terminal import DONE, NOT_DONE, TerminalRollback, explain_interruption
from recdeploy_ops.settings import DEFAULT_PATH, SETTINGS_VARIABLE, Settings, load_settings
from recdeploy_ops.storage.backups import list_backups, list_unverified
from recdeploy_ops.storage.roots import open_store
from recdeploy_ops.upkeep.commands import COMMANDS, add_commands, run_command
from recdeploy_ops.upkeep.freezes import turn_switch
from recdeploy_ops.upkeep.verifying import FAULTY, WHOLE, verify

if TYPE_CHECKING:
    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.ledger.ledger import Ledger
    from recdeploy_ops.storage.stores import Store

NOT_CHECKED = 3
FREEZE, RESUME = "freeze", "resume"
UNVERIFIED = "not verified: made by another manager"
INTERRUPTED = 130  # a shell's exit code after Ctrl-C


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code; errors go to standard error."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        if options.command == "rollback":
            return _roll_back(settings, options)
        if options.command in {FREEZE, RESUME}:
            return _switch_promotions(settings, options)
        if options.command in COMMANDS:
            return _keep(settings, options)
        store = _open(settings)
        ledger = open_ledger(settings, store, utc_now)
        ledger.require_project()
        if options.command == "verify":
            return _verify(settings, store, ledger)
        _show(settings, store, ledger, options)
    except RecdeployError as err:
        _print_error(err)
        return FAULTY if isinstance(err, IntegrityError) else NOT_CHECKED
    return WHOLE


def _show(settings: Settings, store: Store, ledger: Ledger, options: argparse.Namespace) -> None:
    """Print what one of the commands shows that only read."""
    if options.command == "status":
        print(_describe_project(settings, store))
        state = ledger.read()
        freezes = find_freezes(state.freezes, settings.release.freeze_windows, utc_now())
        print(summarise(state, settings.project_name, freezes=freezes) if state.seq else _explain_nothing(store))
    elif options.command == "history":
        entries = list(ledger.entries())
        if entries:
            print((dump_history if options.json else describe_history)(entries))
        else:
            print(_explain_nothing(store), file=sys.stderr if options.json else sys.stdout)
    else:
        backups = list_backups(store)
        unverified = [
            {"version": folder.version, "files": len(folder.files), "prefix": folder.prefix, "note": UNVERIFIED}
            for folder in list_unverified(store, ledger.readable_entries())
        ]
        listed = [*backups, *unverified]
        print(describe_backups(listed) if listed or ledger.read().seq else _explain_nothing(store))


class _Parser(argparse.ArgumentParser):
    """Exits with `NOT_CHECKED` after a usage error: argparse's own code 2 has another meaning here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(NOT_CHECKED, f"{self.prog}: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="python -m recdeploy_ops", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="what is in production, on TEST, and in progress")
    history = commands.add_parser("history", help="every entry of the ledger")
    history.add_argument("--json", action="store_true", help="each entry in full, as one line of JSON")
    commands.add_parser("backups", help="the backups, oldest first")
    commands.add_parser("verify", help="whether the ledger is whole: no entry edited, missing, reordered or cut off")
    rollback = commands.add_parser("rollback", help="bring an earlier version back while Airflow is down")
    rollback.add_argument("--version", required=True, type=_version, help=f"a number, or {PREVIOUS}")
    rollback.add_argument("--reason", required=True, type=_reason, help="why; shown in the history")
    rollback.add_argument("--yes", action="store_true", help="do not ask before anything is changed")
    rollback.add_argument(
        "--ended-run",
        metavar="RUN",
        help="a run that holds the release lock and has certainly ended, e.g. because its Airflow is gone",
    )
    freeze = commands.add_parser(FREEZE, help="promote nothing until a person resumes; a rollback is always possible")
    resume = commands.add_parser(RESUME, help="end every freeze by a person, and the hold after a rollback")
    for command in (freeze, resume):
        command.add_argument(
            "--reason", required=True, type=_reason, help="why; shown to the approver and in the history"
        )
    add_commands(commands.add_parser, _reason)
    return parser


def _version(text: str) -> int | str:
    if text == PREVIOUS or (text.isdecimal() and int(text) > 0):
        return text if text == PREVIOUS else int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor {PREVIOUS!r}")


def _reason(text: str) -> str:
    if text.strip():
        return escaped(text.strip())
    raise argparse.ArgumentTypeError("must not be empty: the history shows it")


def _keep(settings: Settings, options: argparse.Namespace) -> int:
    """Run a command of what is kept."""
    _show_progress()
    context, caller = _open_context(settings)
    context.ledger.require_project()
    return run_command(context, options, caller, partial(print, flush=True))


def _roll_back(settings: Settings, options: argparse.Namespace) -> int:
    """Show what will happen, ask for confirmation, and do it."""
    _show_progress()
    context, caller = _open_context(settings)
    state = context.refresh()
    request = RollbackRequest(options.version, options.reason, options.ended_run)
    try:
        plan = plan_rollback(state, request)
    except RecdeployError as err:
        _print_error(err)
        return NOT_DONE
    print("\n".join(plan.summary), flush=True)
    if not (plan.is_done or options.yes or _is_confirmed()):
        return NOT_DONE
    if plan != plan_rollback(context.refresh(), request):
        print("Nothing was changed: the ledger changed meanwhile. Run this command again.", file=sys.stderr)
        return NOT_DONE
    rollback = TerminalRollback(context, request, plan, caller)
    try:
        done = rollback.run()
    except RecdeployError as err:
        code, message = rollback.judge(err)
        print(message, file=sys.stderr)
        return code
    except KeyboardInterrupt:
        print(explain_interruption(context, state.production.version if state.production else None), file=sys.stderr)
        return INTERRUPTED
    print(f"v{done['version']} serves at {done['url']}, verified.")
    if done["left"]:
        print(f"The rollback is done. Left to do: {done['left']}", file=sys.stderr)
    return DONE


def _switch_promotions(settings: Settings, options: argparse.Namespace) -> int:
    """Freeze promotions or resume them, and show what freezes them, before and after."""
    context, caller = _open_context(settings)
    for line in turn_switch(context, freeze=options.command == FREEZE, reason=options.reason, caller=caller):
        print(line)
    return WHOLE


def _show_progress() -> None:
    """Log the steps to standard error."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("recdeploy_ops").setLevel(logging.INFO)


def _is_confirmed() -> bool:
    """Ask for confirmation; without a terminal nobody can be asked."""
    if not sys.stdin.isatty():
        print(
            "Nothing was changed: nobody can be asked here. Add --yes (make: ARGS=--yes) to continue without asking.",
            file=sys.stderr,
        )
        return False
    try:
        answer = input("Type yes to continue: ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() == "yes":
        return True
    print("Nothing was changed.", file=sys.stderr)
    return False


def _verify(settings: Settings, store: Store, ledger: Ledger) -> int:
    """Verify the ledger; what reads the tags is opened only when they are compared, as OCI may be unavailable."""

    def open_tenancy() -> ReleaseContext:
        return open_context(settings, store, OciSession(find_profile(settings.connections.oci)), "verify")

    print(_describe_project(settings, store))
    return verify(store, ledger, open_tenancy, partial(print, flush=True), _explain_nothing(store))


def _print_error(err: RecdeployError) -> None:
    err.audience = Audience.TERMINAL
    print(err, file=sys.stderr)


def _describe_project(settings: Settings, store: Store) -> str:
    return f"Project {settings.project_name}, storage {store.uri}"


def _explain_nothing(store: Store) -> str:
    path = os.environ.get(SETTINGS_VARIABLE) or DEFAULT_PATH
    return (
        f"No ledger exists yet at {store.uri}. The first release creates it: make demo, the DAG recommender_retrain, "
        "or a notebook; where a shop is served already, the DAG recommender_adopt. If you expected a ledger, check "
        f"whether this is the right settings file: {path}"
    )


def _open_context(settings: Settings) -> tuple[ReleaseContext, str]:
    """Return the context of a command that may change something, and who runs it; shows the project first."""
    session = OciSession(find_profile(settings.connections.oci))
    context = open_context(settings, open_store(settings.storage, session), session, TERMINAL)
    print(_describe_project(settings, context.store))
    return context, name_caller(session.profile.key)


def _open(settings: Settings) -> Store:
    is_remote = settings.storage.startswith("oci://")
    return open_store(settings.storage, OciSession(find_profile(settings.connections.oci)) if is_remote else None)


if __name__ == "__main__":
    sys.exit(main())
