"""The operator's CSV files have one reader: all that use it reject the same files in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from artifacts import ITEMS, LISTS, NEW_USERS, SETTINGS, write_inputs

import recdeploy_ops.training.recommendations
from recdeploy_ops.artifacts.artifact import build_artifact
from recdeploy_ops.domain.errors import TrainingFailedError
from recdeploy_ops.evaluation.lists import measure_lists
from recdeploy_ops.evaluation.probes import expect_answers
from recdeploy_ops.training.inputs import Inputs
from recdeploy_ops.training.outputs import verify_new_users, verify_outputs
from recdeploy_ops.training.recommendations import read_lists, read_new_users

if TYPE_CHECKING:
    from collections.abc import Callable

NOTEBOOK = Path(__file__).parents[2] / "include" / "notebook"
INPUTS = Inputs(pa.array([*LISTS, "full"]), pa.array(ITEMS), 1, {})
LAST_LINES = ["the last line"]


def check_outputs(results: Path, extract: Path) -> None:
    (results / "report.html").write_text("<html/>")
    verify_outputs(results, INPUTS, SETTINGS.source, LAST_LINES)


def check_new_users(results: Path, extract: Path) -> None:
    verify_new_users(results, INPUTS, SETTINGS.source, 3, LAST_LINES)


def measure(results: Path, extract: Path) -> None:
    measure_lists(results, extract, settings=SETTINGS, top_k=3, fallback=NEW_USERS)


def expect(results: Path, extract: Path) -> None:
    release: dict[str, Any] = {"version": 1, "digest": "d", "top_k": 3, "seed": 1}
    expect_answers(results, extract, settings=SETTINGS, fallback=NEW_USERS, **release)


def build(results: Path, extract: Path) -> None:
    build_artifact(results, extract, extract.parent / "artifact", settings=SETTINGS, version=1, top_k=3)


def help_notebook(results: Path, extract: Path) -> None:
    from recommender_new_user_fallback import build_new_user_fallback

    build_new_user_fallback(results, top_k=3)


def help_notebook_without_new_users(results: Path, extract: Path) -> None:
    (results / "new_users.csv").unlink()
    help_notebook(results, extract)


READERS_OF_LISTS = [check_outputs, measure, expect, build, help_notebook_without_new_users]
READERS_OF_NEW_USERS = [check_new_users, build, help_notebook]


@pytest.fixture(autouse=True)
def _notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(NOTEBOOK))


def damaged(folder: Path, name: str, content: str | bytes | None) -> tuple[Path, Path]:
    """Write sound inputs with one damaged file."""
    results, extract = write_inputs(folder)
    (results / name).unlink()
    if content is not None:
        (results / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return results, extract


NOT_FINITE = ["good", "", "nan", "NaN", "inf", "-inf", "1e999", "NA", "4,5", "0x10"]
HEADER = "user_id,product_id,rating\n"
DAMAGED_LISTS: dict[str, tuple[str | bytes | None, str]] = {
    "missing": (None, "recommendations.csv is missing: train again."),
    "empty": ("", "recommendations.csv cannot be read (Empty CSV file): train again."),
    "no rows": (HEADER, "recommendations.csv has no rows: train again."),
    "a short row": (HEADER + "u1,p2\n", "recommendations.csv cannot be read (CSV"),
    "a long row": (HEADER + "u1,p2,1,2\n", "recommendations.csv cannot be read (CSV"),
    "an open quote": (HEADER + 'u1,p2,1\n"u2,p3,1\n', "recommendations.csv cannot be read"),
    "not UTF-8": (HEADER.encode() + b"u\xff,p2,1\n", "recommendations.csv cannot be read"),
    "a header that is not UTF-8": (b"\xff\xfe\xff,product_id,rating\nu,p,1\n", "recommendations.csv cannot be read"),
}
for header in (
    "user_id,product_id,score",
    "user_id,product_id",
    "product_id,user_id,rating",
    "user_id,product_id,rating,rating",
    "user_id,product_id,rating,note",
    "USER_ID,product_id,rating",
):
    DAMAGED_LISTS[header] = (
        f"{header}\n{'x,' * header.count(',')}1\n",
        f"recommendations.csv has the columns {header.split(',')}, and must have ['user_id', 'product_id', 'rating']: "
        "train again.",
    )
for value in NOT_FINITE:
    DAMAGED_LISTS[f"rating {value}"] = (
        f'{HEADER}u1,p2,4.5\nu2,p3,"{value}"\nu3,p5,2.5\n',
        "recommendations.csv has a rating that is not a finite number in 1 rows "
        f"(first: 'u2', 'p3', {value!r}): lower training.learning_rate, or let interactions.sql scale the "
        "ratings down, and train again.",
    )
DAMAGED_NEW_USERS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "new_users.csv cannot be read (Empty CSV file): train again."),
    "no rows": ("product_id,rating\n", "new_users.csv has no rows: train again."),
    "a short row": ("product_id,rating\np1\n", "new_users.csv cannot be read (CSV"),
    "not UTF-8": (b"product_id,rating\np\xff,1\n", "new_users.csv cannot be read"),
}
for header in ("item,rating", "rating,product_id", "product_id", "product_id,rating,note"):
    DAMAGED_NEW_USERS[header] = (
        f"{header}\n{'x,' * header.count(',')}1\n",
        f"new_users.csv has the columns {header.split(',')}, and must have ['product_id', 'rating']: train",
    )
for value in NOT_FINITE:
    # Below the three rows that are needed.
    DAMAGED_NEW_USERS[f"rating {value}"] = (
        f'product_id,rating\np1,4\np2,3\np3,2\np4,"{value}"\n',
        f"new_users.csv has a rating that is not a finite number in 1 rows (first: 'p4', {value!r}): lower",
    )


@pytest.mark.parametrize("read", READERS_OF_LISTS)
@pytest.mark.parametrize("damage", DAMAGED_LISTS)
def test_damaged_recommendations_are_rejected_by_every_reader_in_the_same_words(
    read: Callable[[Path, Path], None], damage: str, tmp_path: Path
) -> None:
    content, error = DAMAGED_LISTS[damage]
    results, extract = damaged(tmp_path, "recommendations.csv", content)
    message = message_of(lambda: list(read_lists(results, SETTINGS.source, {})))
    assert message.startswith(error)
    assert message_of(lambda: read(results, extract)) == in_words_of(read, message)


@pytest.mark.parametrize("read", READERS_OF_NEW_USERS)
@pytest.mark.parametrize("damage", DAMAGED_NEW_USERS)
def test_a_damaged_list_for_new_users_is_rejected_by_every_reader_in_the_same_words(
    read: Callable[[Path, Path], None], damage: str, tmp_path: Path
) -> None:
    content, error = DAMAGED_NEW_USERS[damage]
    results, extract = damaged(tmp_path, "new_users.csv", content)
    message = message_of(lambda: read_new_users(results, SETTINGS.source))
    assert message.startswith(error)
    assert message_of(lambda: read(results, extract)) == in_words_of(read, message)


def message_of(read: Callable[[], Any]) -> str:
    with pytest.raises(TrainingFailedError) as caught:
        read()
    return str(caught.value)


def in_words_of(read: Callable[[Path, Path], None], error: str) -> str:
    """The check of the operator's outputs adds how the operator ended."""
    if read in {check_outputs, check_new_users}:
        return f"The ADS operator ended with exit code 0, but {error} Its last lines:\n  the last line"
    return error


