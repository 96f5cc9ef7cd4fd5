"""HTTP as a client sees it."""

import asyncio
import gzip
import http.client
import math
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from resty_metrics.page.bodies import Body
from resty_metrics.page.waiting import Request
from resty_metrics.sources.source import DEFAULT_TIMEOUT
from resty_metrics.web import server
from resty_metrics.wire.datagram import Verdict
from support.client import ask
from support.collector import Collector
from support.nginx import shared_directory
from support.wait import wait_until
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
    """On a socket that workers could reach; nothing is degraded."""
    directory = shared_directory()
    with Collector(directory / "collector.sock") as collector:
        yield collector
    shutil.rmtree(directory)


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
    ("text/plain;version=x", PLAIN),
    ("application/openmetrics-text;version=1.a", PLAIN),
    (f"application/openmetrics-text;version={'1' * 5000}", PLAIN),
    ("application/openmetrics-text;q=0, */*", PLAIN),
    ("text/plain;q=0, */*;q=0.1", OPENMETRICS),
]


@pytest.mark.parametrize(("accept", "content_type"), ACCEPTS)
def test_the_format_is_the_clients_choice(collector: Collector, accept: str, content_type: str) -> None:
    status, headers, body = ask(collector.port, "/metrics", Accept=accept)
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
    [
        ("gzip", True),
        ("gzip, deflate", True),
        ("deflate;q=1, gzip;q=0.5", True),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("GZIP ; q=0.000, *", False),
        ("identity;q=0, *", True),
    ],
)
def test_gzip_where_the_client_takes_it(collector: Collector, accept: str, compressed: bool) -> None:
    _, headers, body = ask(collector.port, "/metrics", Accept_Encoding=accept)
    assert (headers.get("Content-Encoding") == "gzip") == compressed
    text = gzip.decompress(body) if compressed else body
    assert b"resty_metrics_socket_up 1\n" in text


@pytest.mark.parametrize(
    "headers", [{"Accept": "*/*;q=0"}, {"Accept_Encoding": "*;q=0"}, {"Accept_Encoding": "identity;q=0"}], ids=str
)
def test_a_client_that_takes_nothing_gets_nothing(collector: Collector, headers: dict[str, str]) -> None:
    status, _, body = ask(collector.port, "/metrics", **headers)
    assert status == 406
    assert b"text/plain" in body


def test_health_and_readiness(collector: Collector) -> None:
    assert ask(collector.port, "/-/healthy")[::2] == (200, b"resty-metrics is healthy\n")
    assert ask(collector.port, "/-/ready")[::2] == (200, b"resty-metrics is ready\n")


def test_readiness_says_what_is_degraded_and_stays_200(tmp_path: Path) -> None:
    with Collector(tmp_path / "collector.sock") as collector:
        collector.socket_path.unlink()
        collector.socket_path.mkdir()  # nothing can be renamed over it
        (collector.socket_path / "in the way").touch()
        text = f"not lead to this collector: cannot restore the socket at {collector.socket_path}: directory not empty"
        wait_until(lambda: text in ask(collector.port, "/-/ready")[2].decode(), message="the degradation")
        status, _, body = ask(collector.port, "/-/ready")
        assert (status, body.splitlines()[0]) == (200, b"resty-metrics is ready")
        assert collector.value("resty_metrics_socket_up") == 0
        assert ask(collector.port, "/-/healthy")[0] == 200


