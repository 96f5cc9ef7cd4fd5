"""Numbers as a narrow column shows them."""

import pytest
from resty_metrics.commands.top.figures import shown
from resty_metrics.commands.top.tables import Cell, Kind
from resty_metrics.shapes.quantile import Quantile

FIGURES: list[tuple[Cell, Kind, str]] = [
    (None, "rate", "-"),
    (0.0, "rate", "0"),
    (0.25, "rate", "0.25"),
    (9.996, "rate", "10.0"),
    (1234.4, "rate", "1234"),
    (120_400.0, "rate", "120k"),
    (0.0, "bytes", "0"),
    (512.0, "bytes", "512"),
    (999.7, "bytes", "1.00k"),
    (12_345_678.0, "bytes", "12.3M"),
    (5e15, "bytes", "5000T"),
    (0.0, "ratio", "0%"),
    (1.0, "ratio", "100%"),
    (0.000001, "ratio", "0.01%"),
    (0.99999, "ratio", "99.99%"),
    (0.123, "ratio", "12.3%"),
    (0.0, "seconds", "0"),
    (0.0031, "seconds", "3.1ms"),
    (0.021, "seconds", "21ms"),
    (Quantile(0.005, "≤"), "seconds", "≤5ms"),
    (Quantile(0.0031), "seconds", "3.1ms"),
    (Quantile(2.5, "≥"), "seconds", "≥2.5s"),
    (1.254, "seconds", "1.25s"),
    (60.0, "seconds", "60.0s"),
    (7200.0, "seconds", "2h"),
    (864_000.0, "seconds", "10d"),
    (3.0, "count", "3"),
    ("a\x1b[2Jb", "text", "a\\x1b[2Jb"),
]


@pytest.mark.parametrize(("cell", "kind", "expected"), FIGURES)
def test_shown(cell: Cell, kind: Kind, expected: str) -> None:
    assert shown(cell, kind) == expected
