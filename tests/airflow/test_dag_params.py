"""The params of the DAGs: what the form asks for, their limits, and the settings that they begin with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.sdk.exceptions import ParamValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


def test_the_form_asks_for_what_the_manual_promises(dag: Any) -> None:
    assert set(dag.params) == {
        "top_k",
        "seed",
        "instance_shape",
        "ocpus",
        "memory_gb",
        "instance_count",
        "skip_test_deployment",
        "approval_timeout_hours",
        "accept_change",
    }
    assert all(dag.params.get_param(name).schema.get("title") for name in dag.params)
    assert dag.params["skip_test_deployment"] is False


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("top_k", [1, 1000], [0, 1001, "10", 1.5, None]),
        ("seed", [0, 2**32 - 1], [-1, 2**32, "42", None]),
        ("instance_shape", ["VM.Standard2.1", "BM.GPU4.8", None], ["", "Standard2.1", "VM.x y", "VM.x\n"]),
        ("ocpus", [0.5, 114, None], [0, -1, 115, "1"]),
        ("memory_gb", [1, 1760, None], [0, 1761, "16"]),
        ("instance_count", [1, 100, None], [0, 101, 1.5]),
        ("skip_test_deployment", [True, False], ["yes", 1, None]),
        ("approval_timeout_hours", [0.01, 720], [0, -1, 721, "72", None]),
        ("accept_change", [None, "a new catalogue"], [1, True, "x" * 2001]),
    ],
)
def test_a_param_out_of_range_is_refused_with_its_name(dag: Any, name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert validated(dag, name, value) == value
    for value in bad:
        with pytest.raises(ParamValidationError, match=name):
            validated(dag, name, value)


@pytest.mark.parametrize("name", ["instance_shape", "ocpus", "memory_gb", "instance_count"])
def test_the_form_and_the_manual_say_when_production_is_resized(dag: Any, name: str) -> None:
    said = dag.params.get_param(name).schema["description_md"]

    assert "Empty: production keeps its size" in said
    assert "for production: the approver sees it" in said
    assert "which is resized after the switch" in dag.doc_md
    assert dag.params[name] is None


def test_a_rollback_goes_to_a_number_its_text_or_previous(
    load_dag: Callable[..., Any], committed_settings: None
) -> None:
    dag = load_dag("recommender_rollback")

    assert dag.params["version"] == "previous"
    for value in (1, 3, 12, "1", "12", "previous"):
        assert validated(dag, "version", value) == value
    for value in (0, -1, 1.5, True, None, "", "0", "03", "v3", "3 ", "3\n", "previous\n", "Previous", [3]):
        with pytest.raises(ParamValidationError, match="version"):
            validated(dag, "version", value)


def test_a_freeze_needs_a_reason(load_dag: Callable[..., Any], committed_settings: None) -> None:
    dag = load_dag("recommender_freeze")
    given = copy.deepcopy(dag.params)

    with pytest.raises(ParamValidationError, match="reason"):
        given.validate()
    given.update({"reason": "Black Friday"})
    assert given.validate() == {"freeze": True, "reason": "Black Friday"}
    for value in ("yes", 1, None):
        with pytest.raises(ParamValidationError, match="freeze"):
            validated(dag, "freeze", value)
    assert "**When it runs.**" in dag.doc_md
    assert "**When it fails.**" in dag.doc_md


def validated(dag: Any, name: str, value: Any) -> Any:
    params = copy.deepcopy(dag.params)
    params.update({name: value})
    return params.validate()[name]


def test_the_form_begins_with_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load_dag: Callable[..., Any]
) -> None:
    values = _settings()
    values["schedule"] = None
    values["training"] |= {"top_k": 7, "seed": 8}
    values["serving"] |= {"instance_shape": "VM.Standard2.1", "ocpus": 3, "memory_gb": 48, "instance_count": 2}
    values["release"]["approval_timeout_hours"] = 5
    _use(tmp_path, monkeypatch, yaml.safe_dump(values))

    dag = load_dag()

    assert dag.schedule is None
    assert dict(dag.params) == {
        "top_k": 7,
        "seed": 8,
        "instance_shape": "VM.Standard2.1",
        "ocpus": 3,
        "memory_gb": 48,
        "instance_count": 2,
        "skip_test_deployment": False,
        "approval_timeout_hours": 5,
        "accept_change": None,
    }


@pytest.mark.parametrize("approve", [False, True])
def test_whether_a_rollback_asks_may_be_settled_by_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load_dag: Callable[..., Any], approve: bool
) -> None:
    values = _settings()
    values["release"]["approve_rollbacks"] = approve
    _use(tmp_path, monkeypatch, yaml.safe_dump(values))

    dag = load_dag("recommender_rollback")

    assert dag.params["require_approval"] is approve
    assert validated(dag, "require_approval", True) is True
    if approve:
        with pytest.raises(ParamValidationError, match="require_approval"):
            validated(dag, "require_approval", False)
    else:
        assert validated(dag, "require_approval", False) is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values["training"].update(top_k=0), "training.top_k"),
        (lambda values: values["training"].update(topk=10), "training.topk is not a setting"),
        (lambda values: values.pop("project_name"), "project_name"),
        (lambda values: values.update(storage="s3://bucket/x"), "neither file:///folder nor oci://"),
        (lambda values: values["serving"]["conda_environment"].pop("path"), "serving.conda_environment.path"),
    ],
)
def test_a_wrong_setting_is_named_where_airflow_shows_import_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    values = _settings()
    change(values)
    file = _use(tmp_path, monkeypatch, yaml.safe_dump(values))

    error = _import_error()

    assert "SettingsError" in error
    assert str(file) in error
    assert said in error


@pytest.mark.parametrize(("text", "said"), [("a: [", "is not valid YAML"), ("- a", "must be a mapping")])
def test_a_settings_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    file = _use(tmp_path, monkeypatch, text)

    assert f"{file} {said}" in _import_error()


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECDEPLOY_SETTINGS", str(tmp_path / "none.yaml"))

    assert f"Cannot read the settings file {tmp_path / 'none.yaml'}: No such file" in _import_error()


def _settings() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "include" / "recommender.yaml").read_text(encoding="utf-8"))
    return values


def _use(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    file = folder / "recommender.yaml"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("RECDEPLOY_SETTINGS", str(file))
    return file


def _import_error() -> str:
    from airflow.dag_processing.dagbag import DagBag

    file = ROOT / "dags" / "recommender_retrain.py"
    bag = DagBag(dag_folder=file, bundle_path=ROOT / "dags", bundle_name="x")
    assert not bag.dags
    [error] = bag.import_errors.values()
    return str(error)
