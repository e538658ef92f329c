"""What is recorded of a version, and what differs between two."""

import pytest
from steps.factories import adopt, delete_stored, lose_ledger

from recdeploy_ops.domain.errors import MissingInputError
from recdeploy_ops.domain.version_differences import compare_facts
from recdeploy_ops.evaluation.version_facts import SECTIONS, read_facts


def facts(context, number):
    return read_facts(context.store, context.refresh(), number)


def test_every_section_of_a_release_is_read(context, two_versions):
    read = facts(context, 2)

    assert tuple(read) == SECTIONS
    assert read["Gates"]["user_coverage"].startswith("PASS, ")
    assert read["Gates"]["quality"] == "HOLD, not measured"
    assert read["Metrics"] == {"rmse": "0.9"}
    assert read["Data"] == {
        "interactions": "12",
        "users": "6",
        "items": "6",
        "newest interaction": "2026-11-15T10:00:00+00:00",
    }
    assert (read["Settings"]["param seed"], read["Settings"]["probes.known_users"]) == ("42", "6")
    assert read["Lists"]["Ranks held-out interactions"] == "not measured"


def test_only_what_differs_between_two_releases_is_left(context, run, released):
    released()
    run("run-2", shift=1, ocpus=4).release_fully()

    sections = {section["title"]: section for section in compare_facts(facts(context, 1), facts(context, 2))}

    changed = [row for row in sections["Settings"]["rows"] if row["name"] != "storage"]  # each test has its own
    assert changed == [{"name": "param ocpus", "one": "1", "other": "4"}]
    assert sections["Metrics"] == {"title": "Metrics", "rows": [], "equal": 1}
    assert "history_lost" in {row["name"] for row in sections["Gates"]["rows"]}  # nothing to compare the first with


def test_what_was_deleted_is_left_out(context, two_versions):
    before = facts(context, 1)
    release = context.refresh().releases["run-1"]
    for prefix in (release.opened.settings.key, "releases/run-1"):
        delete_stored(context, prefix)

    read = facts(context, 1)

    assert (read["Gates"], read["Lists"]) == ({}, {})
    assert read["Metrics"] == before["Metrics"]
    assert set(read["Settings"]) == {name for name in before["Settings"] if name.startswith("param ")}


def test_nothing_is_known_of_a_version_that_was_imported(context, released):
    released()
    found = lose_ledger(context)
    adopt(found)

    assert read_facts(found.store, found.refresh(), 1) == {section: {} for section in SECTIONS}


def test_a_version_that_does_not_exist_is_an_error(context, released):
    released()

    with pytest.raises(MissingInputError, match="no version 7"):
        facts(context, 7)
