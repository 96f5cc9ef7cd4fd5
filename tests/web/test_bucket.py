"""The token bucket, with a clock of the test's own."""

import pytest
from resty_metrics.web.bucket import Bucket, Rate

# interval, burst, moments at which one comes, how many may
TAKES = [
    (1.0, 1, [0.0, 0.0, 0.5, 1.0, 1.1, 2.0], [True, False, False, True, False, True]),
    (0.5, 3, [0.0] * 4 + [0.5, 0.5], [True, True, True, False, True, False]),
    (1.0, 2, [0.0, 0.0, 100.0, 100.0, 100.0], [True, True, True, True, False]),
]


@pytest.mark.parametrize(("interval", "burst", "moments", "expected"), TAKES)
def test_a_burst_then_one_an_interval(interval: float, burst: int, moments: list[float], expected: list[bool]) -> None:
    bucket = Bucket(Rate(interval, burst), 0.0)
    assert [bucket.take(now) for now in moments] == expected
