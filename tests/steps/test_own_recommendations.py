"""Recommendations that a person's own code has made: from a CSV file through the same artifact and gates."""

from __future__ import annotations

import csv

import pandas as pd
import pytest
from shops import source_of
from steps.factories import PRODUCTS, USERS, served_to_all, shop

from recdeploy_ops.domain.errors import CellOrderError, GateFailedError, SettingsError
from recdeploy_ops.domain.events import DataChecked, ModelTrained
from recdeploy_ops.domain.gates.verdicts import Verdict

HEADER = ("user_id", "product_id", "score")


def lists_of(length=2, users=USERS):
    """Return lists of products that their users have not rated, the best last."""
    return [
        (user, PRODUCTS[(number + 2 + rank) % len(PRODUCTS)], 1.0 + rank)
        for number, user in enumerate(users)
        for rank in range(length)
    ]


@pytest.fixture
def write(tmp_path):
    def write(rows=None, header=HEADER, name="recommendations.csv", **how):
        path = tmp_path / name
        with path.open("w", newline="", **{"encoding": "utf-8-sig", **how}) as stream:
            csv.writer(stream).writerows([header, *(lists_of() if rows is None else rows)])
        return path

    return write


def release(manager, counts):
    model, version = manager.build_artifact(), manager.get_next_version()
    model_id = manager.save_new_model(model, version, counts["users"], counts["items"])
    test = manager.deploy_model(model, model_id, version)
    evidence = manager.validate_test()
    assert manager.promote_to_production()["version"] == version
    return test, evidence


@pytest.mark.parametrize("has_data", [True, False])
def test_they_are_released_like_a_trained_model(manager, write, tmp_path, has_data):
    manager.backup_current_artifacts()
    if has_data:
        manager.extract_data(source_of(shop(tmp_path)))

    counts = manager.take_recommendations(write())

    assert counts == {"users": 6, "items": 6, "rows": 12}
    lines = (manager.results_dir / "recommendations.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["user_id,product_id,rating", '0205616461,"p,4",2.0']  # the best first
    _, evidence = release(manager, counts)
    assert ("without the data" in evidence) is not has_data
    done = manager._session.newest()
    assert (done.require(DataChecked).verdict is Verdict.HOLD) is True
    assert done.require(ModelTrained).is_imported is not has_data
    assert served_to_all(manager.context) == {1}
    with pytest.raises(CellOrderError):
        manager.build_artifact()


def test_a_table_in_memory_is_taken_like_a_file(manager, write):
    table = pd.read_csv(write(), dtype={"user_id": str}, keep_default_na=False)
    counts = manager.take_recommendations(table)
    from_table = (manager.results_dir / "recommendations.csv").read_bytes()

    assert manager.take_recommendations(write()) == counts
    assert (manager.results_dir / "recommendations.csv").read_bytes() == from_table


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ([1.0, 2.0], "The column user_id has floating-point numbers"),
        (["u", None], r"1 rows of the table have no user_id \(first: row 3"),
    ],
)
def test_a_table_without_usable_ids_is_refused(manager, column, says):
    table = pd.DataFrame({"user_id": column, "product_id": [1, 2], "rating": [1, 2]})

    with pytest.raises(SettingsError, match=says):
        manager.take_recommendations(table)


def test_without_a_first_cell_they_take_the_lock(manager, write):
    counts = manager.take_recommendations(write())

    assert manager._session.own() is not None
    assert manager.build_artifact().is_dir()
    manager.take_recommendations(write())  # again
    release(manager, counts)


def test_a_list_for_new_users_is_theirs(manager, write):
    new_users = write([("p-2", 9.0), ("p-1", 9.5)], ("product_id", "rating"), "new_users.csv")
    counts = manager.take_recommendations(write(), new_user_csv_path=new_users)
    manager.build_artifact()

    test, _ = release(manager, counts)

    answer = test.predict({"user_id": "nobody"})
    assert [row["product_id"] for row in answer["recommendations"]] == ["p-2", "p-1"]


def test_longer_lists_are_cut(manager, write, caplog):
    counts = manager.take_recommendations(write(lists_of(4)), top_k=2)

    assert counts["rows"] == 12
    assert "Lists longer than 2 are cut: 12 of 24 rows are left." in caplog.text
    assert manager._session.own().retrain_params.top_k == 2
    manager.take_recommendations(write(lists_of(4)))
    assert manager._session.own().retrain_params.top_k == 4


def test_the_gates_judge_them_against_the_data(manager, write, tmp_path):
    manager.extract_data(source_of(shop(tmp_path)))
    manager.take_recommendations(write([(*row[:1], "p-unknown", row[2]) for row in lists_of(1)]))
    model = manager.build_artifact()

    with pytest.raises(GateFailedError, match="p-unknown"):
        manager.save_new_model(model, 1, 6, 6)


@pytest.mark.parametrize(
    ("rows", "header", "says"),
    [
        ([], HEADER, r"has no rows; its columns are 'user_id', 'product_id', 'score'"),
        (
            None,
            ("user", "product_id", "score"),
            r"lacks user_id; its columns are 'user', 'product_id', 'score'.*to_csv",
        ),
        (None, ("user_id", "product_id", "points"), r"lacks rating.*or score for the last one"),
        (
            [("u", "p", "many")],
            HEADER,
            r"1 rows of .* have a rating that is not a finite number \(first: row 2: 'u', 'p'",
        ),
        ([("u", "p", "nan"), ("u", "q", "inf")], HEADER, "2 rows .* not a finite number"),
        ([("u", "p", 1), (" ", "p", 1)], HEADER, r"1 rows .* have no user_id \(first: row 3"),
        ([("u", "", 1)], HEADER, "have no product_id"),
        ([("u" * 1025, "p", 1)], HEADER, "have a user_id of more than 1,024 characters"),
        (
            [("u", "p", 1), ("v", "p", 1), ("u", "p", 2)],
            HEADER,
            r"1 rows .* repeat a product in one user's list \(first: row 4",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_before_the_lock_is_taken(manager, write, rows, header, says):
    with pytest.raises(SettingsError, match=says):
        manager.take_recommendations(write(rows, header))
    assert manager.context.refresh().holder is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        (b"", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b'a,b\n"x', "cannot be read"),
    ],
)
def test_what_is_not_a_csv_file_is_refused(manager, tmp_path, content, says):
    path = tmp_path / "recommendations.csv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingsError, match=says):
        manager.take_recommendations(path)


@pytest.mark.parametrize("top_k", [1001, -1])
def test_a_length_that_the_settings_would_refuse_is_refused(manager, write, top_k):
    with pytest.raises(SettingsError, match="top_k cannot be used"):
        manager.take_recommendations(write(), top_k=top_k)


def test_ratings_without_number_are_not_assumed(manager, write, monkeypatch):
    from recdeploy_ops.deployment_manager import assumed_extracts

    monkeypatch.setattr(assumed_extracts, "MAX_ASSUMED", 3)
    with pytest.raises(SettingsError, match=r"Too many users have fewer than 5 recommendations.*Cell 5"):
        manager.take_recommendations(write(), top_k=5)


@pytest.mark.parametrize("folder", ["artifact_dir", "results_dir"])
def test_a_folder_with_other_files_is_refused_before_the_lock_is_taken(manager, folder):
    path = getattr(manager, folder)
    path.mkdir(parents=True)
    (path / "recommender_model.pkl").touch()

    with pytest.raises(SettingsError, match=r"contains recommender_model\.pkl, which recdeploy did not write"):
        manager.backup_current_artifacts()
    assert manager.context.refresh().holder is None
