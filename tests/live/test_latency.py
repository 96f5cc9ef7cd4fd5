"""Quantiles from buckets."""

import pytest
from resty_metrics.live.latency import in_words, join, quantile

BOUNDS = (0.1, 1.0, 10.0)


@pytest.mark.parametrize(
    ("share", "counts", "expected"),
    [
        (0.5, (0, 0, 0, 0), None),
        (0.5, (10, 0, 0, 0), 0.05),
        (0.99, (100, 0, 0, 0), 0.099),
        (0.5, (5, 5, 0, 0), 0.1),
        (0.75, (5, 5, 0, 0), 0.55),
        (0.5, (0, 10, 0, 0), 0.55),
        (0.99, (98, 0, 0, 2), 10.0),
    ],
)
def test_a_quantile_is_interpolated_in_its_bucket(
    share: float, counts: tuple[int, ...], expected: float | None
) -> None:
    """As histogram_quantile() of Prometheus does."""
    assert quantile(share, BOUNDS, counts) == pytest.approx(expected)


def test_buckets_of_several_bounds_become_those_of_all() -> None:
    parts = [((0.1, 1.0), [1, 2, 3]), ((0.5,), [4, 5]), ((0.1, 1.0), [10, 20, 30])]
    assert join(parts) == ((0.1, 0.5, 1.0), [11, 4, 22, 38])


def test_nothing_joined_is_nothing_known() -> None:
    assert quantile(0.5, *join([])) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "-"), (0.04, "≤ 100 ms"), (0.1, "≤ 100 ms"), (0.3, "300 ms"), (10.0, "≥ 10 s")]
)
def test_below_the_first_bound_and_above_the_last_nothing_is_known(seconds: float | None, words: str) -> None:
    assert in_words(seconds, BOUNDS) == words
