"""The whole emulator: its parts and their connections, its start, reset and stop."""

import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from oci_emulator.calls import Calls
from oci_emulator.connections import Connections
from oci_emulator.credentials import COMPARTMENT, TENANCY, Credentials, load_credentials, renew_credentials
from oci_emulator.data_science.artifacts import Artifacts
from oci_emulator.data_science.catalog import Catalog
from oci_emulator.data_science.deployments import Deployments
from oci_emulator.data_science.models import Models
from oci_emulator.data_science.neighbours import Neighbours
from oci_emulator.data_science.projects import Projects
from oci_emulator.data_science.rollouts import Rollouts
from oci_emulator.data_science.routes import DataScience, Prediction
from oci_emulator.data_science.version_sets import VersionSets
from oci_emulator.data_science.work_requests import WorkRequests
from oci_emulator.faults import Faults
from oci_emulator.gateway import Endpoints, Gateway
from oci_emulator.identity.routes import Identity
from oci_emulator.identity.tag_defaults import TagDefaults
from oci_emulator.limits.availability import Availability
from oci_emulator.limits.routes import Limits
from oci_emulator.logging_service.groups import LogGroups
from oci_emulator.logging_service.routes import Logging
from oci_emulator.monitoring.alarms import Alarms
from oci_emulator.monitoring.metrics import Metrics
from oci_emulator.monitoring.observations import Observations
from oci_emulator.monitoring.routes import Monitoring
from oci_emulator.notifications.routes import Notifications
from oci_emulator.notifications.topics import Topics
from oci_emulator.object_storage.buckets import Buckets
from oci_emulator.object_storage.multipart import MultipartUploads
from oci_emulator.object_storage.objects import Objects
from oci_emulator.object_storage.retention_rules import RetentionRules
from oci_emulator.object_storage.routes import ObjectStorage
from oci_emulator.offers import Offers
from oci_emulator.operations import (
    DATA_SCIENCE,
    IDENTITY,
    LIMITS,
    LOGGING,
    MODEL_DEPLOYMENT,
    MONITORING,
    NOTIFICATIONS,
    OBJECT_STORAGE,
    RESOURCE_SEARCH,
    VAULT,
    VAULT_BUNDLES,
    OperationTable,
)
from oci_emulator.resource_search.routes import ResourceSearch
from oci_emulator.resource_search.searches import Searches
from oci_emulator.retry_tokens import RetryTokens
from oci_emulator.serving.proxy import Proxy
from oci_emulator.serving.supervisor import Supervisor
from oci_emulator.signatures import SignatureVerifier
from oci_emulator.snapshots import Snapshots
from oci_emulator.store import Store
from oci_emulator.tenancies import Tenancy
from oci_emulator.timings import Timings
from oci_emulator.vault.bundles import Bundles
from oci_emulator.vault.routes import SecretRetrieval, Vault
from oci_emulator.vault.secrets import Secrets

_FOLDERS = ("artifacts", "objects", "parts", "incoming", "deployments")


