"""Events on the way from the shop's data to an answered approval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from recdeploy_ops.domain.codec import FreeText
from recdeploy_ops.domain.events.base import Event, EventType
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.domain.records import Decision


@dataclass(frozen=True)
class StoredEvent(Event):
    """A folder was stored: its key prefix, and the sha256 of its manifest."""

    prefix: str
    digest: str


@dataclass(frozen=True)
class DataExtracted(StoredEvent):
    """The shop's data was extracted.

    Attributes:
        rows: number of rows by table.
        newest_interaction: ISO 8601; None if interactions have no time.
    """

    type: ClassVar = EventType.DATA_EXTRACTED
    task: ClassVar = "extract"

    rows: Mapping[str, int]
    newest_interaction: str | None


@dataclass(frozen=True)
class GateEvent(Event):
    """A gate was run.

    Attributes:
        verdict: the worst of its findings.
        report: storage key of the findings.
        sha256: of that report, in hex.
    """

    verdict: Verdict
    report: str
    sha256: str


@dataclass(frozen=True)
class DataChecked(GateEvent):
    """The gate over the extract."""

    type: ClassVar = EventType.DATA_CHECKED
    task: ClassVar = "check_data"


@dataclass(frozen=True)
class ModelTrained(StoredEvent):
    """The ADS operator has trained, or a model was imported.

    Attributes:
        inputs: what determines the model: ``extract``, ``top_k``, ``seed``, ``model``; `IMPORTED` for an imported one.
        metrics: as in ``metrics.json``.
    """

    type: ClassVar = EventType.MODEL_TRAINED
    task: ClassVar = "run_ads_operator"
    IMPORTED: ClassVar = "imported"

    inputs: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def is_imported(self) -> bool:
        """Return whether the model was imported, and its data are unknown."""
        return self.IMPORTED in self.inputs


@dataclass(frozen=True)
class ArtifactBuilt(StoredEvent):
    """The artifact of a version was built."""

    type: ClassVar = EventType.ARTIFACT_BUILT
    task: ClassVar = "build_artifact"

    version: int


@dataclass(frozen=True)
class CandidateChecked(GateEvent):
    """The gate over the candidate's lists and the artifact's behaviour."""

    type: ClassVar = EventType.CANDIDATE_CHECKED
    task: ClassVar = "check_candidate"


@dataclass(frozen=True)
class GateModelsTrained(StoredEvent):
    """The models that the candidate is compared with were trained.

    Attributes:
        inputs: what determines them: those of the candidate and of the champion, and how the backtest is made.
    """

    type: ClassVar = EventType.GATE_MODELS_TRAINED
    task: ClassVar = "evaluate_candidate"

    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class ChampionBacktested(StoredEvent):
    """The champion's side of a backtest was trained, for every candidate that will be compared with it.

    Housekeeping records it without a release, or a release that needed it.

    Attributes:
        version: the champion.
        inputs: what determines its side: its extract, recipe and seed, and how the backtest is made.
    """

    type: ClassVar = EventType.CHAMPION_BACKTESTED
    task: ClassVar = "evaluate_candidate"

    version: int
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class CandidateEvaluated(GateEvent):
    """The gates over how good the candidate's lists are."""

    type: ClassVar = EventType.CANDIDATE_EVALUATED
    task: ClassVar = "evaluate_candidate"


@dataclass(frozen=True)
class ModelRegistered(Event):
    """The artifact is in the Model Catalog.

    Attributes:
        model_id: OCID of the catalog model.
        version: the version number.
        digest: of the artifact.
        artifact: storage prefix of the artifact.
        results: storage prefix of the training results.
    """

    type: ClassVar = EventType.MODEL_REGISTERED
    task: ClassVar = "register_model"

    model_id: str
    version: int
    digest: str
    artifact: str
    results: str


@dataclass(frozen=True)
class TestDeployed(Event):
    """The test deployment is ACTIVE, or was skipped: then all fields are None.

    Attributes:
        deployment_id: OCID.
        url: where it answers, without ``/predict``.
        lease: when its lease ends, ISO 8601; housekeeping leaves it alone until then.
    """

    type: ClassVar = EventType.TEST_DEPLOYED
    task: ClassVar = "deploy_test"

    deployment_id: str | None
    url: str | None
    lease: str | None


@dataclass(frozen=True)
class TestValidated(GateEvent):
    """The gate over the answers of the test deployment."""

    type: ClassVar = EventType.TEST_VALIDATED
    task: ClassVar = "validate_test"


@dataclass(frozen=True)
class ApprovalRequested(Event):
    """A person was asked.

    Attributes:
        attempt: Airflow's try number: an answer to an earlier one does not count.
        version: to promote, or to roll back to.
        digest: its digest.
        parts: everything that the answer rests on, by name.
        fingerprint: sha256 over the parts, in hex.
        verdict: of the report; None for a rollback.
    """

    type: ClassVar = EventType.APPROVAL_REQUESTED
    task: ClassVar = "request_approval"

    attempt: int
    version: int
    digest: str
    parts: Mapping[str, str]
    fingerprint: str
    verdict: Verdict | None = None


@dataclass(frozen=True)
class ApprovalAnswered(Event):
    """A person has answered, or nobody did in time.

    Attributes:
        decision: the answer.
        by: who answered.
        at: when, UTC.
        comment: the comment to it.
        timed_out: whether nobody answered in time.
        attempt: of the question.
        version: of the question.
        digest: of the question.
        fingerprint: of the question.
    """

    type: ClassVar = EventType.APPROVAL_ANSWERED
    task: ClassVar = "request_approval"

    decision: Decision
    by: FreeText
    at: datetime
    comment: FreeText
    timed_out: bool
    attempt: int
    version: int
    digest: str
    fingerprint: str
