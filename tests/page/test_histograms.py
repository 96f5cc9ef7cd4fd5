"""Histograms whose numbers not every format has a place for: below 0, beyond a double, fractions."""

from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from resty_metrics.exposition.text import render
from resty_metrics.journal import snapshot
from resty_metrics.journal.state import State, capture
from resty_metrics.page import assemble
from resty_metrics.page.requests import render as render_table
from resty_metrics.process.steps import finish
from resty_metrics.shapes.shape import REQUEST_COLUMNS, RawRow, Shape, family_batch
from resty_metrics.table.table import Table

PLAIN = Shape("h", "histogram", ("l",), (0, 1), ("sum",), custom=True)
DELTA = replace(PLAIN, bounds=(-1, 0))
REQUESTS = Shape("http_requests", "requests", ("server", "method", "status"), None, REQUEST_COLUMNS)
HUGE = 1.7e308


def merge(table: Table, shape: Shape, *rows: RawRow, birth_ms: int = 1, reset: bool = False) -> None:
    table.merge([family_batch(shape, "Help.", False, rows, reset)], birth_ms, 0.0)


def pages(table: Table) -> tuple[str, str]:
    """Both formats, each accepted by its parser."""
    families = finish(assemble.in_steps(assemble.capture(table), render_table(table), [], [], (), {}, []))
    text, openmetrics = (render(families, openmetrics=which).decode() for which in (False, True))
    list(parse_text(text))
    list(parse_openmetrics(openmetrics))  # type: ignore[no-untyped-call]
    return text, openmetrics


def types(page: str) -> list[str]:
    return [line.removeprefix("# TYPE ") for line in page.splitlines() if line.startswith("# TYPE ")]


def samples(table: Table, name: str) -> list[str]:
    text, openmetrics = pages(table)
    shown = [line.removeprefix(name) for line in text.splitlines() if line.startswith(name)]
    assert shown == [line.removeprefix(name) for line in openmetrics.splitlines() if line.startswith(name)]
    return shown


UNKNOWN = ["h_bucket unknown", "h_sum unknown", "h_count unknown"]
GOLDEN = """\
# HELP h Help.
# TYPE h histogram
h_bucket{l="x",le="-1.0"} 1
h_bucket{l="x",le="0.0"} 3
h_bucket{l="x",le="+Inf"} 6
h_bucket{l="y",le="-1.0"} 0
h_bucket{l="y",le="0.0"} 0
h_bucket{l="y",le="+Inf"} 1
h_sum{l="x"} 2.5
h_sum{l="y"} 4.0
h_count{l="x"} 6
h_count{l="y"} 1
"""
GOLDEN_OPENMETRICS = """\
# HELP h_bucket Help.
# TYPE h_bucket unknown
h_bucket{l="x",le="-1.0"} 1
h_bucket{l="x",le="0.0"} 3
h_bucket{l="x",le="+Inf"} 6
h_bucket{l="y",le="-1.0"} 0
h_bucket{l="y",le="0.0"} 0
h_bucket{l="y",le="+Inf"} 1
# HELP h_sum Help.
# TYPE h_sum unknown
h_sum{l="x"} 2.5
h_sum{l="y"} 4.0
# HELP h_count Help.
# TYPE h_count unknown
h_count{l="x"} 6
h_count{l="y"} 1
# EOF
"""


def test_buckets_below_0() -> None:
    table = Table()
    merge(table, DELTA, ("x", 1, 2, 3, 2.5), ("y", 0, 0, 1, 4))
    assert pages(table) == (GOLDEN, GOLDEN_OPENMETRICS)


def test_a_sum_below_0_changes_the_type_and_no_number() -> None:
    """Also of rows whose text was kept from the page before."""
    table = Table()
    merge(table, PLAIN, ("x", 1, 0, 0, 0.5), ("y", 1, 0, 0, 2))
    before, openmetrics = pages(table)
    assert types(openmetrics) == ["h histogram"]
    merge(table, PLAIN, ("x", 1, 0, 0, -0.25))
    assert types(pages(table)[1]) == ["h histogram"]
    merge(table, PLAIN, ("x", 1, 0, 0, -2.75))
    after, openmetrics = pages(table)
    assert types(after) == ["h histogram"]
    assert types(openmetrics) == UNKNOWN
    assert samples(table, "h_sum") == ['{l="x"} -2.5', '{l="y"} 2.0']
    assert sorted(line for line in before.splitlines() if 'l="y"' in line) == sorted(
        line for line in after.splitlines() if 'l="y"' in line
    )
    merge(table, PLAIN, ("x", 0, 0, 1, 9))
    assert types(pages(table)[1]) == UNKNOWN
    merge(table, PLAIN, ("x", 0, 0, 1, 9), reset=True)
    assert types(pages(table)[1]) == ["h histogram"]


