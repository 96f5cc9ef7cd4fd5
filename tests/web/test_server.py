"""HTTP as a client sees it."""

import gzip
import http.client
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from support.collector import Collector
from support.nginx import shared_directory
from support.worker import Worker, counter

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# what Prometheus 2.42 and 3.0 send
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector(shared_directory() / "collector.sock") as collector:
        yield collector


def ask(collector: Collector, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


ACCEPTS = [
    ("", PLAIN),
    ("*/*", PLAIN),
    ("text/plain", PLAIN),
    ("text/html", PLAIN),
    ("application/openmetrics-text", OPENMETRICS),
    ("application/openmetrics-text; version=1.0.0", OPENMETRICS),
    (PROMETHEUS_2, OPENMETRICS),
    (PROMETHEUS_3, OPENMETRICS),
    ("application/json", PLAIN),
    (";;,,q=", PLAIN),
]


@pytest.mark.parametrize(("accept", "content_type"), ACCEPTS)
def test_the_format_is_the_clients_choice(collector: Collector, accept: str, content_type: str) -> None:
    status, headers, body = ask(collector, "/metrics", Accept=accept)
    assert (status, headers["Content-Type"]) == (200, content_type)
    assert headers["Vary"] == "Accept, Accept-Encoding"
    if content_type == OPENMETRICS:
        assert body.endswith(b"# EOF\n")
        assert list(parse_openmetrics(body.decode()))  # type: ignore[no-untyped-call]
    else:
        assert b"# EOF" not in body
        assert list(text_string_to_metric_families(body.decode()))


@pytest.mark.parametrize(
    ("accept", "compressed"),
    [("gzip", True), ("gzip, deflate", True), ("deflate;q=1, gzip;q=0.5", True), ("identity", False), ("br", False)],
)
def test_gzip_where_the_client_takes_it(collector: Collector, accept: str, compressed: bool) -> None:
    _, headers, body = ask(collector, "/metrics", Accept_Encoding=accept)
    assert (headers.get("Content-Encoding") == "gzip") == compressed
    text = gzip.decompress(body) if compressed else body
    assert b"resty_metrics_socket_up 1\n" in text


def test_health_and_readiness(collector: Collector) -> None:
    assert ask(collector, "/-/healthy")[::2] == (200, b"resty-metrics is healthy\n")
    assert ask(collector, "/-/ready")[::2] == (200, b"resty-metrics is ready\n")


def test_readiness_says_what_is_degraded_and_stays_200() -> None:
    with Collector(shared_directory() / "collector.sock") as collector:
        collector.socket_path.unlink()
        status, _, body = ask(collector, "/-/ready")
        assert status == 200
        assert b"degraded: the socket at" in body
        assert collector.value("resty_metrics_socket_up") == 0


def test_the_landing_page_leads_to_the_others(collector: Collector) -> None:
    status, headers, body = ask(collector, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for path in ("/metrics", "/-/healthy", "/-/ready"):
        assert f'<a href="{path}">'.encode() in body
        assert ask(collector, path)[0] == 200


def test_a_telemetry_path_is_escaped_and_served() -> None:
    with Collector(shared_directory() / "collector.sock", '--web.telemetry-path=/m"<') as collector:
        assert b'<a href="/m&quot;&lt;">' in ask(collector, "/")[2]
        assert ask(collector, "/m%22%3C")[0] == 200
        assert ask(collector, "/metrics")[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/none", 404), ("POST", "/metrics", 405), ("HEAD", "/metrics", 200), ("GET", "/metrics/", 404)],
)
def test_other_requests(collector: Collector, method: str, path: str, status: int) -> None:
    assert ask(collector, path, method)[0] == status


def test_scrapes_that_overlap_show_the_same(collector: Collector) -> None:
    with Worker(collector.socket_path) as worker:
        for _ in range(50):
            worker.send(worker.next_batch(counter("seen_total", 1)))
            worker.probe()
        with ThreadPoolExecutor(16) as pool:
            pages = list(pool.map(lambda _: ask(collector, "/metrics")[2], range(64)))
    assert {line for page in pages for line in page.splitlines() if line.startswith(b"seen_total")} == {
        b"seen_total 50"
    }


def test_a_slow_source_leaves_the_scrape_its_time() -> None:
    """The source hangs; the page comes before the scrape's own timeout, and says which source was slow."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        source = f"--source.stub-status=http://127.0.0.1:{silent.getsockname()[1]}/"
        with Collector(shared_directory() / "collector.sock", source) as collector:
            page = ask(collector, "/metrics", X_Prometheus_Scrape_Timeout_Seconds="1")[2].decode()
    assert 'resty_metrics_source_up{source="stub_status"} 0' in page
    assert 'resty_metrics_source_errors_total{source="stub_status",reason="timeout"} 1' in page
    assert "nginx_up 0" in page


def test_a_new_row_is_at_0_for_each_scraper_once(collector: Collector) -> None:
    """A Prometheus sees the step from 0, whoever else has looked before; a person sees the value at once."""
    headers = {"X_Prometheus_Scrape_Timeout_Seconds": "10"}
    ask(collector, "/metrics", User_Agent="one", **headers)
    with Worker(collector.socket_path) as worker:
        worker.send(worker.next_batch(counter("fresh_total", 5)))
        worker.probe()
    assert b"\nfresh_total 5\n" in ask(collector, "/metrics")[2]
    assert b"\nfresh_total 0\n" in ask(collector, "/metrics", User_Agent="one", **headers)[2]
    assert b"\nfresh_total 5\n" in ask(collector, "/metrics", User_Agent="one", **headers)[2]