@dataclass
class Emulator:
    """One emulated tenancy; all its state is in `data_dir`."""

    data_dir: Path
    url: str
    compartments: Collection[str] = (COMPARTMENT, TENANCY)
    connections: Connections = field(default_factory=Connections)

    def __post_init__(self) -> None:
        """Create the parts."""
        self._make_folders()
        self.credentials: Credentials = load_credentials(self.data_dir / "credentials")
        self.keys = self.credentials.keys()
        self.store = Store(self.data_dir / "state.sqlite")
        self.timings = Timings.model_validate(self.store.setting("timings") or {})
        self.faults = Faults(self.store)
        self.calls = Calls(self.store)
        self.tenancy = Tenancy(tuple(self.compartments))
        self.offers = Offers(self.store)
        self.neighbours = Neighbours(self.store, self.tenancy)
        self.catalog = Catalog(self.store, self.tenancy, self.offers)
        self.secrets = Secrets(self.catalog)
        self.topics = Topics(self.catalog, self.url)
        self.observations = Observations(self.store)
        self.models = Models(self.catalog, self.data_dir / "artifacts")
        self.proxy = Proxy(Supervisor())
        self.work_requests = WorkRequests(self.store, self.tenancy)
        buckets = Buckets(self.store, self.tenancy)
        self.rules = RetentionRules(self.store, buckets)
        self.objects = Objects(self.store, buckets, self.data_dir / "objects", self.rules)
        self.uploads = MultipartUploads(self.store, self.objects, self.data_dir / "parts")
        folders = (self.data_dir / "artifacts", self.data_dir / "deployments")
        self.rollouts = Rollouts(self.store, self.work_requests, self.proxy, *folders, self.faults)
        self.snapshots = Snapshots(self.store, self.proxy, self.data_dir, self.data_dir / "snapshots")

    def gateway(self) -> Gateway:
        """Return the application that answers OCI's requests."""
        return Gateway(
            endpoints=self.endpoints(),
            operations=OperationTable(),
            signatures=SignatureVerifier(self.keys),
            retry_tokens=RetryTokens(self.store),
            store=self.store,
            faults=self.faults,
            calls=self.calls,
            connections=self.connections,
            incoming=self.data_dir / "incoming",
            observe=self.observations.observe,
        )

    def endpoints(self) -> Endpoints:
        """Return the endpoints by service and operation."""
        services = {
            DATA_SCIENCE: self._data_science().endpoints(),
            MODEL_DEPLOYMENT: Prediction(self.proxy).endpoints(),
            OBJECT_STORAGE: ObjectStorage(self.objects.buckets, self.objects, self.uploads, self.rules).endpoints(),
            RESOURCE_SEARCH: ResourceSearch(Searches(self.store)).endpoints(),
            VAULT: Vault(self.secrets).endpoints(),
            VAULT_BUNDLES: SecretRetrieval(Bundles(self.secrets)).endpoints(),
            MONITORING: Monitoring(Metrics(self.observations, self.tenancy), Alarms(self.catalog)).endpoints(),
            LOGGING: Logging(LogGroups(self.catalog)).endpoints(),
            IDENTITY: Identity(TagDefaults(self.offers, self.tenancy)).endpoints(),
            LIMITS: Limits(Availability(self.offers, self.tenancy)).endpoints(),
            NOTIFICATIONS: Notifications(self.topics).endpoints(),
        }
        return {(service, name): point for service, points in services.items() for name, point in points.items()}

    async def start(self) -> None:
        """Remove what a killed emulator left unfinished, and serve its deployments again."""
        self.objects.remove_orphans()
        self.uploads.remove_orphans()
        self.observations.remove_old()
        await self.rollouts.resume()

    async def reset(self) -> None:
        """Remove everything except the credentials."""
        await self.rollouts.cancel()
        self.snapshots.remove_all()
        self.store.clear()
        self._replace_folders()
        self.faults.clear()
        self.calls.clear()
        self.set_timings(Timings())

    async def snapshot(self, name: str) -> None:
        """Save the state under this name when every work request has ended."""
        await self.rollouts.until_idle()
        self.snapshots.take(name)

    async def restore(self, name: str) -> None:
        """Restore the state of a snapshot; clear faults and calls. Raises KeyError for an unknown name."""
        self.faults.clear()
        await self.rollouts.until_idle()
        await self.snapshots.restore(name)
        self.faults.clear()
        self.calls.clear()
        self.set_timings(Timings.model_validate(self.store.setting("timings") or {}))

    def renew(self, what: str) -> None:
        """Replace the `key` or the session `token` in its file; what was signed with is refused from now on."""
        self.credentials = renew_credentials(self.data_dir / "credentials", what)
        self.keys.clear()
        self.keys.update(self.credentials.keys())

    def set_timings(self, timings: Timings) -> None:
        """Use these timings from now on, also after a restart."""
        for name, value in timings:
            setattr(self.timings, name, value)
        self.store.save_setting("timings", timings.model_dump())

    async def stop(self) -> None:
        """Stop every server."""
        await self.rollouts.cancel()
        await self.proxy.supervisor.close()
        self.store.close()

    def _replace_folders(self) -> None:
        """Make the folders empty, even while a thread still removes a server from the old ones."""
        removed = Path(tempfile.mkdtemp(prefix="removed-", dir=self.data_dir))
        for name in _FOLDERS:
            (self.data_dir / name).rename(removed / name)
        self._make_folders()
        shutil.rmtree(removed, ignore_errors=True)

    def _make_folders(self) -> None:
        for name in ("incoming", "deployments", "snapshots"):  # their contents do not outlive a run
            shutil.rmtree(self.data_dir / name, ignore_errors=True)
        for name in (*_FOLDERS, "snapshots"):
            (self.data_dir / name).mkdir(parents=True, exist_ok=True)

    def _data_science(self) -> DataScience:
        return DataScience(
            projects=Projects(self.catalog, self.work_requests),
            models=self.models,
            artifacts=Artifacts(self.catalog, self.data_dir / "artifacts"),
            version_sets=VersionSets(self.catalog, self.models, self.work_requests),
            deployments=Deployments(
                self.catalog,
                self.work_requests,
                self.timings,
                self.faults,
                self.url,
                self.rollouts.carry_out,
                self.offers,
            ),
            work_requests=self.work_requests,
        )
