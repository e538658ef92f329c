"""Find where a customer is stored: every folder, report and entry is read."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from recdeploy_ops.domain.erasures import FROM_AN_EXTRACT, ErasurePlan, Fate, Trace, decide, find_leftovers
from recdeploy_ops.domain.errors import IntegrityError
from recdeploy_ops.domain.holdings import FolderKind
from recdeploy_ops.domain.release_plan import lock_held
from recdeploy_ops.evaluation.champions import read_source
from recdeploy_ops.oci_clients.tags import DIGEST_TAG
from recdeploy_ops.rollout.holdings import find_folders
from recdeploy_ops.rollout.registry import list_models
from recdeploy_ops.storage.backups import list_foreign_folders
from recdeploy_ops.storage.keys import BACKUP_ARTIFACT, LEDGER_ASIDE, RELEASES, REPORT_FILE
from recdeploy_ops.upkeep.customer_files import Customer, has_bytes_of, names_customer
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.erasures import Decision, Leftovers
    from recdeploy_ops.domain.holdings import StoredFolder
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

ARTIFACTS = frozenset({FolderKind.ARTIFACT, FolderKind.ADOPTED})
CHUNK = 1 << 20


def describe_customer(context: ReleaseContext, user: str) -> Customer:
    """Return a customer with the names of the columns of users that any release has worked with."""
    columns = {context.settings.source.user_column}
    for release in context.state.releases.values():
        columns.add(str(read_source(context, release.opened.settings.key).get("user_column", "")))
    columns.discard("")
    return Customer(user, frozenset(columns))


def plan_erasure(context: ReleaseContext, customer: Customer) -> ErasurePlan:
    """Read everything that is stored, and return what erasing a customer does; nothing is changed.

    Raises:
        LockHeldError: a release is in progress: its evidence covers the data.
        IntegrityError: a file is damaged, so that it cannot be searched.
    """
    state = context.refresh()
    if state.holding_release is not None:
        raise lock_held(state.holding_release)
    leftovers = find_leftovers(context.history())
    folders = find_folders(context)
    traces = _find_traces(context, customer, folders, leftovers)
    decisions = tuple(decide(state, trace, leftovers) for trace in traces)
    replaced = find_replaced_models(context, leftovers)
    return ErasurePlan(
        seq=state.seq,
        decisions=decisions,
        reports=tuple(_find_reports(context, customer)),
        models=tuple(model_id for model_id, users in replaced.items() if not users),
        unreached=(
            *_find_serving(context, decisions),
            *(
                f"The model {model_id} has them and cannot be deleted: {', '.join(users)} is configured for it."
                for model_id, users in replaced.items()
                if users
            ),
            *_find_unexamined(context, folders),
            *_find_entries(context, customer),
            *_find_foreign(context, customer),
        ),
    )


def find_replaced_models(context: ReleaseContext, leftovers: Leftovers) -> dict[str, list[str]]:
    """Return the models whose artifact an erasing has replaced, with the names of the deployments that use them."""
    living = [deployment for deployment in context.deployments.all() if not deployment.lifecycle_state.is_deleted]
    return {
        model.model_id: [deployment.name for deployment in living if deployment.model_id == model.model_id]
        for model in list_models(context)
        if model.tags.get(DIGEST_TAG) in leftovers.digests
    }


def fetch(store: Store, key: str, target: Path) -> Path:
    """Download an object to a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with store.open(key) as source, target.open("wb") as sink:
        while chunk := source.read(CHUNK):
            sink.write(chunk)
    return target


def is_in_artifact(folder: StoredFolder, key: str) -> bool:
    """Return whether an object of a folder belongs to an artifact."""
    return folder.kind in ARTIFACTS or key.startswith(f"{folder.prefix}/{BACKUP_ARTIFACT}/")


def _find_traces(
    context: ReleaseContext, customer: Customer, folders: Sequence[StoredFolder], leftovers: Leftovers
) -> Iterator[Trace]:
    affected = set()  # runs whose data have the customer, and so what was made from them
    extracts = {folder.prefix.split("/")[1] for folder in folders if folder.kind is FolderKind.EXTRACT}
    for folder in sorted(folders, key=lambda folder: folder.kind is not FolderKind.EXTRACT):
        in_artifact = in_others = False
        for key in folder.keys:
            with workspace() as scratch:
                if names_customer(fetch(context.store, key, scratch / key.rpartition("/")[2]), customer):
                    in_artifact |= is_in_artifact(folder, key)
                    in_others |= not is_in_artifact(folder, key)
        run = folder.prefix.split("/")[1]
        if folder.kind is FolderKind.EXTRACT and in_others:
            affected.add(run)
        is_hashed = folder.kind is FolderKind.ROW_HASHES and run not in extracts  # nobody can tell of whom
        is_affected = (folder.kind in FROM_AN_EXTRACT and run in affected) or is_hashed
        if in_artifact or in_others or is_affected or folder.prefix in leftovers.prefixes:
            log.info("%s has the customer", folder.prefix)
            yield Trace(folder, in_artifact, in_others)


def _find_reports(context: ReleaseContext, customer: Customer) -> Iterator[str]:
    for stored in context.store.list(RELEASES):
        if REPORT_FILE.fullmatch(stored.key):
            with workspace() as scratch:
                name = stored.key.rpartition("/")[2]
                if names_customer(fetch(context.store, stored.key, scratch / name), customer):
                    yield stored.key


def _find_serving(context: ReleaseContext, decisions: Iterable[Decision]) -> Iterator[str]:
    serving = context.state.production
    if serving and any(decision.artifact is Fate.SERVES for decision in decisions):
        yield (
            f"Production serves v{serving.version} with a list for them, at {serving.url}; the stored artifact of "
            f"v{serving.version}, its copies in backups and its model {serving.model_id} have it, too. Release another "
            "version, then run this command again."
        )


def _find_unexamined(context: ReleaseContext, folders: Iterable[StoredFolder]) -> Iterator[str]:
    """Yield the versions whose artifact only the catalog has, or that another project made: they are not searched."""
    stored = {folder.prefix for folder in folders}
    for version in context.state.versions.values():
        if not version.digest:
            yield f"v{version.number} was made by another project: its artifact was not searched, and may have them."
            continue
        if version.artifact not in stored and version.model_id and not version.pruned_at:
            yield (
                f"v{version.number} is not in storage, and its model {version.model_id} was not examined: it may have "
                "them. Delete it in the OCI console if production never goes back to it."
            )


def _find_entries(context: ReleaseContext, customer: Customer) -> Iterator[str]:
    for entry in context.history():
        text = json.dumps(json.loads(entry.encode())["event"])
        if customer.text.erase_json(text) != text:
            yield f"Entry {entry.seq} of the ledger ({entry.type}) may name them in a text: an entry is never changed."
    if any(context.store.list(LEDGER_ASIDE)):
        yield f"{LEDGER_ASIDE} has entries of a damaged ledger, which were not searched: delete it once it is examined."


def _find_foreign(context: ReleaseContext, customer: Customer) -> Iterator[str]:
    for folder in list_foreign_folders(context.store, context.history()):
        for name in folder.files:
            with workspace() as scratch:
                try:
                    path = fetch(context.store, f"{folder.prefix}/{name}", scratch / name.rpartition("/")[2])
                    is_found = names_customer(path, customer) or has_bytes_of(path, customer)
                except IntegrityError:
                    is_found = True  # not a file that this project understands
            if is_found:
                yield f"{folder.prefix}/{name}, which another manager made, may name them: look at it yourself."
