"""Settings and queries as editors save them, and the SQL that is taken for something else."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import pytest
from shops import write_queries

from recdeploy_ops.domain.errors import SettingsError, SourceDataError
from recdeploy_ops.domain.texts import decode_text
from recdeploy_ops.extraction.statements import escape_colons, read_query
from recdeploy_ops.settings import DEFAULT_PATH, load_settings

if TYPE_CHECKING:
    from pathlib import Path

QUERY = "-- Käufe\nSELECT user_id\nFROM users"
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
SAVED = {
    "UTF-8": QUERY.encode(),
    "UTF-8 with a mark": codecs.BOM_UTF8 + QUERY.encode(),
    "UTF-16": codecs.BOM_UTF16_LE + QUERY.encode("utf-16-le"),
    "UTF-16, big end first": codecs.BOM_UTF16_BE + QUERY.encode("utf-16-be"),
    "lines of Windows": QUERY.replace("\n", "\r\n").encode(),
    "lines of an old Mac": QUERY.replace("\n", "\r").encode(),
    "all of Windows": codecs.BOM_UTF16_LE + QUERY.replace("\n", "\r\n").encode("utf-16-le"),
}


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED)
def test_a_query_is_read_however_it_is_saved(tmp_path: Path, content: bytes) -> None:
    assert decode_text(content) == QUERY
    (tmp_path / "users.sql").write_bytes(content)
    assert read_query(tmp_path / "users.sql").text == QUERY


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED)
def test_settings_are_read_however_they_are_saved(tmp_path: Path, content: bytes) -> None:
    text = DEFAULT_PATH.read_text(encoding="utf-8").replace("schedule:", "# Käufe\nschedule:", 1)
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    mark = next((mark for mark, _ in MARKS if content.startswith(mark)), b"")
    end = "\r\n" if "\r\n".encode(encoding) in content else "\n"
    (tmp_path / "recommender.yaml").write_bytes(mark + text.replace("\n", end).encode(encoding))
    assert load_settings(tmp_path / "recommender.yaml").source == load_settings(DEFAULT_PATH).source


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (QUERY.encode("latin-1"), "line 1 has the byte 0xe4, which is not UTF-8: save the file as UTF-8"),
        (b"SELECT 1\n-- \xff", "line 2 has the byte 0xff"),
        (codecs.BOM_UTF16_LE + b"a", "line 1 has the byte 0x61, which is not UTF-16-LE"),
    ],
)
def test_a_file_that_is_no_text_is_named_with_the_line(tmp_path: Path, content: bytes, words: str) -> None:
    folder = write_queries(tmp_path)
    (folder / "users.sql").write_bytes(content)
    with pytest.raises(SourceDataError, match=rf"users\.sql: {words}"):
        read_query(folder / "users.sql")
    (tmp_path / "recommender.yaml").write_bytes(content)
    with pytest.raises(SettingsError, match=rf"recommender\.yaml .*{words}"):
        load_settings(tmp_path / "recommender.yaml")


@pytest.mark.parametrize(
    ("sql", "variables"),
    [
        ("SELECT tags[lo:hi] FROM t WHERE a = :since", {"since"}),
        ("SELECT tags[f(1):hi], m[a[1]:b] FROM t", set()),
        (r"SELECT E'it\'s :x' FROM t WHERE a=:since", {"since"}),
        ("SELECT $$a; :x$$, $body$;:y$$:z$body$ FROM t WHERE a IN (:since)", {"since"}),
        ("SELECT name FROM v$session WHERE a$b > :since AND c$$d < 1", {"since"}),
        ("SELECT LIKE'%:x' FROM t", set()),
        ("SELECT x::date, '12:30' FROM t WHERE a>:since", {"since"}),
        ("SELECT data:field FROM t", set()),
    ],
)
def test_other_colons_and_semicolons_have_no_meaning(tmp_path: Path, sql: str, variables: set[str]) -> None:
    import sqlalchemy

    (tmp_path / "q.sql").write_text(sql)
    query = read_query(tmp_path / "q.sql")
    assert query.variables == variables
    assert query.text == sql
    compiled = sqlalchemy.text(escape_colons(sql)).compile()
    assert set(compiled.params) == variables
    assert str(compiled) == sql


@pytest.mark.parametrize(
    ("written", "value"),
    [("2026-01-31", "2026-01-31"), ("'2026-01-31'", "2026-01-31"), ("2026-01-31 10:30:00", "2026-01-31 10:30:00")],
)
def test_a_date_without_quotes_is_its_text(tmp_path: Path, written: str, value: str) -> None:
    text = DEFAULT_PATH.read_text(encoding="utf-8")
    assert "since: null" in text
    (tmp_path / "recommender.yaml").write_text(text.replace("since: null", f"since: {written}"))
    assert load_settings(tmp_path / "recommender.yaml").source.parameters == {"since": value}
