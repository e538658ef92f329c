"""The types of events: one class each, stored exactly as it is declared."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
from events import (
    RETRAIN,
    ROLLBACK,
    SAMPLES,
    START,
    adopted,
    answered,
    chain,
    extracted,
    opened,
    opened_rollback,
    rehearsed,
    resized,
    serving,
    trained,
    version_of,
)

from recdeploy_ops.domain import events as domain_events
from recdeploy_ops.domain.codec import from_plain, to_plain
from recdeploy_ops.domain.entries import decode
from recdeploy_ops.domain.errors import IntegrityError, MissingInputError, SettingsError
from recdeploy_ops.domain.events import EVENTS, Event, EventType
from recdeploy_ops.domain.params import RetrainParams, RollbackParams, read_params
from recdeploy_ops.domain.records import Autoscaling
from recdeploy_ops.domain.replay import replay

ROOT = Path(__file__).parents[2]
SCALING = Autoscaling(2, 6, 2, "CPU_UTILIZATION", 30, 70, 600)
NESTED = (RETRAIN, ROLLBACK, opened().settings, version_of(), serving(), SCALING)
WITH_EVERY_VARIANT = (
    *SAMPLES,
    opened(params=replace(RETRAIN, session="s"), triggered_by=None, champion=7),
    opened(params=replace(RETRAIN, instance_shape=None, ocpus=None, memory_gb=None, instance_count=None)),
    opened(params=replace(RETRAIN, instance_count=None, autoscaling=SCALING)),
    resized(instance_shape=None, ocpus=None, memory_gb=None),
    resized(instance_count=None, autoscaling=SCALING),
    opened_rollback(params=ROLLBACK),
    opened_rollback(params=replace(ROLLBACK, version=3, reason="odd", session="s")),
    rehearsed(deployment_id="ocid-test", started=START),
    adopted(versions=(version_of(known_by_tags=True), version_of(2, unverified_backup="backups/v2_x"))),
)


def kind_of(record: object) -> str:
    return type(record).__name__


def declared() -> list[type[Event]]:
    """Return every class of a stored event: it has a type of its own."""
    stored, classes = [], [Event]
    while classes:
        kind = classes.pop()
        classes += kind.__subclasses__()
        stored += [kind] if "type" in vars(kind) else []
    return stored


def test_every_type_has_exactly_one_class() -> None:
    assert sorted(kind.type for kind in declared()) == sorted(EventType)
    assert all(kind.type is stored_as for stored_as, kind in EVENTS.items())
    assert set(EVENTS.values()) == set(declared())
    assert {kind.__name__ for kind in declared()} <= set(domain_events.__all__)


@pytest.mark.parametrize(("inputs", "is_imported"), [({"seed": 1}, False), ({"imported": True}, True)])
def test_a_model_knows_whether_it_was_imported(inputs: dict[str, Any], is_imported: bool) -> None:
    assert trained(inputs=inputs).is_imported is is_imported


def test_there_is_a_sample_of_every_type() -> None:
    assert [event.type for event in SAMPLES] == list(EVENTS)


@pytest.mark.parametrize("event", WITH_EVERY_VARIANT, ids=kind_of)
def test_an_event_survives_being_stored_and_gives_the_same_bytes(event: Event) -> None:
    entry = chain(event)[-1]
    stored = entry.encode()

    decoded = decode(stored)
    assert decoded == entry
    assert type(decoded.event) is type(event)
    assert decoded.encode() == stored


FIELDS = [
    pytest.param(record, field, id=f"{kind_of(record)}.{field.name}")
    for record in (*SAMPLES, *NESTED)
    for field in fields(record)
]
PLAIN = {
    "null": None,
    "true": True,
    "whole": 5,
    "fraction": 1.5,
    "text": "odd",
    "list of texts": ["odd"],
    "object of texts": {"odd": "odd"},
}
# The values that a field of a declared type accepts; a field of any other type accepts none of them.
ACCEPTED = {
    "None": {"null"},
    "bool": {"true"},
    "int": {"whole"},
    "float": {"whole", "fraction"},
    "str": {"text"},
    "FreeText": {"text"},
    "tuple[FreeText, ...]": {"list of texts"},
    "tuple[str, ...]": {"list of texts"},
    "Mapping[str, str]": {"object of texts"},
    "Mapping[str, Any]": {"object of texts"},
}


@pytest.mark.parametrize(("record", "field"), FIELDS)
def test_a_value_of_another_type_is_rejected_and_an_accepted_one_is_not_changed(record: Any, field: Field[Any]) -> None:
    """A bool is not a number, and a number is not a bool."""
    accepted = set()
    for name, value in PLAIN.items():
        with suppress(TypeError, ValueError):
            read = from_plain(type(record), to_plain(record) | {field.name: value})
            assert to_plain(read).get(field.name, field.default) == value
            accepted.add(name)
    assert accepted == set().union(*(ACCEPTED.get(name, set()) for name in str(field.type).split(" | ")))


@pytest.mark.parametrize(("record", "field"), FIELDS)
def test_a_missing_field_is_rejected_unless_it_has_a_default(record: Any, field: Field[Any]) -> None:
    plain = to_plain(record)
    plain.pop(field.name, None)

    if field.default is MISSING:
        with pytest.raises(ValueError, match=f"{kind_of(record)} lacks the field {field.name}$"):
            from_plain(type(record), plain)
    else:
        assert from_plain(type(record), plain) == replace(record, **{field.name: field.default})


@pytest.mark.parametrize("record", [*SAMPLES, *NESTED], ids=kind_of)
def test_an_undeclared_field_is_rejected(record: Any) -> None:
    with pytest.raises(ValueError, match=f"{kind_of(record)} has no field odd, surprise$"):
        from_plain(type(record), to_plain(record) | {"surprise": 1, "odd": 2})


@pytest.mark.parametrize("record", [*SAMPLES, *NESTED], ids=kind_of)
@pytest.mark.parametrize("value", [None, ["odd"], "odd", 5], ids=repr)
def test_a_value_that_is_not_an_object_is_rejected(record: Any, value: object) -> None:
    with pytest.raises(TypeError, match=rf"{kind_of(record)} is {re.escape(repr(value))}, not an object$"):
        from_plain(type(record), value)


WITHOUT_SEED = {name: value for name, value in to_plain(RETRAIN).items() if name != "seed"}


@pytest.mark.parametrize(
    ("event", "changes", "says"),
    [
        (opened(), {"champion": True}, "ReleaseOpened.champion is True.*not int"),
        (opened(), {"purpose": "promote"}, "ReleaseOpened.purpose is 'promote': 'promote' is not a valid Purpose"),
        (opened(), {"params": WITHOUT_SEED}, "ReleaseOpened.params is "),
        (opened(), {"params": to_plain(RETRAIN) | {"session": None}}, "Ledger entry 2 was edited"),
        (answered(), {"at": "yesterday"}, "ApprovalAnswered.at is 'yesterday': Invalid isoformat"),
        (trained(), {"digest": None}, "ModelTrained.digest is None, not str"),
        (trained(), {"digets": "d"}, "ModelTrained has no field digets"),
        (extracted(), {"rows": {"users": 1.5}}, r"DataExtracted.rows\[users\] is 1.5, not int"),
    ],
)
def test_bytes_without_exactly_the_declared_fields_are_not_an_entry(event: Event, changes: Any, says: str) -> None:
    stored = json.loads(chain(event)[-1].encode())
    stored["event"] |= changes
    content = json.dumps(stored, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    with pytest.raises(IntegrityError, match=says):
        decode(content)


@dataclass(frozen=True)
class Before:
    version: int


@dataclass(frozen=True)
class After:
    version: int
    added: str | None = None
    counted: int = 3


def test_a_field_at_its_default_is_not_stored_so_that_fields_can_be_added() -> None:
    old = to_plain(Before(1))

    assert from_plain(After, old) == After(1)
    assert to_plain(After(1)) == old
    assert to_plain(After(1, "x", 4)) == {"version": 1, "added": "x", "counted": 4}
    assert from_plain(After, to_plain(After(1, "x", 4))) == After(1, "x", 4)


@pytest.mark.parametrize("record", [*SAMPLES, *NESTED], ids=kind_of)
def test_no_event_stores_a_field_at_its_default(record: Any) -> None:
    defaults = {field.name: field.default for field in fields(record) if field.default is not MISSING}

    assert not set(to_plain(replace(record, **defaults))) & set(defaults)


def test_an_event_that_is_not_recorded_is_none_and_requiring_it_names_its_task() -> None:
    release = replay(chain(opened(), trained())).releases["run-1"]

    assert release.require(domain_events.ModelTrained) is release.get(domain_events.ModelTrained)
    for kind in set(declared()) - {domain_events.ReleaseOpened, domain_events.ModelTrained}:
        assert release.get(kind) is None
        with pytest.raises(MissingInputError, match=f"The run run-1 has no valid {kind.type}. .* task '{kind.task}'"):
            release.require(kind)


def test_params_are_read_from_airflows_values() -> None:
    declared_by_a_dag = {**to_plain(RETRAIN), "ocpus": 2, "apply": True}

    assert read_params(RetrainParams, declared_by_a_dag) == replace(RETRAIN, ocpus=2)
    assert read_params(RollbackParams, to_plain(ROLLBACK)) == ROLLBACK


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 1.5}, "RollbackParams.version is 1.5"),
        ({"require_approval": "yes"}, "RollbackParams.require_approval is 'yes'"),
    ],
)
def test_params_of_another_type_are_rejected(changes: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=f"The params of this run cannot be used: {says}.*Trigger it again"):
        read_params(RollbackParams, to_plain(ROLLBACK) | changes)
    with pytest.raises(SettingsError, match="RollbackParams lacks the field version"):
        read_params(RollbackParams, {})


SNIPPET = """
from recdeploy_ops.domain.events import ModelTrained
from recdeploy_ops.domain.ledger_state import Release


