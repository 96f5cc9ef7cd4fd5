"""Requests that nginx finished, beside those that were counted."""

from collections.abc import Sequence

import pytest
from resty_metrics.observer.arrivals import LEAST_SECONDS, WINDOW_SECONDS, Arrivals, Arriving, Sample


def window(*samples: tuple[float, float, float], origin: str = "1-1") -> Arrivals:
    """At a time: begun, counted."""
    found = Arrivals()
    for at, begun, counted in samples:
        found.keep(Sample(origin, at, begun, 0, counted))
    return found


def test_it_takes_a_while_until_rates_are_known() -> None:
    assert Arrivals().rates(0.0) is None
    assert window((0.0, 0, 0), (LEAST_SECONDS - 1, 100, 0)).rates(LEAST_SECONDS) is None
    assert window((0.0, 0, 0), (50.0, 100, 0)).rates(50.0) == Arriving(2.0, 0.0, 50.0)


def test_a_window_that_grew_old_says_nothing() -> None:
    assert window((0.0, 0, 0), (50.0, 100, 0)).rates(51.0 + WINDOW_SECONDS) is None


ANEW: list[tuple[Sequence[Sample], str]] = [
    ([Sample("2-2", 51.0, 100, 0, 0)], "another master"),
    ([Sample("1-1", 51.0, 5, 0, 0)], "nginx counts anew"),
]


@pytest.mark.parametrize(("more", "why"), ANEW, ids=[why for _, why in ANEW])
def test_a_window_begins_anew(more: Sequence[Sample], why: str) -> None:
    found = window((0.0, 0, 0), (50.0, 100, 0))
    for sample in more:
        found.keep(sample)
    assert found.rates(51.0) is None


def test_requests_in_flight_are_not_served_yet() -> None:
    """A site of long polls serves none; and that some are in flight begins no window anew."""
    found = Arrivals()
    for at in range(0, 60, 6):
        found.keep(Sample("1-1", float(at), at * 2, at * 2, 0))
    assert found.rates(60.0) == Arriving(0.0, 0.0, 54.0)


def test_rows_that_arrived_before_the_window_count_for_nothing() -> None:
    for arrived, rows in ((-1.0, False), (30.0, True)):
        found = Arrivals()
        found.keep(Sample("1-1", 0.0, 0, 0, 0, -1.0))
        found.keep(Sample("1-1", 50.0, 100, 0, 0, arrived))
        assert found.rates(50.0) == Arriving(2.0, 0.0, 50.0, rows)


def test_a_window_is_bounded() -> None:
    found = window(*((float(at), at * 2, at) for at in range(3600)))
    assert found.rates(3599.0) == Arriving(2.0, 1.0, 119.0)
    assert len(found._samples) < 100
