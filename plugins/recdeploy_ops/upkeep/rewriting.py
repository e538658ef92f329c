"""Store bundles, backups and reports again without a customer: a manifest last, the former ones stay for now."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.erasures import Fate
from recdeploy_ops.domain.errors import CloudRefusedError
from recdeploy_ops.domain.events import ReplacedModel, Rewritten
from recdeploy_ops.domain.holdings import FolderKind
from recdeploy_ops.oci_clients.tags import SERVED_TAG
from recdeploy_ops.rollout.rehearsals import register_again
from recdeploy_ops.storage.bundles import (
    MANIFEST,
    SIZES,
    fetch_bundle,
    files_below,
    measure_files,
    open_bundle,
    parse_manifest,
    sha256_of,
    store_bundle,
    write_manifest,
)
from recdeploy_ops.storage.keys import BACKUP_ARTIFACT, rewritten_backup_prefix
from recdeploy_ops.upkeep.customer_files import Customer, remove_customer
from recdeploy_ops.upkeep.traces import fetch
from recdeploy_ops.workspaces import workspace

if TYPE_CHECKING:
    from pathlib import Path

    from recdeploy_ops.context import ReleaseContext
    from recdeploy_ops.domain.erasures import Decision
    from recdeploy_ops.domain.versions import Version
    from recdeploy_ops.storage.bundles import Bundle


@dataclass
class Rewriting:
    """What was stored again so far.

    Attributes:
        context: of the run that erases.
        customer: whom.
        bundles: the new prefix and digest of each former bundle, and of each report by its key.
        models: the versions that were registered again.
    """

    context: ReleaseContext
    customer: Customer
    bundles: dict[str, Rewritten] = field(default_factory=dict)
    models: list[ReplacedModel] = field(default_factory=list)

    def rewrite(self, decision: Decision) -> None:
        """Store a folder again without the customer; equal content has equal keys, so it may be done again."""
        folder = decision.trace.folder
        if folder.kind is FolderKind.BACKUP:
            self._rewrite_backup(decision)
            return
        bundle = open_bundle(self.context.store, folder.prefix, made_by="extract")
        with workspace() as scratch:
            target = scratch / "bundle"
            fetch_bundle(self.context.store, bundle, target)
            self._rewrite_files(bundle, target)
            stored = store_bundle(self.context.store, folder.prefix.rpartition("/")[0], target)
            self._note(folder.prefix, bundle.digest, stored.prefix, stored.digest)
            version = next((one for one in self.context.state.versions.values() if one.artifact == folder.prefix), None)
            if decision.artifact is Fate.REWRITE and version is not None and not version.pruned_at:
                self._register(replace(version, artifact=stored.prefix, digest=stored.digest), target)

    def rewrite_report(self, key: str) -> None:
        """Store a gate report again under a key with its sha256, and the page that is named after it, if it has one."""
        former, content = self._without_customer(key)
        sha256 = hashlib.sha256(content).hexdigest()
        self._store_again(key, former, key.replace(former[:16], sha256[:16]), content)
        run = key.rpartition("/reports/")[0]
        for kind in ("html", "json"):
            page = f"{run}/report/{former[:16]}.{kind}"
            if any(self.context.store.list(page)):
                former_page, content = self._without_customer(page)
                self._store_again(page, former_page, f"{run}/report/{sha256[:16]}.{kind}", content)

    def replace_page(self, key: str) -> None:
        """Overwrite a page or its JSON: entries that stay name it."""
        self.context.store.replace(key, self._without_customer(key)[1])

    def _without_customer(self, key: str) -> tuple[str, bytes]:
        """Return the sha256 of a stored text, and its content without the customer."""
        with workspace() as scratch:
            path = fetch(self.context.store, key, scratch / key.rpartition("/")[2])
            former = sha256_of(path)
            remove_customer(path, self.customer)
            return former, path.read_bytes()

    def _store_again(self, key: str, former: str, new_key: str, content: bytes) -> None:
        self.context.store.create(new_key, content)
        self._note(key, former, new_key, hashlib.sha256(content).hexdigest())

    def _rewrite_files(self, bundle: Bundle, folder: Path) -> str:
        """Remove the customer from a bundle's files, and write its manifest; return its digest."""
        facts: dict[str, Any] = dict(bundle.facts)
        for name, path in files_below(folder).items():
            if name == MANIFEST:
                continue
            rows = remove_customer(path, self.customer)
            table = facts.get(name.partition(".")[0])
            if rows is not None and isinstance(table, dict) and "rows" in table:
                facts[name.partition(".")[0]] = {**table, "rows": rows}
        if SIZES in facts:
            facts[SIZES] = measure_files(folder)
        return write_manifest(folder, facts)

    def _rewrite_backup(self, decision: Decision) -> None:
        """Store a backup again: its results without the customer, and the artifact that its version has now."""
        store, folder = self.context.store, decision.trace.folder
        backup = open_bundle(store, folder.prefix, made_by="backup_production")
        with workspace() as scratch:
            target = scratch / "backup"
            fetch_bundle(store, backup, target)
            for part in sorted({name.partition("/")[0] for name in backup.files if "/" in name}):
                is_artifact = part == BACKUP_ARTIFACT
                if (decision.artifact if is_artifact else decision.others) is Fate.REWRITE:
                    self._rewrite_part(folder.version or 0, target / part, is_artifact=is_artifact)
            digest = write_manifest(target, backup.facts)
            prefix = rewritten_backup_prefix(folder.prefix, digest)
            for name, path in files_below(target).items():
                if name != MANIFEST:
                    store.upload(f"{prefix}/{name}", path, sha256_of(path))
            store.create(f"{prefix}/{MANIFEST}", (target / MANIFEST).read_bytes())
        self._note(folder.prefix, backup.digest, prefix, digest)

    def _rewrite_part(self, number: int, folder: Path, *, is_artifact: bool) -> None:
        version = self.context.state.versions.get(number)
        if is_artifact and version is not None and version.artifact:
            known = self.bundles.get(version.artifact)
            prefix = known.new_key if known else version.artifact
            shutil.rmtree(folder)
            present = open_bundle(self.context.store, prefix, made_by="backup_production")
            fetch_bundle(self.context.store, present, folder)
            return
        self._rewrite_files(parse_manifest("", (folder / MANIFEST).read_bytes()), folder)

    def _register(self, version: Version, folder: Path) -> None:
        """Register a version's new artifact; the tag that says that it served is taken over, if its model is there."""
        catalog = self.context.catalog
        try:
            served = catalog.get(version.model_id).tags.get(SERVED_TAG)
        except CloudRefusedError as err:
            if err.status != HTTPStatus.NOT_FOUND:
                raise
            served = None
        model = register_again(self.context, version, folder)
        if served:
            catalog.tag(model.model_id, {SERVED_TAG: served})
        self.models.append(ReplacedModel(version.number, version.model_id, model.model_id))

    def _note(self, key: str, sha256: str, new_key: str, new_sha256: str) -> None:
        if (key, sha256) != (new_key, new_sha256):
            self.bundles[key] = Rewritten(key, sha256, new_key, new_sha256)
