"""What plan_release finds before anything is spent: one row for each finding, with its remedy, and nothing recorded."""

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import oci
import pytest
from steps.conftest import open_session
from steps.factories import PARAMS, Run, deactivate_production, reopen, served

from recdeploy_ops import workspaces
from recdeploy_ops.domain.errors import (
    CloudRefusedError,
    RecdeployError,
    SettingsError,
    StateMismatchError,
    StorageError,
    TemporaryFolderError,
)
from recdeploy_ops.domain.records import Deployment
from recdeploy_ops.rollout import prerequisites
from recdeploy_ops.rollout.production import find_production

REFUSED = {"status": 404, "code": "NotAuthorizedOrNotFound", "times": None}
GROUP, OTHER = "ocid1.loggroup.oc1.iad.gone", "ocid1.log.oc1.iad.gone"
SHAPE = PARAMS["instance_shape"]
CORES = "some-core-count"
NO_LIMITS = "Not tried: service limits, as serving.service_limits names none."


class World:
    """A shop whose v1 serves, and what a row of the table changes in it."""

    def __init__(self, context, emulator, folder, monkeypatch):
        self.context, self.emulator, self.folder, self.monkeypatch = context, emulator, folder, monkeypatch

    @property
    def production(self) -> Deployment:
        return find_production(self.context)

    def refuse(self, operation: str) -> None:
        self.emulator.fail_next(operation, **REFUSED)

    def deactivate(self) -> None:
        deactivate_production(self.context, self.emulator)

    def set_serving(self, **changes: object) -> None:
        self.context = reopen(self.context, serving=self.context.settings.serving.model_copy(update=changes))

    def add_log_group(self) -> str:
        logging = self.context.catalog._session.logging
        details = oci.logging.models.CreateLogGroupDetails(
            compartment_id=self.emulator.compartment_id, display_name="shop"
        )
        logging.create_log_group(details)
        return str(logging.list_log_groups(self.emulator.compartment_id).data[0].id)

    def set_log(self) -> None:
        self.set_serving(log_group_id=self.add_log_group(), access_log_id=OTHER)

    def leave_of_limit(self, left: int) -> None:
        self.emulator.offer(limits={f"data-science/{CORES}": left})
        self.set_serving(service_limits=(CORES,))

    def name_missing_folder(self) -> None:
        self.monkeypatch.setenv("TMPDIR", str(self.folder / "nowhere"))

    def want_too_much(self) -> None:
        self.monkeypatch.setattr(prerequisites, "LEAST_FREE_BYTES", 1 << 62)

    def keep_objects(self) -> None:
        """Move the storage to a bucket with a retention rule."""
        name = "kept"
        session = open_session(self.fields)
        details = oci.object_storage.models.CreateBucketDetails(name=name, compartment_id=self.emulator.compartment_id)
        session.object_storage.create_bucket(self.emulator.namespace, details)
        rule = oci.object_storage.models.CreateRetentionRuleDetails(display_name="keep")
        session.object_storage.create_retention_rule(self.emulator.namespace, name, rule)
        self.context = reopen(self.context, storage=f"oci://{name}@{self.emulator.namespace}")


@dataclass(frozen=True)
class Finding:
    """A row: what is changed, the error, and its words, which begin with what was found and end with the remedy."""

    change: Callable[[World], object]
    error: type[RecdeployError]
    says: str


