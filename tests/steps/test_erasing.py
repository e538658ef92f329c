"""Erasing a customer: afterwards no byte of the storage names them, but for what production serves."""

import gzip
import io
import json
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from steps.factories import (
    USERS,
    answer_of,
    erase_user,
    event_types,
    find_faults,
    reopen,
    served,
    served_to_all,
    tidy_up,
)

from recdeploy_ops.domain.errors import CloudUnavailableError, LedgerConflictError, LockHeldError
from recdeploy_ops.domain.events import CustomerErased
from recdeploy_ops.domain.holdings import FolderKind
from recdeploy_ops.ledger.ledger import Ledger
from recdeploy_ops.oci_clients.tags import SERVED_TAG
from recdeploy_ops.rollout.holdings import find_folders
from recdeploy_ops.storage.bundles import open_bundle, store_bundle, verify_bundle, write_manifest
from recdeploy_ops.upkeep.erasing import erase
from recdeploy_ops.upkeep.traces import describe_customer, plan_erasure

USER = "A39HTATAQ9V7YF"


def plan_for(context, user=USER):
    context.refresh()
    return plan_erasure(context, describe_customer(context, user))


def texts_of(path):
    """Return everything that a stored file says: decoded, decompressed, unpacked."""
    content = path.read_bytes()
    yield content
    if content.startswith(b"PAR1"):
        yield str(pq.read_table(io.BytesIO(content)).to_pylist()).encode()
    elif content.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(path)) as database:
            yield str(database.execute("SELECT user_id FROM lists").fetchall()).encode()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content)


def files_with(folder, user=USER):
    """Return every file below a folder that has the id in any form of its bytes, by its path."""
    forms = [user.encode(), user.encode("utf-16-le"), json.dumps(user)[1:-1].encode()]
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and any(form in text for text in texts_of(path) for form in forms)
    )


@pytest.fixture
def storage(tmp_path):
    return tmp_path / "storage"


def plant(context):
    """Store the user everywhere else where a release could: trained models, reports and pages, a superseded extract."""
    prefix = context.state.releases["run-1"].run_id
    work = Path(context.settings.folder) / "planted"
    for kind in ("gate-models", "backtests"):
        folder = work / kind
        folder.mkdir(parents=True)
        (folder / "notes.json").write_text(json.dumps({"user": USER}))
        write_manifest(folder, {})
        store_bundle(context.store, context.of_run(prefix).prefix(kind), folder)
    reports = context.of_run(prefix).prefix("report")
    context.store.replace(f"{reports}/0123456789abcdef.html", f"<p>user &#x27;{USER}&#x27;</p><b>{USER}</b>".encode())
    context.store.replace(
        f"{reports}/0123456789abcdef.json", json.dumps({"first": [f"0{USER} got status 500"]}).encode()
    )
    folder = work / "superseded"
    folder.mkdir()
    (folder / "recommendations.csv").write_text(f"user_id,product_id,rating\n{USER},p-1,3.0\n")
    write_manifest(folder, {})
    store_bundle(context.store, context.of_run(prefix).prefix("results"), folder)


PLACES = [
    "releases/run-1-*/extract/*/interactions.parquet",
    "releases/run-1-*/extract/*/users.parquet",
    "releases/run-1-*/results/*/recommendations.csv",
    "releases/run-1-*/artifact/*/recommendations.sqlite",
    "releases/run-1-*/gate-models/*/notes.json",
    "releases/run-1-*/backtests/*/notes.json",
    "releases/run-1-*/report/0123456789abcdef.html",
    "releases/run-1-*/report/0123456789abcdef.json",
    "releases/run-2-*/extract/*/interactions.parquet",
    "releases/run-2-*/results/*/recommendations.csv",
    "releases/run-2-*/artifact/*/recommendations.sqlite",
    "backups/v1_*/results/recommendations.csv",
    "backups/v1_*/recommender_model_artifact/recommendations.sqlite",
    "releases/run-3-*/artifact/*/recommendations.sqlite",
    "backups/v2_*/recommender_model_artifact/recommendations.sqlite",
]


