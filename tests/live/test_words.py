"""Numbers for people."""

import pytest
from resty_metrics.live.words import duration, number, percent, problems, quantile, size
from resty_metrics.shapes.quantile import Quantile


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0, "0"), (0.001, "0"), (0.126, "0.13"), (3, "3"), (3.14159, "3.14"), (31.4159, "31.4"),
        (314.159, "314"), (9_999, "9999"), (31_415, "31.4k"), (3_141_592, "3.14M"), (2e9, "2G"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0, "0 %"), (0.00001, "< 0.01 %"), (0.0012, "0.12 %"), (0.034, "3.4 %"), (0.56, "56 %"),
        (0.99996, "99.99 %"), (1, "100 %"), (0.9876, "98.8 %"), (1.02, "102.0 %"),
    ],
)  # fmt: skip
def test_a_share_that_is_not_all_is_not_said_to_be(value: float | None, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0.00042, "0.4 ms"), (0.0034, "3.4 ms"), (0.25, "250 ms"), (4.26, "4.3 s"), (42.4, "42 s"),
        (90, "2 min"), (5400, "1.5 h"), (3 * 86400, "3 d"),
    ],
)  # fmt: skip
def test_durations(value: float | None, text: str) -> None:
    assert duration(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (12, "12 B"), (1536, "1.50 KiB"), (3 << 20, "3 MiB")])
def test_sizes(value: float | None, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (Quantile(0.005, "≤"), "≤ 5 ms"), (Quantile(0.3), "300 ms"), (Quantile(60.0, "≥"), "≥ 1 min")],
)
def test_quantiles(value: Quantile | None, text: str) -> None:
    assert quantile(value) == text


@pytest.mark.parametrize(
    ("severities", "text"),
    [
        (["warning"], "1 warning"),
        (["critical"], "1 critical problem"),
        (["warning", "critical", "warning", "critical"], "2 critical problems and 2 warnings"),
        ([], ""),
    ],
)
def test_problems(severities: list[str], text: str) -> None:
    assert problems(severities) == text
