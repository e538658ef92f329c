"""How numbers of gates are written."""

import math

import pytest

from recdeploy_ops.domain.gates.scales import Scale


@pytest.mark.parametrize(
    ("scale", "value", "text"),
    [
        (Scale.NUMBER, 1234, "1,234"),
        (Scale.NUMBER, 0.00123, "0.00123"),
        (Scale.SHARE, 0.0123, "1.23 %"),
        (Scale.SHARE, 12.5, "1,250 %"),
        (Scale.HOURS, 336.4, "336 h"),
        (Scale.HOURS, -1.25, "-1.25 h"),
        (Scale.SECONDS, 0.0123, "12.3 ms"),
        (Scale.SHARE, math.nan, "nan"),
    ],
)
def test_a_number_is_written_with_its_unit(scale: Scale, value: float, text: str) -> None:
    assert scale.show(value) == text
