"""Ledger, storage and OCI resources on one side, domain records on the other.

This is the only module that knows the names of tags and the layout of the storage root::

    ledger/{seq:08d}.json                 one entry each; ledger/snapshot.jsonl is a copy to read them quickly
    releases/{run}/{what}/{digest}/       extract, training, artifact, reports of one run: immutable bundles
    backups/v{N}_{YYYYMMDD_HHMMSS}/       recommender_model_artifact/, results/, metadata.json, manifest.json
    backups/deployment_state.json         the guide's state file, derived from the ledger
    current/manifest.json                 which artifact and results are current: rewritten when that changes
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from recdeploy_ops.domain.errors import (
    ApprovalError,
    IntegrityError,
    KeyNotFoundError,
    LockHeldError,
    MissingInputError,
    RecdeployError,
    StorageError,
    SwitchUnderWayError,
    TransientError,
)
from recdeploy_ops.domain.ledger import Kind
from recdeploy_ops.domain.records import Role
from recdeploy_ops.ledger.ledger import SNAPSHOT, Ledger
from recdeploy_ops.oci_clients.deployments import ModelDeployments
from recdeploy_ops.oci_clients.models import ModelCatalog
from recdeploy_ops.storage.bundles import MANIFEST, Bundle, canonical_json, open_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from recdeploy_ops.domain.ledger import Book, Facts, Release
    from recdeploy_ops.domain.records import CatalogModel, Deployment
    from recdeploy_ops.oci_clients.sessions import OciSession
    from recdeploy_ops.settings import Settings
    from recdeploy_ops.storage.stores import Store

log = logging.getLogger(__name__)

PROJECT_TAG = "recdeploy-project"
VERSION_TAG = "recdeploy-version"
ROLE_TAG = "recdeploy-role"
RUN_TAG = "recdeploy-run"
DIGEST_TAG = "recdeploy-digest"
LEASE_TAG = "recdeploy-lease"
LEDGER_TAG = "recdeploy-ledger"
HOLDER_TAG = "recdeploy-holder"
SERVED_TAG = "recdeploy-served"
RESULTS_METADATA = "results"  # of a model: where its training results lie, for when the ledger is lost

CURRENT = "current/manifest.json"
STATE = "backups/deployment_state.json"

GONE = frozenset({"DELETED", "DELETING"})

# Which task records which kind: named when its facts are missing.
TASK_OF = {
    Kind.RELEASE_OPENED: "plan_release",
    Kind.PRODUCTION_BACKED_UP: "backup_production",
    Kind.DATA_EXTRACTED: "extract",
    Kind.DATA_CHECKED: "check_data",
    Kind.MODEL_TRAINED: "run_ads_operator",
    Kind.ARTIFACT_BUILT: "build_artifact",
    Kind.CANDIDATE_CHECKED: "check_candidate",
    Kind.MODEL_REGISTERED: "register_model",
    Kind.TEST_DEPLOYED: "deploy_test",
    Kind.TEST_VALIDATED: "validate_test",
    Kind.APPROVAL_REQUESTED: "request_approval",
    Kind.APPROVAL_ANSWERED: "request_approval",
}


# What may be recorded while production is being switched and not proved yet.
WHILE_SWITCHING = frozenset(
    {
        Kind.PROMOTION_STARTED,
        Kind.PROMOTION_FAILED,
        Kind.PROMOTED,
        Kind.ROLLED_BACK,
        Kind.RESTORE_STARTED,
        Kind.CHAMPION_RESTORED,
        Kind.PRODUCTION_LOST,
        Kind.MODEL_RESTORED,
        Kind.RELEASE_REJECTED,
        Kind.RELEASE_CLOSED,
    }
)


@dataclass(frozen=True)
class Registration:
    """What the catalog has of a version.

    Attributes:
        model: the newest with the version's digest, or None.
        other: the newest with another digest, or None.
        deleted: how many models of the version's name were deleted.
    """

    model: CatalogModel | None
    other: CatalogModel | None
    deleted: int


class Releases:
    """What every step works with.

    Args:
        settings: validated settings.
        store: the storage root.
        session: signs requests to OCI.
        now: the clock, UTC.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        session: OciSession,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.store = store
        self.now = now
        self.ledger = Ledger(store, now)
        self.catalog = ModelCatalog(session)
        self.deployments = ModelDeployments(session)

    def release(self, run_id: str) -> Release:
        """Return the open release of a run, which holds the lock.

        Raises:
            MissingInputError: the run was never planned, or is closed.
            LockHeldError: another run has taken the lock over.
        """
        book = self.ledger.book()
        _require_lock(book, run_id)
        return book.releases[run_id]

    def dag_of(self, run_id: str) -> str:
        """Return the DAG that a run's release was opened by."""
        opened = self.ledger.book().releases[run_id].facts[Kind.RELEASE_OPENED]
        return str(opened["dag_id"])

    def facts(self, release: Release, kind: Kind) -> Facts:
        """Return what an earlier step recorded.

        Raises:
            MissingInputError: it did not, or what it recorded is void; names the task to clear.
        """
        facts = release.get(kind)
        if facts is None:
            raise MissingInputError(
                f"The run {release.run_id} has no valid {kind}", clear_task=TASK_OF.get(kind, "plan_release")
            )
        return facts

    def bundle(self, release: Release, kind: Kind) -> Bundle:
        """Return the verified manifest of what an earlier step stored."""
        facts = self.facts(release, kind)
        return open_bundle(self.store, facts["prefix"], digest=facts["digest"], made_by=TASK_OF[kind])

    def record(self, kind: Kind, run_id: str, facts: Mapping[str, Any]) -> Release:
        """Append an entry of the release that holds the lock, and return the release after it.

        Raises:
            MissingInputError: the run was never planned, or is closed.
            LockHeldError: another run has taken the lock over.
            SwitchUnderWayError: production is being switched to what the entry would change.
        """

        def guard(book: Book) -> None:
            _require_lock(book, run_id)
            open_switch = book.releases[run_id].open_switch
            if open_switch is not None and kind not in WHILE_SWITCHING:
                raise SwitchUnderWayError(open_switch["goal"])

        book = self.ledger.append(kind, run_id, facts, guard=guard)
        return book.releases[run_id]

    def folder(self, run_id: str, what: str) -> str:
        """Return the storage prefix for one kind of thing of a run."""
        return f"releases/{run_slug(run_id)}/{what}"

    def find_results(self, model: CatalogModel) -> str:
        """Return the prefix of a model's training results, as the ledger had it when the model was registered.

        An empty text where the catalog does not say it, or they are gone: those of another try are not taken for them.
        """
        prefix = self.catalog.get(model.model_id).metadata.get(RESULTS_METADATA, "")
        if prefix and any(self.store.list(f"{prefix}/{MANIFEST}")):
            return prefix
        log.warning("Nothing says which training results are those of %s, or they are gone.", model.name)
        return ""

    def keep_settings(self, run_id: str) -> dict[str, str]:
        """Store the settings that a run works with; return their ``key`` and ``sha256``."""
        content = canonical_json(self.settings.model_dump(mode="json", exclude={"folder"}))
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"{self.folder(run_id, 'settings')}/{sha256[:16]}.json"
        self.store.create(key, content)
        return {"key": key, "sha256": sha256}

    def production_tags(self) -> dict[str, str]:
        """Return the tags that production shall carry: what it serves, and the head of the ledger.

        Raises:
            MissingInputError: nothing is in production.
        """
        book = self.ledger.book()
        if book.production is None:
            raise MissingInputError("Nothing is in production", clear_task="promote")
        serving = book.production
        run_id = book.versions[serving.version].run_id
        tags = self.tags(run_id, serving.version, serving.digest, Role.PRODUCTION)
        return {**tags, LEDGER_TAG: name_head(book)}

    def tagged_heads(self) -> dict[str, str]:
        """Return the heads of the ledger that tags in OCI name, by where they stand.

        Those of every living deployment and model of the project: one tag that somebody removes hides nothing.
        """
        models = {model.model_id: model for model in self.models()}
        mine = frozenset(models)
        heads = {}
        for deployment in self.deployments.all():
            if deployment.lifecycle_state in GONE or not self._is_production(deployment, mine):
                continue
            heads[f"production ({deployment.name})"] = deployment.tags.get(LEDGER_TAG, "")
            model = models.pop(deployment.model_id, None) or self.catalog.get(deployment.model_id)
            heads[f"production's model ({model.name})"] = model.tags.get(LEDGER_TAG, "")
        heads |= {f"the model {model.name}": model.tags.get(LEDGER_TAG, "") for model in models.values()}
        return {place: head for place, head in heads.items() if head}

    def sign_head(self, model_id: str, tags: Mapping[str, str] | None = None) -> None:
        """Name the ledger's head in a tag of a catalog model, so that history before it cannot be rewritten unnoticed.

        A tag that OCI refuses is a warning: it never holds up a release.

        Args:
            model_id: OCID of the model.
            tags: what else to tag it with.

        Raises:
            TransientError: trying again may help.
        """
        try:
            self.catalog.tag(model_id, {**(tags or {}), LEDGER_TAG: name_head(self.ledger.book())})
        except TransientError:
            raise
        except RecdeployError as err:
            log.warning("The model %s does not name the ledger's head: %s", model_id, err)

    def _is_production(self, deployment: Deployment, models: Container[str]) -> bool:
        """Return whether a deployment carries the role's tag, or has lost it while it serves one of our models."""
        if ROLE_TAG in deployment.tags:
            mine = deployment.tags.get(PROJECT_TAG) == self.settings.project_name
            return mine and deployment.tags[ROLE_TAG] == Role.PRODUCTION
        return deployment.model_id in models or LEDGER_TAG in deployment.tags

    def tags(self, run_id: str, version: int, digest: str, role: Role | None = None) -> dict[str, str]:
        """Return the free-form tags of a model, or with a role those of a deployment."""
        tags = {
            PROJECT_TAG: self.settings.project_name,
            VERSION_TAG: str(version),
            RUN_TAG: run_slug(run_id),
            DIGEST_TAG: digest,
        }
        if role:
            tags[ROLE_TAG] = str(role)
        if role is Role.TEST:
            lease = timedelta(hours=self.settings.release.test_lease_hours)
            tags[LEASE_TAG] = (self.now() + lease).isoformat(timespec="seconds")
        return tags

    def models(self) -> list[CatalogModel]:
        """Return this project's models in the catalog, newest first."""
        return [m for m in self.catalog.models() if self._is_ours(m)]

    def look_up(self, version: int, digest: str) -> Registration:
        """Return what the catalog has of a version, told from one listing."""
        every = list(self.catalog.models())
        mine = [m for m in every if self._is_ours(m) and m.tags.get(VERSION_TAG) == str(version)]
        return Registration(
            model=next((m for m in mine if m.tags.get(DIGEST_TAG) == digest), None),
            other=next((m for m in mine if m.tags.get(DIGEST_TAG) != digest), None),
            deleted=sum(1 for m in every if m.name == self.model_name(version) and m.lifecycle_state == "DELETED"),
        )

    def model_name(self, version: int) -> str:
        """Return the display name of a version's catalog model."""
        return f"{self.settings.project_name}-v{version}"

    def _is_ours(self, model: CatalogModel) -> bool:
        return model.tags.get(PROJECT_TAG) == self.settings.project_name and model.lifecycle_state != "DELETED"

    def highest_version_in_catalog(self) -> int:
        """Return the highest version number among the catalog's models, 0 when there is none."""
        numbers = (model.tags.get(VERSION_TAG, "") for model in self.models())
        return max((int(number) for number in numbers if number.isdecimal()), default=0)

    def deployments_of(self, role: Role) -> list[Deployment]:
        """Return this project's deployments of a role, newest first, deleted ones included."""
        return [
            deployment
            for deployment in self.deployments.all()
            if deployment.tags.get(PROJECT_TAG) == self.settings.project_name and deployment.tags.get(ROLE_TAG) == role
        ]

    def deployments_of_run(self, role: Role, run_id: str) -> list[Deployment]:
        """Return a run's deployments of a role, newest first, deleted ones included."""
        slug = run_slug(run_id)
        return [d for d in self.deployments_of(role) if d.tags.get(RUN_TAG) == slug]

    def production(self) -> Deployment | None:
        """Return the production deployment: the ledger's, else the one that carries the role's tag."""
        known = self.ledger.book().production
        if known:
            return self.deployments.get(known.deployment_id)
        living = [d for d in self.deployments_of(Role.PRODUCTION) if d.lifecycle_state not in {"DELETED", "DELETING"}]
        return living[0] if living else None

    def point_current(self, *, version: int, digest: str, artifact: str, results: str) -> None:
        """Make an artifact and its results the current ones.

        Raises:
            StorageError: something else stands in the way of ``current/manifest.json``.
        """
        value = {
            "version": version,
            "digest": digest,
            "recommender_model_artifact": artifact,
            "results": results,
        }
        try:
            self.store.replace(CURRENT, canonical_json(value))
        except StorageError as err:
            raise StorageError(
                f"{self.store.uri}/{CURRENT}, which names the current artifact, cannot be written. Move away what "
                f"stands there, then clear this task: {err}"
            ) from err

    def current(self) -> dict[str, Any] | None:
        """Return what is current, or None."""
        try:
            value: dict[str, Any] = json.loads(self.store.read(CURRENT))
        except KeyNotFoundError:
            return None
        except (ValueError, RecursionError) as err:
            raise IntegrityError(
                f"{self.store.uri}/{CURRENT} is no JSON: remove it. It is written anew ({err})."
            ) from err
        return value

    def publish_state(self) -> None:
        """Write the ledger's snapshot and the guide's ``deployment_state.json``.

        Both can be made from the ledger at any time: a storage that refuses them does not hold up the release.
        """
        self._write_derived(SNAPSHOT, self.ledger.write_snapshot)
        state = canonical_json(describe_state(self.ledger.book()))
        self._write_derived(STATE, lambda: self.store.replace(STATE, state))

    def _write_derived(self, key: str, write: Callable[[], None]) -> None:
        try:
            write()
        except StorageError as err:
            log.warning("%s/%s is not up to date: %s", self.store.uri, key, err)