def test_sound_files_are_accepted_by_every_reader(tmp_path: Path) -> None:
    for number, read in enumerate([*READERS_OF_LISTS, *READERS_OF_NEW_USERS]):
        read(*write_inputs(tmp_path / str(number)))


def test_all_bad_ratings_of_a_file_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recdeploy_ops.training.recommendations, "BLOCK_BYTES", 100)
    rows = [f"u{number},p1,{'nan' if number in {30, 31, 90} else number}\n" for number in range(100)]
    results, _ = damaged(tmp_path, "recommendations.csv", "user_id,product_id,rating\n" + "".join(rows))
    with pytest.raises(TrainingFailedError, match=r"in 3 rows \(first: 'u30', 'p1', 'nan'\)"):
        list(read_lists(results, SETTINGS.source, {}))


def test_space_around_a_rating_is_ignored(tmp_path: Path) -> None:
    results, _ = damaged(tmp_path, "new_users.csv", 'product_id,rating\n" p1 "," 4.5 "\np2,3\n')
    assert read_new_users(results, SETTINGS.source) == [(" p1 ", 4.5), ("p2", 3.0)]


def test_unknown_ids_are_counted_over_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recdeploy_ops.training.recommendations, "BLOCK_BYTES", 60)
    rows = "u1,p2,4.5\nghost,p2,3\nghost,p3,2\nu2,gone,4\nu3,p5,1\nu1,gone,0.5\n"
    results, extract = damaged(tmp_path, "recommendations.csv", "user_id,product_id,rating\n" + rows)
    with pytest.raises(TrainingFailedError, match=r"has 2 ids in user_id .*\(first: 'ghost', 'p2', 3.0\)"):
        check_outputs(results, extract)
    (results / "recommendations.csv").write_text("user_id,product_id,rating\n" + rows.replace("ghost", "full"))
    with pytest.raises(TrainingFailedError, match=r"has 2 ids in product_id .*\(first: 'u2', 'gone', 4.0\)"):
        check_outputs(results, extract)
