"""Paths of small charts."""

import pytest
from resty_metrics.live.chart import HEIGHT, WIDTH, line, nice, span
from resty_metrics.live.history import SAMPLE_SECONDS, SPAN_SECONDS, Point
from resty_metrics.live.words import number

NOW = 10_000.0


def point(ago: float, requests: float, seconds: float = SAMPLE_SECONDS) -> Point:
    return Point(NOW - ago, seconds, requests, 0, None, None, None)


def requests(one: Point) -> float:
    return one.requests


@pytest.mark.parametrize(
    ("value", "edge"), [(0, 0), (0.21, 0.3), (1, 1), (1.01, 1.5), (4, 4), (51, 60), (81, 100), (100, 100)]
)
def test_the_upper_edge_is_a_round_number(value: float, edge: float) -> None:
    assert nice(value) == pytest.approx(edge)


def test_time_goes_to_the_right_and_more_goes_up() -> None:
    points = [point(SPAN_SECONDS, 0, 5.0), point(SPAN_SECONDS - 5, 50), point(SPAN_SECONDS - 10, 100)]
    assert line("rate", points, requests, 100, NOW).path == f"M0 {HEIGHT}L1 50L2 0"
    assert line("rate", [point(5, 0), point(0, 100)], requests, 100, NOW).path == f"M{WIDTH - 1} {HEIGHT}L{WIDTH} 0"


def test_a_gap_is_no_line_and_what_stands_alone_is_a_dot() -> None:
    points = [point(30, 10), point(25, 10), point(10, 20)]
    known = line("rate", points, requests, 100, NOW, fill=True)
    assert known.path == "M174 90L175 90M178 80L178 80"
    assert known.area == "M174 100L174 90L175 90L175 100ZM178 100L178 80L178 100Z"
    unknown = line("rate", points, lambda one: None if one.end == NOW - 25 else one.requests, 100, NOW)
    assert unknown.path == "M174 90L174 90M178 80L178 80"


def test_a_level_line_is_two_places() -> None:
    assert line("rate", [point(5.0 * n, 7) for n in range(9, -1, -1)], requests, 7, NOW).path == "M171 0L180 0"


def test_nothing_is_on_the_ground() -> None:
    assert line("rate", [point(5, 0), point(0, 0)], requests, 0, NOW).path == f"M179 {HEIGHT}L180 {HEIGHT}"


@pytest.mark.parametrize(
    ("values", "text"), [([], "not known"), ([None], "not known"), ([3, None, 1], "between 1 and 3"), ([2, 2], "2")]
)
def test_the_line_in_words(values: list[float | None], text: str) -> None:
    assert span(values, number) == text