def test_afterwards_only_what_production_serves_names_the_customer(context, released, storage, run):
    released(3)
    plant(context)
    before = files_with(storage)
    for place in PLACES:
        assert any(Path(path).match(place) for path in before), place

    left = erase_user(context, USER)

    assert left.is_empty
    serving = Path(context.refresh().versions[3].artifact) / "recommendations.sqlite"
    assert files_with(storage) == [serving.as_posix()]
    assert find_faults(context) == []
    assert served_to_all(context) == {3}
    assert event_types(context, "erase") == ["customer_erased"]


def test_the_plan_says_what_serves_them_and_what_is_out_of_reach_and_changes_nothing(context, released, storage):
    released(2)
    before = files_with(storage)
    plan = plan_for(context)

    assert not plan.is_empty
    [serving] = plan.unreached
    assert "Production serves v2 with a list for them" in serving
    assert context.refresh().versions[2].model_id in serving
    assert files_with(storage) == before
    assert event_types(context, "erase") == []


def test_the_event_names_new_digests_and_not_the_customer(context, released):
    released(2)
    erase_user(context, USER)

    [entry] = [entry for entry in context.history() if isinstance(entry.event, CustomerErased)]
    assert USER not in entry.encode().decode()
    assert (entry.event.by, entry.event.reason) == ("ann", "request 7")
    for one in entry.event.rewritten:
        if not one.new_key.endswith((".json", ".html")):
            bundle = open_bundle(context.store, one.new_key, digest=one.new_sha256, made_by="test")
            verify_bundle(context.store, bundle)
        assert not any(context.store.list(f"{one.key}/"))


def test_the_other_customers_keep_their_rows_in_their_order(context, released):
    released(2)
    name = "recommendations.csv"
    former = context.store.read(f"{context.refresh().versions[1].results}/{name}").decode()
    erase_user(context, USER)
    present = context.store.read(f"{context.refresh().versions[1].results}/{name}").decode()

    assert present == "".join(line for line in former.splitlines(keepends=True) if not line.startswith(USER))
    [extract] = [f for f in find_folders(context) if f.kind is FolderKind.EXTRACT and f.run_id == "run-1"]
    facts = open_bundle(context.store, extract.prefix, made_by="test").facts
    assert facts["users"]["rows"] == len(USERS) - 1
    assert facts["interactions"]["rows"] == 2 * (len(USERS) - 1)


def test_production_can_go_back_to_an_erased_version_which_gives_them_the_list_for_new_users(context, released, run):
    released(2)
    former = context.refresh().versions[1]
    erase_user(context, USER)
    present = context.refresh().versions[1]

    assert present.digest != former.digest
    assert context.catalog.get(former.model_id).is_deleted
    assert SERVED_TAG in context.catalog.get(present.model_id).tags
    run("back").roll_back()
    assert answer_of(context, USER)["digest"] == present.digest
    assert answer_of(context, USER)["message"].startswith("Recommendations for new user")
    assert answer_of(context, USERS[0])["message"] == "Recommendations for known user"


def test_a_version_whose_model_oci_no_longer_knows_is_erased_all_the_same(context, released, emulator, storage):
    released(2)
    emulator.fail_next("GetModel", status=404, code="NotAuthorizedOrNotFound")
    erase_user(context, USER)

    assert emulator.faults() == []
    assert find_faults(context) == []
    assert context.catalog.get(context.refresh().versions[1].model_id).lifecycle_state == "ACTIVE"


def test_after_the_next_release_the_rest_is_erased_too(context, released, storage, run):
    released(2)
    erase_user(context, USER)
    run("run-3", shift=2).release_fully()  # the shop still has them: the source database is out of reach
    erase_user(context, USER)

    serving = Path(context.refresh().versions[3].artifact) / "recommendations.sqlite"
    assert files_with(storage) == [serving.as_posix()]
    assert find_faults(context) == []