def name_head(book: Book) -> str:
    """Return the head of the ledger as a tag names it: ``{seq}:{sha256}``."""
    return f"{book.seq}:{book.head}"


def run_slug(run_id: str) -> str:
    """Return a run id as a piece of a storage key and a tag value: safe, short and unique."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id).strip(".-")[:80]
    return f"{safe}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def describe_state(book: Book) -> dict[str, Any]:
    """Return the fields of the guide's ``deployment_state.json``."""
    holder = book.releases.get(book.holder or "")
    test = holder.get(Kind.TEST_DEPLOYED) if holder else None
    serving = book.production
    return {
        "current_version": serving.version if serving else 0,
        "next_version": book.highest_version + 1,
        "production": {
            "version": serving.version,
            "model_id": serving.model_id,
            "deployment_id": serving.deployment_id,
            "endpoint": serving.url,
            "digest": serving.digest,
            "deployed_at": serving.since,
        }
        if serving
        else None,
        "test": {"version": holder.version, "deployment_id": test["deployment_id"], "endpoint": test["url"]}
        if holder and test and test["deployment_id"]
        else None,
        "history": [
            {
                "version": release.version,
                "run_id": release.run_id,
                "opened_at": release.opened_at,
                "outcome": release.outcome or "in progress",
            }
            for release in book.releases.values()
        ],
    }


def _require_lock(book: Book, run_id: str) -> None:
    release = book.releases.get(run_id)
    if release is None:
        raise MissingInputError(f"The run {run_id} has no release", clear_task="plan_release")
    if release.outcome == "pre-empted":
        raise ApprovalError(
            f"The release v{release.version} (run {run_id}) only waited for an approval when a rollback pre-empted it: "
            "nothing of it is carried out any more, an answer neither. Trigger a new run."
        )
    if book.holder is not None and book.holder != run_id:
        raise LockHeldError(f"The run {book.holder} has taken the release lock over; the run {run_id} may not go on.")
    if not release.is_open:
        raise MissingInputError(f"The release of the run {run_id} is closed", clear_task="plan_release")
