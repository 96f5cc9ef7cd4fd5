"""The last minutes in memory."""

import pytest
from resty_metrics.live.history import ALL, MAX_SERVERS, POINTS, SAMPLE_SECONDS, SPAN_SECONDS, History, summarize
from resty_metrics.live.totals import Totals

SECONDS = (0.1, 1.0)


def totals(requests: float, errors: float = 0, bounds: tuple[float, ...] = SECONDS) -> Totals:
    return Totals(requests, errors, {bounds: [requests, *[0] * len(bounds)]})


def test_what_was_counted_before_the_first_sample_is_no_traffic() -> None:
    history = History()
    history.observe({"a": totals(1_000_000)}, 0, 0.0)
    assert not history.series
    history.observe({"a": totals(1_000_010, 5)}, 0, 5.0)
    (point,) = history.series["a"].points
    assert (point.requests, point.errors, point.seconds, point.end) == (10, 5, 5.0, 5.0)
    assert (point.p50, point.p99) == (0.1, None), "ten requests have no p99"
    assert point.p50 is not None
    assert point.p50.sign == "≤"


def test_a_server_that_is_new_counts_from_its_first_request() -> None:
    history = History()
    history.observe({}, 0, 0.0)
    history.observe({"a": totals(3)}, 0, 5.0)
    assert [point.requests for point in history.series["a"].points] == [3]
    assert [point.requests for point in history.series[ALL].points] == [3]


def test_a_new_server_is_no_busier_than_all_of_them() -> None:
    history = History()
    for at, all_totals in enumerate(({"a": totals(0)}, {"a": totals(30)}, {"a": totals(30), "b": totals(20)})):
        history.observe(all_totals, 0, 5.0 * at)
    rates = {}
    for name, series in history.series.items():
        summary = summarize(series.points, 0.0)
        assert summary is not None
        rates[name] = summary.rate
    assert rates == {ALL: 5, "a": 3, "b": 2}


def test_a_summary_is_of_the_points_of_its_window() -> None:
    history = History()
    for at, requests in enumerate((0, 1000, 1010, 1030)):
        history.observe({"a": totals(requests, requests / 10)}, 0, 10.0 * at)
    summary = summarize(history.series["a"].points, 10.0)
    assert summary is not None
    assert (summary.requests, summary.rate, summary.share) == (30, 1.5, 0.1)
    assert summarize(history.series["a"].points, 30.0) is None


def test_an_interval_in_which_rows_were_moved_is_left_out() -> None:
    history = History()
    history.observe({"a": totals(100)}, 0, 0.0)
    history.observe({"a": totals(10), "other": totals(95)}, 1, 5.0)
    assert not history.series
    history.observe({"a": totals(11), "other": totals(95)}, 1, 10.0)
    assert [point.requests for point in history.series["a"].points] == [1]
    assert [point.requests for point in history.series["other"].points] == [0]


def test_numbers_that_were_taken_back_make_no_point() -> None:
    history = History()
    history.observe({"a": totals(100), "b": totals(1)}, 0, 0.0)
    history.observe({"a": totals(3), "b": totals(200)}, 0, 5.0)
    assert not history.series["a"].points
    assert [point.requests for point in history.series["b"].points] == [199]


def test_across_a_change_of_buckets_requests_are_known_and_durations_are_not() -> None:
    history = History()
    history.observe({"a": totals(100)}, 0, 0.0)
    history.observe({"a": totals(110, bounds=(0.5,))}, 0, 5.0)
    history.observe({"a": totals(120, bounds=(0.5,))}, 0, 10.0)
    first, second = history.series["a"].points
    assert (first.requests, first.p50) == (10, None)
    assert second.requests == 10
    assert second.p50 == 0.5


def in_order(*counts: tuple[float, float]) -> History:
    """A sample each 5 s, of requests in the two buckets."""
    history = History()
    for at, (fast, slow) in enumerate(counts):
        history.observe({"a": Totals(fast + slow, 0, {SECONDS: [fast, slow, 0]})}, 0, 5.0 * at)
    return history


def test_the_p99_of_an_interval_is_of_a_hundred_requests_or_more() -> None:
    """Of earlier intervals as many as it takes."""
    history = in_order((0, 0), (60, 0), (110, 0), (150, 20), (1150, 20))
    points = [*history.series["a"].points]
    assert [point.p99 is None for point in points] == [True, False, False, False]
    assert points[1].p99 == 0.1, "110 of two intervals"
    assert points[2].p99 == pytest.approx(0.1 + 0.9 * (0.99 * 110 - 90) / 20), "110 of the last two, 20 of them slow"
    assert points[3].p99 == 0.1, "1,000 of the last one"


def test_the_p99_of_an_interval_looks_back_for_a_minute_and_not_across_what_is_not_known() -> None:
    slow = in_order(*((6 * at, 0) for at in range(40)))
    assert {point.p99 for point in slow.series["a"].points} == {None}
    history = in_order((0, 0), (90, 0))
    history.observe({"a": totals(180, bounds=(0.5,))}, 0, 10.0)
    history.observe({"a": totals(240, bounds=(0.5,))}, 0, 15.0)
    assert history.series["a"].points[-1].p99 is None


def test_it_is_bounded_in_time_and_in_servers() -> None:
    history = History()
    for at in range(2 * POINTS):
        history.observe({f"s{n}": totals(at * (n + 1)) for n in range(3 * MAX_SERVERS)}, 0, at * SAMPLE_SECONDS)
    assert len(history.series) == MAX_SERVERS + 1
    assert {len(series.points) for series in history.series.values()} <= set(range(POINTS + 1))
    assert len(history.series[ALL].points) == POINTS
    assert history.servers == 3 * MAX_SERVERS
    busiest = {f"s{n}" for n in range(2 * MAX_SERVERS, 3 * MAX_SERVERS)}
    assert history.series.keys() - {ALL} == busiest


def test_old_points_go_when_nothing_happens_any_more() -> None:
    history = History()
    history.observe({"a": totals(0)}, 0, 0.0)
    history.observe({"a": totals(9)}, 0, 5.0)
    history.observe({}, 0, 6.0 + SPAN_SECONDS)
    assert not history.series["a"].points


def test_a_busy_server_takes_the_place_of_a_quiet_one() -> None:
    history = History()
    quiet = {f"s{n}": totals(0) for n in range(MAX_SERVERS)}
    history.observe(quiet, 0, 0.0)
    history.observe(quiet, 0, 5.0)
    assert "late" not in history.series
    history.observe({**quiet, "late": totals(50)}, 0, 10.0)
    assert [point.requests for point in history.series["late"].points] == [0, 50], "it was not asked for before"
    assert len(history.series) == MAX_SERVERS + 1