def test_erasing_again_finds_nothing(context, released):
    released(2)
    erase_user(context, USER)
    seq = context.refresh().seq

    assert erase_user(context, USER).is_empty
    assert context.refresh().seq == seq


def test_the_next_release_and_housekeeping_work_on_what_was_stored_again(context, released, run):
    released(2)
    erase_user(context, USER)

    assert tidy_up(context) == {"left": []}
    run("run-3", shift=2).release_fully()
    assert served(context) == 3


def test_a_release_in_progress_is_not_disturbed(context, validated):
    validated(2)
    with pytest.raises(LockHeldError, match="has held the release lock"):
        plan_for(context)


def test_nothing_is_deleted_if_the_ledger_changed_since_the_plan(context, released, run, storage):
    released(2)
    before = files_with(storage)
    customer = describe_customer(context, USER)
    plan = plan_for(context)
    run("run-3", shift=2).plan()

    with pytest.raises(LedgerConflictError, match="Nothing was erased"):
        erase(context.of_run("erase"), customer, plan, by="ann", reason="request 7")
    assert set(before) <= set(files_with(storage))


@pytest.mark.parametrize("user", ["ユーザー7", "NaN", "1e5"])
def test_unusual_ids_are_erased(context, released, user):
    released(2)
    erase_user(context, user)
    plan = plan_for(context, user)

    assert plan.is_empty
    assert answer_of(context, user)["message"] == "Recommendations for known user", "production serves them still"


def test_an_id_that_nobody_has_changes_nothing(context, released):
    released(2)
    plan = plan_for(context, "nobody-of-that-name")

    assert plan.is_empty
    assert plan.unreached == ()


class KilledError(Exception):
    """The process was killed."""


class Dying:
    """A store whose process is killed at its nth change, before or after it."""

    def __init__(self, store, nth, *, before):
        self._store, self._left, self._before = store, nth, before

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if name not in {"create", "upload", "replace", "delete"}:
            return method

        def change(*arguments):
            self._left -= 1
            if self._left == 0 and self._before:
                raise KilledError
            result = method(*arguments)
            if self._left == 0:
                raise KilledError
            return result

        return change


@pytest.mark.more
def test_killed_at_any_change_of_the_storage_the_same_command_finishes(context, released, storage, keep_start):
    released(2)
    plant(context)
    begin = keep_start()
    counted = Dying(begin().store, 10**6, before=True)
    erase_user(replace(begin(), store=counted), USER)
    changes = 10**6 - counted._left
    expected = files_with(storage)
    assert changes > 40

    for nth in range(1, changes + 1, 7):
        began = begin()
        store = Dying(began.store, nth, before=nth % 2 == 0)
        killed = replace(began, store=store, ledger=Ledger(store, began.project, began.now))
        with pytest.raises(KilledError):
            erase_user(killed, USER)
        again = reopen(began)
        assert erase_user(again, USER).is_empty, nth
        assert files_with(storage) == expected, nth
        assert find_faults(again) == [], nth


@pytest.mark.more
def test_when_oci_does_not_answer_the_same_command_finishes(
    context, released, storage, keep_start, emulator, no_retries
):
    released(2)
    begin = keep_start()
    erase_user(begin(), USER)
    changing = [call["nth"] for call in emulator.calls() if call["method"] in {"POST", "PUT", "DELETE"}]
    expected = files_with(storage)
    assert len(changing) >= 4

    for nth in changing:
        for kind in ("drop_before", "drop_after"):
            began = begin()
            emulator.fail_at(nth, kind)
            with pytest.raises(CloudUnavailableError):
                erase_user(began, USER)
            again = reopen(began)
            assert erase_user(again, USER).is_empty
            assert files_with(storage) == expected
            models = [m for m in again.catalog.models() if not m.is_deleted]
            assert len(models) == 2, f"{kind} at call {nth}"
