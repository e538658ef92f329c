"""A shop that has orders only, as the guide's authors have it, with the edits that README names; from SQLite."""

from __future__ import annotations

import guide_shops
import pyarrow.parquet as pq
import pytest
from shops import extract
from shops import source_of as open_file
from steps.factories import answer_of

from recdeploy_ops.domain.gates.data import judge_data
from recdeploy_ops.domain.gates.verdicts import Verdict
from recdeploy_ops.evaluation.extracts import measure_data


@pytest.fixture
def orders(settings, tmp_path):
    """The shop's file; the queries of the settings are edited for it."""
    guide_shops.edit_queries(settings.sql_folder)
    guide_shops.fill_orders(f"sqlite:///{tmp_path / 'shop.db'}")
    return tmp_path / "shop.db"


def judge(folder, settings, facts, now):
    findings = judge_data(measure_data(folder, settings, facts), settings.gates, now).findings
    return {finding.gate: finding for finding in findings}


def test_a_table_of_orders_needs_one_query_and_passes_the_data_gate(orders, settings, context, tmp_path):
    lines = guide_shops.make_lines()
    rated = {(line["customer_no"], line["article_no"]): line for line in lines if line["stars"]}
    number_rated = sum(line["stars"] is not None for line in lines)
    assert number_rated < 0.35 * len(lines)
    assert len(rated) < number_rated  # some of them are of the same article

    facts = extract(tmp_path / "out", open_file(orders), sql_folder=settings.sql_folder)

    interactions = pq.read_table(tmp_path / "out" / "interactions.parquet").to_pylist()
    assert {(row["user_id"], row["product_id"]): row["rating"] for row in interactions} == {
        (str(customer), article): float(line["stars"]) for (customer, article), line in rated.items()
    }
    assert facts["interactions"]["rows"] == len(interactions) == len(rated)
    assert facts["interactions"]["merged"] == number_rated - len(rated)
    assert facts["users"]["rows"] == len({customer for customer, _ in rated})
    assert facts["items"]["rows"] == guide_shops.ARTICLES
    findings = judge(tmp_path / "out", settings, facts, context.now())
    assert {finding.verdict for finding in findings.values()} == {Verdict.PASS}
    assert f"after {number_rated - len(rated):,} more were merged" in findings["unique_interactions"].message


def test_profiles_and_titles_are_read_from_the_order_lines(orders, settings, context, tmp_path):
    folder = guide_shops.edit_queries(settings.sql_folder, with_profile=True)

    facts = extract(tmp_path / "out", open_file(orders), sql_folder=folder, segment_column="country")

    users, items = (pq.read_table(tmp_path / "out" / f"{name}.parquet").to_pylist() for name in ("users", "items"))
    countries = guide_shops.COUNTRIES
    assert {user["country"] == countries[int(user["user_id"]) % len(countries)] for user in users} == {True}
    assert {item["title"] == f"Article {int(item['product_id'])}" for item in items} == {True}
    assert {user["user_id"] for user in users}.isdisjoint(map(str, guide_shops.NEVER_RATES))
    findings = judge(tmp_path / "out", settings, facts, context.now())
    assert {finding.verdict for finding in findings.values()} == {Verdict.PASS}


def test_all_orders_without_the_filter_are_refused_with_the_remedy(orders, settings, context, tmp_path):
    query = settings.sql_folder / "interactions.sql"
    query.write_text(query.read_text().replace("stars IS NOT NULL AND ", ""))

    facts = extract(tmp_path / "out", open_file(orders), sql_folder=settings.sql_folder)

    refused = judge(tmp_path / "out", settings, facts, context.now())["finite_ratings"]
    assert refused.verdict is Verdict.FAIL
    assert "interactions.sql" in refused.message


def test_the_shop_is_released_from_a_notebook(orders, make_manager):
    manager = make_manager()

    rows = guide_shops.release(manager, f"sqlite:///{orders}")

    state = manager.context.refresh()
    assert (state.production.version, state.holder) == (1, None)
    known, unknown = (answer_of(manager.context, user) for user in ("7", str(guide_shops.NEVER_RATES[0])))
    assert (known["message"], known["count"]) == ("Recommendations for known user", 5)
    assert unknown["message"].startswith("Recommendations for new user")
    assert rows["users"] <= guide_shops.CUSTOMERS - len(guide_shops.NEVER_RATES)