def test_all_nginx_of_one_name_are_shown_alike() -> None:
    table = Table()
    merge(table, replace(PLAIN, instance="a"), ("x", 1, 0, 0, 0.5))
    merge(table, replace(PLAIN, instance="b"), ("x", 1, 0, 0, -0.5))
    assert types(pages(table)[1]) == UNKNOWN
    assert samples(table, "h_sum") == ['{nginx="a",l="x"} 0.5', '{nginx="b",l="x"} -0.5']


def test_a_sum_below_0_is_known_after_a_restart() -> None:
    table = Table()
    merge(table, PLAIN, ("x", 1, 0, 0, -0.5))
    written = [*snapshot.write(capture(State(table), 0.0))]
    assert types(pages(snapshot.read(written).table)[1]) == UNKNOWN


@pytest.mark.parametrize(("sign", "shown"), [(1, "+Inf"), (-1, "-Inf")])
def test_a_sum_beyond_a_double_is_infinite_and_stays_so(sign: int, shown: str) -> None:
    table = Table()
    for _ in range(2):
        merge(table, PLAIN, ("x", 0, 0, 1, sign * HUGE))
    assert samples(table, "h_sum") == [f'{{l="x"}} {shown}']
    merge(table, PLAIN, ("x", 0, 0, 1, -sign * HUGE))
    assert samples(table, "h_sum") == [f'{{l="x"}} {shown}']
    assert samples(table, "h_count") == ['{l="x"} 3']
    restored = snapshot.read([*snapshot.write(capture(State(table), 0.0))]).table
    assert pages(restored)[0] == pages(table)[0]


def test_two_infinite_sums_that_become_one() -> None:
    table = Table()
    for sign, label in ((1, "x"), (-1, "y")):
        merge(table, PLAIN, (label, 0, 0, 1, sign * HUGE), (label, 0, 0, 1, sign * HUGE))
    merge(table, replace(PLAIN, labels=(), scale=1000), (0, 0, 1, 1), birth_ms=2)
    assert samples(table, "h_sum") == [" NaN"]
    restored = snapshot.read([*snapshot.write(capture(State(table), 0.0))]).table
    assert pages(restored)[0] == pages(table)[0]


@pytest.mark.parametrize(
    ("bounds", "scale", "shown"),
    [((-0.0, 1), 1, ["0.0", "1.0"]), ((-5e-324,), 1000, ["0.0"]), ((1e22, 1e23), 1, ["1e+22", "1e+23"])],
)
def test_bounds(bounds: tuple[float, ...], scale: int, shown: list[str]) -> None:
    table = Table()
    merge(table, replace(PLAIN, bounds=bounds, scale=scale), ("x", *[1] * (len(bounds) + 2)))
    assert [line.split('"')[3] for line in samples(table, "h_bucket")] == [*shown, "+Inf"]


@pytest.mark.parametrize("counts", [(0.5, 0.5, 2), (1, 2**53, 0.5), (2.0, 1, 1)])
def test_buckets_are_whole_and_rise(counts: tuple[float, ...]) -> None:
    table = Table()
    merge(table, PLAIN, ("x", *counts, 1.5))
    whole = [int(count) for count in counts]
    buckets = [f'{{l="x",le="{le}"}} {sum(whole[:n])}' for n, le in ((1, "0.0"), (2, "1.0"), (3, "+Inf"))]
    assert samples(table, "h_bucket") == buckets
    assert samples(table, "h_count") == [f'{{l="x"}} {sum(whole)}']
    merge(table, REQUESTS, ("s", "GET", "200", 1.5, 0.25, 3))
    labels = '{server="s",method="GET",status="200"}'
    assert samples(table, "nginx_http_responses_total") == [f"{labels} 1"]
    assert samples(table, "nginx_http_request_bytes_total") == [f"{labels} 0.25"]


def test_whole_counts_add_up_from_fractions() -> None:
    table = Table()
    for _ in range(2):
        merge(table, PLAIN, ("x", 0, 0, 0.5, 1.5))
    assert samples(table, "h_count") == ['{l="x"} 1']