def test_the_landing_page_leads_to_the_others(collector: Collector) -> None:
    status, headers, body = ask(collector.port, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for path in ("/metrics", "/-/healthy", "/-/ready"):
        assert f'<a href="{path}">'.encode() in body
        assert ask(collector.port, path)[0] == 200


def test_a_telemetry_path_is_escaped_and_served(tmp_path: Path) -> None:
    with Collector(tmp_path / "collector.sock", '--web.telemetry-path=/m"<') as collector:
        assert b'<a href="/m&#34;&lt;">' in ask(collector.port, "/")[2]
        assert ask(collector.port, "/m%22%3C")[0] == 200
        assert ask(collector.port, "/metrics")[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/none", 404), ("POST", "/metrics", 405), ("HEAD", "/metrics", 200), ("GET", "/metrics/", 404)],
)
def test_other_requests(collector: Collector, method: str, path: str, status: int) -> None:
    assert ask(collector.port, path, method)[0] == status


def test_head_is_the_page_without_its_body(collector: Collector) -> None:
    _, headers, body = ask(collector.port, "/metrics", "HEAD", Accept="application/openmetrics-text")
    assert (headers["Content-Type"], body) == (OPENMETRICS, b"")
    assert int(headers["Content-Length"]) > 0


def test_scrapes_that_overlap_show_the_same(collector: Collector) -> None:
    with Worker(collector.socket_path) as worker:
        for _ in range(50):
            worker.send(worker.next_batch(counter("seen_total", 1)))
            worker.probe()
        with ThreadPoolExecutor(16) as pool:
            pages = list(pool.map(lambda _: ask(collector.port, "/metrics")[2], range(64)))
    assert {line for page in pages for line in page.splitlines() if line.startswith(b"seen_total")} == {
        b"seen_total 50"
    }


def test_a_slow_source_leaves_the_scrape_its_time(tmp_path: Path) -> None:
    """The source hangs; the page comes before the scrape's own timeout, and says which source was slow."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        source = f"--source.stub-status=http://127.0.0.1:{silent.getsockname()[1]}/"
        with Collector(tmp_path / "collector.sock", source) as collector:
            page = ask(collector.port, "/metrics", X_Prometheus_Scrape_Timeout_Seconds="1")[2].decode()
    (took,) = [line.split()[1] for line in page.splitlines() if line.startswith("resty_metrics_source_duration_seco")]
    assert 0.5 <= float(took) < DEFAULT_TIMEOUT
    assert 'resty_metrics_source_up{source="stub_status"} 0' in page
    assert 'resty_metrics_source_errors_total{source="stub_status",reason="timeout"} 1' in page
    assert "nginx_up 0" in page


def test_a_new_row_is_at_0_for_each_scraper_once(collector: Collector) -> None:
    """A Prometheus sees the step from 0, whoever else has looked before; a person sees the value at once."""
    headers = {"X_Prometheus_Scrape_Timeout_Seconds": "10"}
    ask(collector.port, "/metrics", User_Agent="one", **headers)
    with Worker(collector.socket_path) as worker:
        worker.send(worker.next_batch(counter("fresh_total", 5)))
        assert worker.answer()[0] is Verdict.ACK
    assert b"\nfresh_total 5\n" in ask(collector.port, "/metrics")[2]
    assert b"\nfresh_total 0\n" in ask(collector.port, "/metrics", User_Agent="one", **headers)[2]
    wait_until(  # that it was shown is noted once that is safe, which the page does not wait for
        lambda: b"\nfresh_total 5\n" in ask(collector.port, "/metrics", User_Agent="one", **headers)[2],
        message="the row with its value",
    )


TIMEOUTS = [
    (None, math.inf),
    ("10", 9.5),
    ("5.5", 5.0),
    ("3", 2.5),
    ("0.7", pytest.approx(0.2)),
    ("0.55", 0.1),
    ("0.01", 0.1),
    ("0", math.inf),
    ("-1", math.inf),
    ("nan", math.inf),
    ("inf", math.inf),
    ("soon", math.inf),
    ("", math.inf),
]


@pytest.mark.parametrize(("announced", "timeout"), TIMEOUTS)
def test_sources_get_less_time_than_the_scrape(announced: str | None, timeout: float) -> None:
    headers = {"User-Agent": "Prometheus/3"} | ({} if announced is None else {server.TIMEOUT_HEADER: announced})
    page_request = server.read_request(make_mocked_request("GET", "/metrics", headers=headers))
    assert page_request.timeout == timeout
    assert (page_request.scraper is None) == (announced is None)


class Source:
    """A stub_status that answers when it is told to."""

    PAGE = b"Active connections: 1 \nserver accepts handled requests\n 7 7 9 \nReading: 0 Writing: 1 Waiting: 0 \n"

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(10)
        self.flag = f"--source.stub-status=http://127.0.0.1:{self._listening.getsockname()[1]}/"

    def accept(self) -> socket.socket:
        connection, _ = self._listening.accept()
        assert connection.recv(65536).startswith(b"GET / HTTP/1.1\r\n")
        return connection

    def answer(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.PAGE), self.PAGE))

    def asked_again(self, connection: socket.socket) -> bool:
        """Whether another request came, on this connection or on a new one."""
        for waiting, look in ((connection, lambda: connection.recv(1)), (self._listening, self._listening.accept)):
            waiting.setblocking(False)
            try:
                look()
            except BlockingIOError:
                continue
            return True
        return False

    def close(self) -> None:
        self._listening.close()


def connections(collector: Collector, count: int) -> list[http.client.HTTPConnection]:
    """Scrapes under way, in two formats: what was sent before an answer to a later request has been read."""
    opened = []
    for number in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20)
        connection.request("GET", "/metrics", headers={"Accept": ("text/plain", OPENMETRICS)[number % 2]})
        opened.append(connection)
    for _ in range(3):
        assert ask(collector.port, "/-/healthy")[0] == 200
    return opened


def test_scrapes_that_overlap_ask_a_source_once_and_outlive_each_other(tmp_path: Path) -> None:
    """The first to ask goes away; the others get their pages of the one fetch all the same."""
    source = Source()
    with Collector(tmp_path / "collector.sock", source.flag) as collector:
        first, *rest = connections(collector, 7)
        connection = source.accept()
        first.close()
        assert ask(collector.port, "/-/healthy")[0] == 200
        source.answer(connection)
        for client in rest:
            response = client.getresponse()
            assert (response.status, b"\nnginx_http_requests_total 9\n" in response.read()) == (200, True)
            client.close()
        assert not source.asked_again(connection)
        connection.close()
    source.close()


def test_a_scrape_does_not_wait_for_another_that_has_more_time(tmp_path: Path) -> None:
    """A person looks while a source hangs, and Prometheus, with a second in all, comes meanwhile."""
    source = Source()
    with Collector(tmp_path / "collector.sock", source.flag) as collector:
        (patient,) = connections(collector, 1)
        first = source.accept()
        page = ask(collector.port, "/metrics", X_Prometheus_Scrape_Timeout_Seconds="1")[2].decode()
        (took,) = [line.split()[1] for line in page.splitlines() if line.startswith("resty_metrics_source_duration_s")]
        assert float(took) < 2
        source.answer(first)
        assert b"\nnginx_http_requests_total 9\n" in patient.getresponse().read()
        patient.close()
        first.close()
    source.close()


def test_a_scrape_does_not_share_the_fetch_of_another_that_has_less_time(tmp_path: Path) -> None:
    """Whoever asks with a short timeout while a source is slow would take that source from Prometheus's page."""
    source = Source()
    with Collector(tmp_path / "collector.sock", source.flag) as collector:
        hasty, patient = (http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20) for _ in range(2))
        hasty.request("GET", "/metrics", headers={server.TIMEOUT_HEADER: "2"})
        first = source.accept()
        patient.request("GET", "/metrics", headers={server.TIMEOUT_HEADER: "10"})
        second = source.accept()
        assert b"\nnginx_http_requests_total" not in hasty.getresponse().read()
        source.answer(second)
        assert b"\nnginx_http_requests_total 9\n" in patient.getresponse().read()
        for opened in (hasty, patient, first, second):
            opened.close()
    source.close()


