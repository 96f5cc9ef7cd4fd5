"""What grew between two pages, quantiles, and the windows that keep them."""

import pytest
from resty_metrics.commands.top.change import between, distributions
from resty_metrics.commands.top.meter import EVENT_SECONDS, RATE_SECONDS, Meter
from resty_metrics.commands.top.page import Page

TOTAL = "a_total"
SERIES = 'x="1"'
GROWN = [
    ("grew", 5, 8, 3),
    ("did not", 5, 5, None),
    ("began anew", 5, 2, 2),
    ("began anew, nothing since", 5, 0, None),
    ("was not there", None, 4, 4),
    ("has gone", 5, None, None),
]


def page(value: float | None, name: str = TOTAL) -> Page:
    return Page({name: {} if value is None else {SERIES: value}})


@pytest.mark.parametrize(("case", "before", "after", "expected"), GROWN)
def test_increase(case: str, before: float | None, after: float | None, expected: float | None) -> None:
    found = between(page(before), page(after)).get(TOTAL, {})
    assert found == ({} if expected is None else {SERIES: expected})


def test_a_gauge_does_not_grow() -> None:
    assert between(page(1, "a_gauge"), page(2, "a_gauge")) == {}


def test_buckets_are_apart_by_row_and_not_cumulative() -> None:
    """With the bounds of each row, also where it did not grow."""
    grown = {'x="1",le="0.2"': 1, 'x="1",le="0.4"': 3, 'x="1",le="+Inf"': 3, 'le="+Inf"': 2}
    every = [*grown, 'x="1",le="0.1"', 'le="5.0"', 'y="1",le="7.0"']
    assert distributions(grown, every) == {'x="1"': ((0.1, 0.2, 0.4), [0, 1, 2, 0]), "": ((5.0,), [0, 2])}


def test_a_histogram_that_began_anew_has_nothing_below_zero() -> None:
    """Its smallest bucket has grown past where it was, the others not."""
    before = Page({"d_bucket": {'le="0.1"': 1, 'le="+Inf"': 100}})
    after = Page({"d_bucket": {'le="0.1"': 5, 'le="+Inf"': 3}})
    found = distributions(between(before, after)["d_bucket"], after.series("d_bucket"))
    assert found == {"": ((0.1,), [4, 0])}


# the windows ----------------------------------------------------------------------------------------------------------


def test_the_first_page_has_no_rate() -> None:
    view = Meter().look(page(5), 100.0)
    assert (view.seconds, view.change, view.per_second(0)) == (0, {}, None)


def test_a_rate_is_over_the_last_seconds() -> None:
    """10 a second for a minute, then none: it is gone when its seconds are."""
    meter = Meter()
    for second in range(0, 62, 2):
        view = meter.look(page(second * 10.0), second)
    assert view.seconds == RATE_SECONDS
    assert view.per_second(view.change[TOTAL][SERIES]) == 10
    for second in range(62, 72, 2):
        view = meter.look(page(600.0), second)
    assert TOTAL not in view.change


def test_a_reset_within_the_window_is_not_forgotten() -> None:
    meter = Meter()
    for now, value in enumerate([100, 110, 3, 13]):
        view = meter.look(page(value), now)
    assert view.change[TOTAL][SERIES] == 10 + 3 + 10


def test_an_interval_that_is_longer_than_the_window() -> None:
    meter = Meter()
    meter.look(page(0), 0)
    meter.look(page(100), 30)
    view = meter.look(page(400), 60)
    assert view.per_second(view.change[TOTAL][SERIES]) == 10


def test_events_stay_longer_and_are_ours_alone() -> None:
    meter = Meter()
    rebinds = "resty_metrics_socket_rebinds_total"

    def both(value: float) -> Page:
        return Page({rebinds: {SERIES: value}, TOTAL: {SERIES: value}})

    meter.look(both(0), 0)
    meter.look(both(1), 2)
    view = meter.look(both(1), EVENT_SECONDS - 10)
    assert (view.events, view.change) == ({rebinds: {SERIES: 1}}, {})
    assert meter.look(both(1), EVENT_SECONDS + 10).events == {}