FINDINGS = {
    "production is INACTIVE": Finding(
        World.deactivate, StateMismatchError, r"is INACTIVE: it cannot be probed.*Bring it to ACTIVE in the OCI console"
    ),
    "production is in a state that OCI does not document": Finding(
        lambda world: (
            world.emulator.fail_next("UpdateModelDeployment", "unknown_state"),
            world.context.deployments.tag(world.production, {**world.production.tags, "a": "b"}),
            world.emulator.wait_until_idle(),
        ),
        StateMismatchError,
        r"is UNKNOWN_ENUM_VALUE: it cannot be probed.*Bring it to ACTIVE",
    ),
    "a shape that the region does not list": Finding(
        lambda world: world.emulator.offer(withdrawn_shapes=[SHAPE]),
        SettingsError,
        rf"does not list the shape {SHAPE}.*It lists VM\.Standard.*\(setting serving\.instance_shape\)",
    ),
    "too little of a service limit": Finding(
        lambda world: world.leave_of_limit(0),
        SettingsError,
        rf"0 is left of OCI's service limit or quota {CORES}, and the test deployment, 1 x .*, needs 1.*a higher",
    ),
    "no log group": Finding(
        lambda world: world.set_serving(log_group_id=GROUP),
        CloudRefusedError,
        rf"read the log group {GROUP}: 404.*Correct the OCID.*use log-groups.*\(setting serving\.log_group_id\)",
    ),
    "no log": Finding(
        World.set_log, CloudRefusedError, rf"read the log {OTHER} of .*404.*\(setting serving\.access_log_id\)"
    ),
    "no right to see work requests": Finding(
        lambda world: world.refuse("ListWorkRequests"),
        CloudRefusedError,
        r"list the work requests in the compartment.*404.*read data-science-work-requests",
    ),
    "no right to send requests": Finding(
        lambda world: world.refuse("Predict"),
        CloudRefusedError,
        r"/predict: OCI answered 404.*permission DATA_SCIENCE_MODEL_DEPLOYMENT_PREDICT",
    ),
    "no required tag": Finding(
        lambda world: world.emulator.offer(required_tags=["Finance.CostCentre"]),
        SettingsError,
        r"requires a value of CostCentre on each new resource.*below its tag namespace \(setting tags\.defined\)",
    ),
    "a retention rule": Finding(
        World.keep_objects,
        StorageError,
        r"403 RetentionRuleViolation.*A retention rule of the bucket forbids.*Remove the rule.*\(setting storage\)",
    ),
    "a bucket that cannot be written": Finding(
        lambda world: (
            world.keep_objects(),
            world.refuse("PutObject"),
        ),
        StorageError,
        r"write-check: 404.*a bucket that the OCI connection may write",
    ),
    "a temporary folder that is not there": Finding(
        World.name_missing_folder,
        TemporaryFolderError,
        r"The temporary folder .*nowhere cannot be written: No such file.*about 67,108,864 bytes.*variable TMPDIR",
    ),
    "a temporary folder that is too small": Finding(
        World.want_too_much,
        TemporaryFolderError,
        r"The temporary folder .* has [\d,]+ bytes free, and a release needs about 4,611,.*variable TMPDIR",
    ),
}


@pytest.fixture
def world(released, context, emulator, profile_fields, tmp_path, monkeypatch):
    released()
    world = World(context, emulator, tmp_path, monkeypatch)
    world.fields = profile_fields
    yield world
    emulator.clear_faults()


@pytest.mark.parametrize("finding", FINDINGS.values(), ids=FINDINGS)
def test_a_finding_is_named_with_its_remedy_before_anything_is_recorded(world, finding, tmp_path):
    before = world.context.ledger.entries()
    finding.change(world)

    with pytest.raises(finding.error, match=f"(?s){finding.says}"):
        Run(world.context, "run-2", tmp_path).plan()
    if world.context.settings.storage.startswith("file:"):
        assert world.context.ledger.entries() == before
    else:
        assert world.context.ledger.entries() == ()


def test_a_first_plan_without_findings_names_what_it_did_not_try(run):
    assert run("run-1").plan()["plan"] == [
        "Nothing is in production yet: this is a first release.",
        "This release makes v1.",
        "Not tried: the right to send requests to deployments, as nothing is in production.",
        NO_LIMITS,
    ]


def test_a_further_plan_sends_one_request_to_production(released, run, emulator):
    released()
    second = run("run-2").plan()["plan"]

    assert second[2:] == [NO_LIMITS]
    assert [call["status"] for call in emulator.calls("Predict")] == [200]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda world: world.refuse("ListModelDeploymentShapes"),
            f"Not tried: whether the region has the shape {SHAPE}",
        ),
        (
            lambda world: world.refuse("AssembleEffectiveTagSet"),
            "Not tried: whether the compartment requires tags: OCI",
        ),
        (lambda world: world.set_serving(service_limits=("other",)), "Not tried: the service limit other: OCI refused"),
        (
            lambda world: world.emulator.fail_next("Predict", status=503, times=None),
            "Not tried: the right to send requests to deployments, as production did not answer",
        ),
    ],
    ids=["shapes", "tags", "limit", "predict"],
)
def test_what_oci_does_not_answer_is_named_and_stops_nothing(world, change, says, tmp_path):
    change(world)
    planned = Run(world.context, "run-2", tmp_path).plan()["plan"]

    assert any(line.startswith(says) for line in planned), planned
    assert world.context.refresh().holder == "run-2"