def test_scrapes_with_many_timeouts_are_few_fetches(tmp_path: Path) -> None:
    """Each would be a fetch of its own, and a document in memory: none waits for one that has more time."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        source = f"--source.stub-status=http://127.0.0.1:{silent.getsockname()[1]}/"
        with Collector(tmp_path / "collector.sock", source) as collector:
            with ThreadPoolExecutor(200) as pool:
                pages = pool.map(
                    lambda number: ask(
                        collector.port, "/metrics", X_Prometheus_Scrape_Timeout_Seconds=str(2.4 - number / 100)
                    ),
                    range(200),
                )
                assert {page.status for page in pages} == {200}
            fetches = collector.value("resty_metrics_source_errors_total", source="stub_status", reason="timeout")
    assert fetches is not None
    assert fetches < 40


class Broken:
    async def page(self, request: Request) -> Body:
        raise RuntimeError("secret")


def test_a_page_that_cannot_be_made_is_a_500_that_gives_nothing_away() -> None:
    async def answers() -> list[tuple[int, str]]:
        app = server.application(Broken(), list, "/metrics")
        async with TestClient(TestServer(app)) as client:
            statuses = []
            for path in ("/metrics", "/-/healthy"):
                async with client.get(path) as response:
                    statuses.append((response.status, await response.text()))
            return statuses

    failed, healthy = asyncio.run(answers())
    assert failed == (500, "the page cannot be rendered. See the collector's log\n")
    assert healthy[0] == 200


@pytest.mark.parametrize(
    ("bound", "address"),
    [
        (("0.0.0.0", 19145), "http://localhost:19145"),
        (("::", 19145, 0, 0), "http://localhost:19145"),
        (("127.0.0.1", 80), "http://127.0.0.1:80"),
        (("fe80::1", 80, 0, 0), "http://[fe80::1]:80"),
        ("/run/web.sock", "unix:/run/web.sock"),
    ],
)
def test_the_address_of_a_socket_is_one_that_a_client_here_can_use(bound: object, address: str) -> None:
    assert server.address_of("http", bound) == address