def right(release: Release) -> ModelTrained:
    trained = release.require(ModelTrained)
    return ModelTrained(prefix="p", digest="d", inputs={}, metrics=trained.metrics)


def misread(release: Release) -> object:
    return release.require(ModelTrained).metrcis  # here


def miswritten() -> ModelTrained:
    return ModelTrained(prefix="p", digest="d", inputs={}, metrcis={})  # here


def perhaps_none(release: Release) -> object:
    return release.get(ModelTrained).metrics  # here
"""


def test_mypy_finds_a_misspelt_field_of_an_event(tmp_path: Path) -> None:
    path = tmp_path / "snippet.py"
    path.write_text(SNIPPET, encoding="utf-8")
    arguments = ["--config-file", "pyproject.toml", "--no-error-summary", "--no-color-output", "--hide-error-context"]

    done = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments, "--cache-dir", str(tmp_path / "cache"), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    errors = [line.removeprefix(str(path)) for line in done.stdout.splitlines() if ": error: " in line]
    found = {int(line.split(":")[1]): line.partition(": error: ")[2] for line in reversed(errors)}
    expected = [number for number, line in enumerate(SNIPPET.splitlines(), start=1) if line.endswith("# here")]
    assert sorted(found) == expected, done.stdout + done.stderr
    assert 'has no attribute "metrcis"' in found[expected[0]]
    assert 'argument "metrcis"' in found[expected[1]]
    assert 'has no attribute "metrics"' in found[expected[2]]
