"""The metric of the page's own series: its place, and what it stands for."""

from resty_metrics.exposition.text import MetricFamily, render, sample
from resty_metrics.page import conflicts, series
from resty_metrics.process.steps import finish

ROWS = MetricFamily("a_total", "counter", "x", [b"a_total 1\n"], instance="", samples=3)
NAMED = MetricFamily("a_total", "counter", "x", [b'a_total{nginx="b"} 1\n'], instance="b", samples=2)
VTS = MetricFamily("nginx_vts_x", "gauge", "x", [b"nginx_vts_x 1\n", b'nginx_vts_x{a="b"} 1\n'], instance="")
STUB = MetricFamily("nginx_up", "gauge", "x", [b"nginx_up 1\n"], instance="b")
OWN = [MetricFamily(name, "gauge", "x", [sample(name, {}, 1)]) for name in ("process_x", "resty_metrics_x")]
GOLDEN = """\
# HELP resty_metrics_series Samples of each metric on this page; "vts", "stub_status" and "resty_metrics" stand for \
all of theirs.
# TYPE resty_metrics_series gauge
resty_metrics_series{family="a_total"} 3
resty_metrics_series{nginx="b",family="a_total"} 2
resty_metrics_series{family="vts"} 2
resty_metrics_series{nginx="b",family="stub_status"} 1
resty_metrics_series{family="resty_metrics"} 7
"""


def test_golden() -> None:
    page = [ROWS, NAMED, VTS, STUB, series.PLACE, *OWN]
    shown = finish(series.in_steps(page))
    assert [family.name for family in shown] == [family.name for family in page]
    assert render([shown[4]], openmetrics=False).decode() == GOLDEN


def test_a_page_without_anything_else_has_this_one_series() -> None:
    (shown,) = finish(series.in_steps([series.PLACE]))
    assert shown.lines == [b'resty_metrics_series{family="resty_metrics"} 1\n']


def test_a_family_of_the_user_with_its_name_is_shown_instead() -> None:
    mine = MetricFamily(series.SERIES, "gauge", "x", [b"resty_metrics_series 5\n"], custom=True, instance="")
    shown = finish(series.in_steps(conflicts.resolve([mine], [*OWN, series.PLACE])))
    text = render(shown, openmetrics=False).decode()
    assert "\nresty_metrics_series 5\n" in text
    assert 'resty_metrics_series{family="resty_metrics"}' not in text
    assert 'resty_metrics_family_conflict{family="resty_metrics_series"} 1' in text


def test_many_lines_are_counted_in_steps() -> None:
    lines = [b"nginx_vts_x 1\n"] * series.STEP_CHUNKS
    page = [*[MetricFamily("nginx_vts_x", "gauge", "x", lines, instance="")] * 3, series.PLACE]
    assert len(list(series.in_steps(page))) >= 3
