"""Quantiles from buckets."""

import json

import pytest
from resty_metrics.shapes.quantile import Quantile, join, quantile

BOUNDS = (0.1, 1.0, 10.0)


@pytest.mark.parametrize(
    ("share", "counts", "expected", "sign"),
    [
        (0.5, (10, 0, 0, 0), 0.1, "≤"),
        (0.99, (100, 0, 0, 0), 0.1, "≤"),
        (0.5, (5, 5, 0, 0), 0.1, "≤"),
        (0.75, (5, 5, 0, 0), 0.55, ""),
        (0.5, (0, 10, 0, 0), 0.55, ""),
        (1.0, (0, 0, 10, 0), 10.0, ""),
        (0.99, (98, 0, 0, 2), 10.0, "≥"),
    ],
)
def test_a_quantile_is_interpolated_in_its_bucket(
    share: float, counts: tuple[int, ...], expected: float, sign: str
) -> None:
    """As histogram_quantile() of Prometheus does, but for the lowest bucket, of which only the bound is known."""
    found = quantile(share, BOUNDS, counts)
    assert found == pytest.approx(expected)
    assert found is not None
    assert found.sign == sign


def test_without_requests_nothing_is_known() -> None:
    assert quantile(0.5, BOUNDS, (0, 0, 0, 0)) is None
    assert quantile(0.5, *join([])) is None


@pytest.mark.parametrize(("counts", "sign"), [((3, 0), "≤"), ((0, 3), "≥")])
def test_of_a_single_bound_either_side_is_told_apart(counts: tuple[int, ...], sign: str) -> None:
    found = quantile(0.5, (0.1,), counts)
    assert found is not None
    assert (found, found.sign) == (0.1, sign)


def test_buckets_of_several_bounds_become_those_of_all() -> None:
    parts = [((0.1, 1.0), [1, 2, 3]), ((0.5,), [4, 5]), ((0.1, 1.0), [10, 20, 30])]
    assert join(parts) == ((0.1, 0.5, 1.0), [11, 4, 22, 38])


def test_it_is_a_number_for_programs() -> None:
    assert json.dumps([Quantile(0.25, "≤")]) == "[0.25]"