def test_enough_of_a_limit_a_log_group_and_a_large_folder_are_no_findings(world, tmp_path):
    world.leave_of_limit(1)
    world.set_serving(log_group_id=world.add_log_group())
    planned = Run(world.context, "run-2", tmp_path).plan()["plan"]

    assert [line for line in planned if line.startswith("Not tried")] == []


def test_a_release_that_creates_no_deployment_needs_neither_shape_nor_limit(world, tmp_path):
    world.emulator.offer(withdrawn_shapes=[SHAPE])
    run = Run(world.context, "run-2", tmp_path, skip_test_deployment=True, instance_shape=None)

    assert run.plan()["version"] == 2


def test_production_that_oci_is_updating_or_that_needs_attention_does_not_stop_a_plan(world, tmp_path):
    world.emulator.fail_next("UpdateModelDeployment", "needs_attention")
    world.context.deployments.tag(world.production, {**world.production.tags, "a": "b"})
    world.emulator.wait_until_idle()

    planned = Run(world.context, "run-2", tmp_path).plan()["plan"]
    assert "OCI has production in NEEDS_ATTENTION." in planned


ROLLBACK_IGNORES = [
    "AssembleEffectiveTagSet",
    "GetProject",
    "ListModelDeploymentShapes",
    "GetLogGroup",
    "GetResourceAvailability",
]


@pytest.mark.parametrize("operation", ROLLBACK_IGNORES)
def test_a_rollback_does_not_need_what_only_a_release_needs(two_versions, run, context, emulator, operation):
    emulator.fail_next(operation, **REFUSED)
    run("back").roll_back()

    assert context.refresh().production.version == served(context) == 1


def test_a_rollback_succeeds_in_a_bucket_with_a_retention_rule(
    context, make_bucket, emulator, tmp_path, profile_fields
):
    context = reopen(context, storage=f"{make_bucket()}/x")
    for number in (1, 2):
        Run(context, f"run-{number}", tmp_path, shift=number - 1).release_fully()
    rule = oci.object_storage.models.CreateRetentionRuleDetails(display_name="keep")
    open_session(profile_fields).object_storage.create_retention_rule(emulator.namespace, "shop", rule)

    Run(context, "back", tmp_path).roll_back()
    assert context.refresh().production.version == served(context) == 1
    assert context.state.holder is None


def test_a_full_temporary_folder_is_named_by_the_step_that_fills_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fill(error):
        with workspaces.workspace():
            raise error

    with pytest.raises(TemporaryFolderError, match=rf"{tmp_path} cannot be written: No space.*TMPDIR"):
        fill(OSError(28, "No space left on device"))
    for other in (PermissionError(13, "Permission denied"), OSError(28, "No space left on device", "/elsewhere/x")):
        with pytest.raises(type(other), match=other.strerror):
            fill(other)


def test_a_database_that_fills_the_temporary_folder_names_it_too():
    def fill():
        with workspaces.workspace() as folder, closing(sqlite3.connect(folder / "full.sqlite")) as connection:
            connection.execute("PRAGMA max_page_count = 2")
            connection.execute("CREATE TABLE lists (list BLOB)")
            connection.execute("INSERT INTO lists VALUES (zeroblob(100000))")

    with pytest.raises(TemporaryFolderError, match=r"cannot be written: database or disk is full.*TMPDIR"):
        fill()
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(sqlite3.OperationalError, match="no such table"),
        workspaces.workspace(),
    ):
        connection.execute("SELECT * FROM lists")


def test_a_temporary_folder_that_cannot_be_made_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    with (
        pytest.raises(TemporaryFolderError, match="cannot be written: No such file or directory"),
        workspaces.workspace(),
    ):
        pass


def test_the_wanted_bytes_follow_what_the_champion_has_stored(world, monkeypatch):
    monkeypatch.setattr(prerequisites, "LEAST_FREE_BYTES", 0)
    context = replace(world.context)
    context.refresh()
    stored = [found.size for found in context.store.list("releases/") if "/run-1-" in f"/{found.key.split('/')[1]}"]

    assert prerequisites._wanted_bytes(context) == 2 * sum(stored) > 0
