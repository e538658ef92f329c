"""Two versions side by side: only what differs."""

from __future__ import annotations

from recdeploy_ops.domain.version_differences import ABSENT, compare_facts, flatten


def test_only_what_differs_is_shown_in_the_order_of_the_first() -> None:
    one = {"Metrics": {"rmse": "0.9", "mae": "0.7", "gone": "1"}, "Data": {}}
    other = {"Metrics": {"mae": "0.7", "rmse": "0.8", "new": "2"}, "Lists": {"length": "10"}}

    assert compare_facts(one, other) == [
        {
            "title": "Metrics",
            "rows": [
                {"name": "rmse", "one": "0.9", "other": "0.8"},
                {"name": "gone", "one": "1", "other": ABSENT},
                {"name": "new", "one": ABSENT, "other": "2"},
            ],
            "equal": 1,
        },
        {"title": "Data", "rows": [], "equal": 0},
        {"title": "Lists", "rows": [{"name": "length", "one": ABSENT, "other": "10"}], "equal": 0},
    ]


def test_nested_settings_have_dotted_names() -> None:
    assert flatten({"training": {"top_k": 10, "size": {}}, "storage": None, "ids": ["a"]}) == {
        "training.top_k": "10",
        "training.size": "{}",
        "storage": "none",
        "ids": "['a']",
    }
