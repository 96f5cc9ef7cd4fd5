"""Clients that do not read their pages: what they hold has a bound, and others get their pages all the same."""

import http.client
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from resty_metrics.page.bodies import HELD_BYTES
from support.client import Answer, ask
from support.collector import Collector
from support.nginx import shared_directory
from support.wait import wait_until
from support.worker import Worker, counter

pytestmark = pytest.mark.slow

ROWS, PER_BATCH = 4_000, 100
BOUNDS = [*range(1, 18)]
TIMEOUT = "X-Prometheus-Scrape-Timeout-Seconds"


def fill(collector: Collector) -> None:
    """A page that is larger than what may be held beside another one."""
    family = {
        "name": "large",
        "type": "histogram",
        "labels": ["number"],
        "bounds": BOUNDS,
        "columns": ["sum"],
        "custom": True,
    }
    with Worker(collector.socket_path) as worker:
        for first in range(0, ROWS, PER_BATCH):
            rows = [[f"{number:0200}", *[1] * (len(BOUNDS) + 2)] for number in range(first, first + PER_BATCH)]
            worker.send(worker.next_batch({"families": [{**family, "rows": rows}]}))
            worker.answer()


@pytest.fixture
def collector() -> Iterator[Collector]:
    directory = shared_directory()
    with Collector(directory / "collector.sock") as collector:
        fill(collector)
        assert len(collector.page()) > HELD_BYTES
        yield collector
    shutil.rmtree(directory)


def hold(collector: Collector, agent: str = "", timeout: str = "") -> socket.socket:
    """A page that has begun to come, and of which nothing more is read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(("127.0.0.1", collector.port))
    headers = f"User-Agent: {agent}\r\n" + (f"{TIMEOUT}: {timeout}\r\n" if timeout else "")
    client.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


def scrape(collector: Collector, agent: str, timeout: str = "10", **headers: str) -> Answer:
    return ask(collector.port, "/metrics", User_Agent=agent, X_Prometheus_Scrape_Timeout_Seconds=timeout, **headers)


def become_regular(collector: Collector, agent: str) -> None:
    """Scrape for as long as it takes: then a page of another client makes room for it."""

    def is_regular() -> bool:
        assert scrape(collector, agent).status == 200
        return collector.value("resty_metrics_scrapers", kind="regular") == 1

    wait_until(is_regular, 60, f"{agent} as a regular scraper")


def ends_early(client: socket.socket) -> bool:
    """Read what is there: of a connection that was closed it is not all."""
    received = 0
    try:
        while received < HELD_BYTES and (data := client.recv(1 << 20)):
            received += len(data)
    except ConnectionError:
        pass
    return received < HELD_BYTES


def test_who_does_not_read_gives_way(collector: Collector) -> None:
    with hold(collector) as unread:
        answer = scrape(collector, "Prometheus/3")
        assert answer.status == 200
        assert len(answer.body) > HELD_BYTES
        assert ends_early(unread)
    assert collector.value("resty_metrics_web_closed_connections_total", reason="evicted") == 1


def test_a_regular_scraper_comes_before_others_and_its_page_gives_way_to_none_of_them(collector: Collector) -> None:
    become_regular(collector, "Prometheus/3")
    with hold(collector), hold(collector, "Prometheus/3", "10") as regular:  # which closes the first
        status, headers, body = scrape(collector, "newcomer", timeout="1")
        assert (status, headers["Retry-After"]) == (503, "1")
        assert b"Try again later" in body
        assert not ends_early(regular)
    assert scrape(collector, "newcomer").status == 200
    assert collector.value("resty_metrics_web_refused_requests_total", reason="busy") == 1


def test_many_that_do_not_read_leave_pages_for_others(collector: Collector) -> None:
    """Also for those that nobody knows; all that the collector does goes on meanwhile."""
    with ExitStack() as opened:
        for number in range(6):
            opened.enter_context(hold(collector, f"evil{number}", "10"))
        with Worker(collector.socket_path) as worker:
            worker.send(worker.next_batch(counter("late_total", 1)))
            worker.answer()
        assert scrape(collector, "Prometheus/3").status == 200
        assert "\nlate_total 1\n" in collector.page()


def test_a_connection_that_rests_holds_no_page(collector: Collector) -> None:
    """Its page is free for others as soon as it was read, long before the next request."""
    with closing(http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20)) as resting:
        for _ in range(2):
            resting.request("GET", "/metrics")
            assert len(resting.getresponse().read()) > HELD_BYTES
            assert scrape(collector, "Prometheus/3", timeout="1").status == 200
