"""Rows as text, literally."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from resty_metrics.exposition import text as exposition
from resty_metrics.page.requests import render
from resty_metrics.shapes.shape import DURATION_SCALE, DURATIONS, REQUEST_COLUMNS, FamilyKey, Shape, family_batch
from resty_metrics.table.scrapers import Scrapers, identify
from resty_metrics.table.table import Table

REQUESTS = Shape("http_requests", "requests", ("server", "method", "status"), None, REQUEST_COLUMNS)
TIMED = Shape(DURATIONS, "histogram", ("server", "status_class"), (5, 1000), ("sum",), DURATION_SCALE)
LOGINS = Shape("logins_total", "counter", ("result",), None, ("value",))


def merge(table: Table, shape: Shape, *rows: tuple[object, ...], birth_ms: int = 1, help_text: str = "") -> None:
    table.merge([family_batch(shape, help_text, False, rows)], birth_ms, 0.0)


def page(table: Table, shown_before: int | None = None) -> str:
    return exposition.render(render(table, shown_before), openmetrics=False).decode()


def samples(table: Table, shown_before: int | None = None) -> dict[str, float]:
    lines = [line for line in page(table, shown_before).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


TIMED_HELP = "Time from a request's first byte to its log entry."
GOLDEN = """\
# HELP nginx_http_responses_total Responses sent to clients, by the final status of the request.
# TYPE nginx_http_responses_total counter
nginx_http_responses_total{server="a",method="GET",status="200"} 6
nginx_http_responses_total{server="a",method="GET",status="404"} 1
# HELP nginx_http_request_bytes_total Bytes received from clients: request line, headers and body.
# TYPE nginx_http_request_bytes_total counter
nginx_http_request_bytes_total{server="a",method="GET",status="200"} 70
nginx_http_request_bytes_total{server="a",method="GET",status="404"} 10
# HELP nginx_http_response_bytes_total Bytes sent to clients: headers and body.
# TYPE nginx_http_response_bytes_total counter
nginx_http_response_bytes_total{server="a",method="GET",status="200"} 9007199254740992
nginx_http_response_bytes_total{server="a",method="GET",status="404"} 20
# HELP nginx_http_request_duration_seconds Time from a request's first byte to its log entry.
# TYPE nginx_http_request_duration_seconds histogram
nginx_http_request_duration_seconds_bucket{server="a",status_class="2xx",le="0.005"} 1
nginx_http_request_duration_seconds_bucket{server="a",status_class="2xx",le="1.0"} 3
nginx_http_request_duration_seconds_bucket{server="a",status_class="2xx",le="+Inf"} 6
nginx_http_request_duration_seconds_sum{server="a",status_class="2xx"} 1.234
nginx_http_request_duration_seconds_count{server="a",status_class="2xx"} 6
nginx_http_request_duration_seconds_bucket{server="a",status_class="4xx",le="0.005"} 1
nginx_http_request_duration_seconds_bucket{server="a",status_class="4xx",le="1.0"} 1
nginx_http_request_duration_seconds_bucket{server="a",status_class="4xx",le="+Inf"} 1
nginx_http_request_duration_seconds_sum{server="a",status_class="4xx"} 0.0
nginx_http_request_duration_seconds_count{server="a",status_class="4xx"} 1
# HELP logins_total Logins.
# TYPE logins_total counter
logins_total{result="bad"} 0.5
"""


def test_golden() -> None:
    table = Table()
    merge(table, REQUESTS, ("a", "GET", "200", 6, 70, 2**53), ("a", "GET", "404", 1, 10, 20))
    merge(table, TIMED, ("a", "2xx", 1, 2, 3, 1234), ("a", "4xx", 1, 0, 0, 0), help_text=TIMED_HELP)
    merge(table, LOGINS, ("bad", 0.5), help_text="Logins.")
    assert page(table) == GOLDEN
    assert page(table) == GOLDEN  # and once more from the rows' kept text


SCOPED = replace(REQUESTS, labels=(*REQUESTS.labels, "scope", "zone"), scope="api")
SCOPED_TIMED = replace(TIMED, labels=(*TIMED.labels, "scope", "zone"), bounds=(50,), scope="api")
SIZES = Shape("sizes", "histogram", ("l",), (-1, 0.5, 2), ("sum",), custom=True)
WAITS = Shape("waits_seconds", "histogram", (), (5, 10), ("sum",), 1000)


def test_scopes_stand_under_one_name() -> None:
    table = Table()
    merge(table, REQUESTS, ("a", "GET", "200", 1, 6, 7))
    merge(table, TIMED, ("a", "2xx", 1, 0, 0, 5))
    merge(table, LOGINS, ("ok", 1))
    merge(table, SCOPED, ("a", "GET", "200", "api", "z", 3, 60, 70))
    merge(table, SCOPED_TIMED, ("a", "2xx", "api", "z", 1, 2, 100))
    lines = page(table).splitlines()
    kinds = [line for line in lines if line.startswith("# TYPE")]
    assert len(kinds) == len(set(kinds)) == 5
    assert lines[2:4] == [
        'nginx_http_responses_total{server="a",method="GET",status="200"} 1',
        'nginx_http_responses_total{server="a",method="GET",status="200",scope="api",zone="z"} 3',
    ]
    bucket = "nginx_http_request_duration_seconds_bucket"
    assert [line.removeprefix(bucket) for line in lines if line.startswith(bucket)] == [
        '{server="a",status_class="2xx",le="0.005"} 1',
        '{server="a",status_class="2xx",le="1.0"} 1',
        '{server="a",status_class="2xx",le="+Inf"} 1',
        '{server="a",status_class="2xx",scope="api",zone="z",le="0.05"} 1',
        '{server="a",status_class="2xx",scope="api",zone="z",le="+Inf"} 3',
    ]


def test_requests_and_their_durations_are_there_without_each_other() -> None:
    """The two rows of a request may travel in two datagrams, and an upgraded connection has one row only."""
    table = Table()
    merge(table, REQUESTS, ("a", "GET", "101", 1, 6, 7))
    assert samples(table) == {
        'nginx_http_responses_total{server="a",method="GET",status="101"}': 1,
        'nginx_http_request_bytes_total{server="a",method="GET",status="101"}': 6,
        'nginx_http_response_bytes_total{server="a",method="GET",status="101"}': 7,
    }
    table = Table()
    merge(table, TIMED, ("a", "2xx", 1, 0, 2, 3_600_000))
    assert samples(table) == {
        'nginx_http_request_duration_seconds_bucket{server="a",status_class="2xx",le="0.005"}': 1,
        'nginx_http_request_duration_seconds_bucket{server="a",status_class="2xx",le="1.0"}': 1,
        'nginx_http_request_duration_seconds_bucket{server="a",status_class="2xx",le="+Inf"}': 3,
        'nginx_http_request_duration_seconds_sum{server="a",status_class="2xx"}': 3600,
        'nginx_http_request_duration_seconds_count{server="a",status_class="2xx"}': 3,
    }


def test_histograms() -> None:
    table = Table()
    merge(table, SIZES, ("x", 1, 0, 2, 4, -0.125), help_text="Sizes.")
    merge(table, WAITS, (3, 0, 1, 1_234))
    assert page(table).splitlines() == [
        "# HELP sizes Sizes.",
        "# TYPE sizes histogram",
        'sizes_bucket{l="x",le="-1.0"} 1',
        'sizes_bucket{l="x",le="0.5"} 1',
        'sizes_bucket{l="x",le="2.0"} 3',
        'sizes_bucket{l="x",le="+Inf"} 7',
        'sizes_sum{l="x"} -0.125',
        'sizes_count{l="x"} 7',
        "# HELP waits_seconds Histogram waits_seconds of the nginx configuration.",
        "# TYPE waits_seconds histogram",
        'waits_seconds_bucket{le="0.005"} 3',
        'waits_seconds_bucket{le="0.01"} 3',
        'waits_seconds_bucket{le="+Inf"} 4',
        "waits_seconds_sum 1.234",
        "waits_seconds_count 4",
    ]


def test_a_changed_row_is_rendered_anew() -> None:
    table = Table()
    merge(table, LOGINS, ("ok", 1), ("bad", 1))
    assert samples(table) == {'logins_total{result="ok"}': 1, 'logins_total{result="bad"}': 1}
    merge(table, LOGINS, ("ok", 2**53 - 2), ("bad", 0))
    assert samples(table) == {'logins_total{result="ok"}': 2**53 - 1, 'logins_total{result="bad"}': 1}


def test_a_changed_shape_is_rendered_anew() -> None:
    table = Table()
    merge(table, LOGINS, ("ok", 1))
    page(table)
    merge(table, Shape("logins_total", "counter", ("realm", "result"), None, ("value",)), ("a", "ok", 1), birth_ms=2)
    assert samples(table) == {'logins_total{realm="_",result="ok"}': 1, 'logins_total{realm="a",result="ok"}': 1}


@pytest.mark.parametrize(
    "value",
    ['q"uote', "back\\slash", "new\nline", "100%", "%s %d %(a)s %%", "\\n", "tab\t", "\0\x01", "ö😀", "{}", "a,b=c"],
)
def test_labels_survive(value: str) -> None:
    table = Table()
    merge(table, REQUESTS, (value, "GET", "200", 1, 5, 6))
    merge(table, TIMED, (value, "2xx", 1, 2, 3, 4))
    row = table.families[FamilyKey("http_requests")].rows[0]
    families = list(text_string_to_metric_families(page(table)))
    assert len(families) == 4
    for family in families:
        for sample in family.samples:
            assert sample.labels["server"] == row.labels[0]
            assert sample.labels.get("status", sample.labels.get("status_class")) in ("200", "2xx")


def test_counter_without_labels_and_help() -> None:
    table = Table()
    merge(table, Shape("c_total", "counter", (), None, ("value",)), (3,))
    assert page(table).splitlines() == [
        "# HELP c_total Counter c_total of the nginx configuration.",
        "# TYPE c_total counter",
        "c_total 3",
    ]


def test_a_family_without_rows_is_not_on_the_page() -> None:
    table = Table()
    merge(table, REQUESTS)
    merge(table, LOGINS)
    assert page(table) == ""


def test_bounds_are_written_as_prometheus_client_writes_them() -> None:
    bounds = (1, 5, 25, 75, 100, 1000, 2500, 60_000, 3_600_000, 2_000_000_000)
    table = Table()
    merge(table, replace(TIMED, bounds=bounds), ("a", "2xx", *[0] * 11, 0))
    registry = CollectorRegistry()
    Histogram("h", "h", buckets=[bound / 1000 for bound in bounds], registry=registry)

    def les(text: str) -> list[str]:
        return [line.split('le="')[1].split('"')[0] for line in text.splitlines() if 'le="' in line]

    assert les(page(table)) == les(generate_latest(registry).decode())


NEW = ('"500"', '"5xx"', '"bad"')


def test_new_rows_are_at_zero_in_all_samples_and_then_as_they_are() -> None:
    table = Table()
    merge(table, LOGINS, ("ok", 1))
    merge(table, REQUESTS, ("a", "GET", "200", 6, 5, 6))
    merge(table, TIMED, ("a", "2xx", 1, 2, 3, 4))
    boundary = table.next_creation
    merge(table, REQUESTS, ("a", "GET", "500", 6, 5, 6), ("a", "GET", "200", 1, 0, 0))
    merge(table, TIMED, ("a", "5xx", 1, 2, 3, 4), ("a", "2xx", 1, 0, 0, 0))
    merge(table, LOGINS, ("bad", 7))
    shown = samples(table, boundary)
    assert {value for name, value in shown.items() if any(new in name for new in NEW)} == {0}
    assert shown['nginx_http_responses_total{server="a",method="GET",status="200"}'] == 7
    assert shown['nginx_http_request_duration_seconds_count{server="a",status_class="2xx"}'] == 7
    assert shown['logins_total{result="ok"}'] == 1
    true = samples(table)
    assert list(true) == list(shown)
    assert true['nginx_http_responses_total{server="a",method="GET",status="500"}'] == 6
    assert true['nginx_http_request_duration_seconds_count{server="a",status_class="5xx"}'] == 6
    assert samples(table, boundary) == shown  # another client's true page does not spoil the scraper's
    assert samples(table, table.next_creation) == true
    assert set(samples(table, 0).values()) == {0}


def test_increase_sees_the_first_requests() -> None:
    """Values of one series as a scraper gets them: its differences add up to every request since the row began."""
    table, scrapers, history = Table(), Scrapers(), []
    prometheus = identify("10.0.0.1", "Prometheus/3")
    name = 'logins_total{result="ok"}'
    merge(table, LOGINS, ("bad", 1))
    for scrape, logins in enumerate([0, 3, 0, 2]):
        if logins:
            merge(table, LOGINS, ("ok", logins))
        boundary = scrapers.shown_before(prometheus, table.next_creation, 1000.0 + scrape)
        scrapers.see(prometheus, 1000.0 + scrape)
        scrapers.note(scrapers.news([prometheus], table.next_creation))
        history.append(samples(table, boundary).get(name))
    assert history == [None, 0, 3, 5]
