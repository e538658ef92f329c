"""The options of ``make demo NAME=value``."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.errors import DemoError
from demo.load import Columns
from demo.options import read_options
from simulation.damages import DAMAGES


def test_without_options_a_person_decides_about_a_generated_store() -> None:
    options = read_options({})

    assert options.home == Path(".demo").resolve()
    assert options.decision is None
    assert options.data is None
    assert options.damage is None
    assert not options.keep
    assert options.timeout_minutes == 20


def test_an_empty_value_counts_as_not_given() -> None:
    assert read_options({"DECISION": "", "DATA": "", "KEEP": "", "PORT": ""}) == read_options({})


def test_every_option_is_read(tmp_path: Path) -> None:
    options = read_options(
        {
            "DEMO_HOME": str(tmp_path),
            "DECISION": "Reject",
            "DATA": str(tmp_path / "shop"),
            "DATA_USER": "customer",
            "DATA_ITEM": "sku",
            "DATA_RATING": "stars",
            "DATA_TIMESTAMP": "at",
            "DATA_TITLE": "label",
            "KEEP": "1",
            "PORT": "18001",
            "AIRFLOW_PORT": "18002",
            "TIMEOUT": "7.5",
        }
    )

    assert (options.home, options.decision, options.data) == (tmp_path, "reject", tmp_path / "shop")
    assert options.columns == Columns("customer", "sku", "stars", "at", "label")
    assert (options.keep, options.emulator_port, options.airflow_port) == (True, 18001, 18002)
    assert options.timeout_minutes == 7.5


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DECISION", "maybe", "DECISION=maybe .*promote.*reject"),
        ("KEEP", "perhaps", "KEEP=perhaps .*1 nor 0"),
        ("PORT", "80", "PORT=80 "),
        ("AIRFLOW_PORT", "high", "AIRFLOW_PORT=high "),
        ("PORT", "70000", "PORT=70000 .*from 1024 to 65535"),
        ("TIMEOUT", "soon", "TIMEOUT=soon "),
        ("TIMEOUT", "0", "TIMEOUT=0 .* up to 1440"),
        ("TIMEOUT", "nan", "TIMEOUT=nan "),
    ],
)
def test_an_invalid_value_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(DemoError, match=message):
        read_options({name: value})


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_can_be_planted(name: str) -> None:
    assert read_options({"DAMAGE": name}).damage == name


def test_an_unknown_damage_is_refused_with_a_list_of_all() -> None:
    with pytest.raises(DemoError, match="DAMAGE=flip is not one of") as refused:
        read_options({"DAMAGE": "flip"})

    lines = str(refused.value).splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(DAMAGES)
    assert "  flipped            ratings are turned round" in lines
    missed = [line.split()[0] for line in lines if line.endswith(" (the gates may miss it)")]
    assert missed == [name for name, damage in DAMAGES.items() if damage.is_missed]


def test_damage_is_refused_together_with_data(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=f"DAMAGE=flipped is for the generated store only, and DATA={tmp_path}"):
        read_options({"DAMAGE": "flipped", "DATA": str(tmp_path)})
