"""A real Prometheus beside clients that pretend to be others: it sees the first value of each new row."""

import http.client
import shutil
from collections.abc import Iterator, Sequence

import pytest
from resty_metrics.table.scrapers import MAX_SCRAPERS
from support.collector import Collector
from support.nginx import shared_directory
from support.prometheus import Prometheus
from support.wait import wait_until
from support.worker import Worker, counter

pytestmark = pytest.mark.slow


@pytest.fixture
def collector() -> Iterator[Collector]:
    directory = shared_directory()
    with Collector(directory / "collector.sock") as collector:
        yield collector
    shutil.rmtree(directory)


def send(collector: Collector, *names: str) -> None:
    with Worker(collector.socket_path) as worker:
        for name in names:
            worker.send(worker.next_batch(counter(name, 1)))
            worker.answer()


def flood(collector: Collector, hosts: Sequence[str], agents: int = MAX_SCRAPERS + 1) -> None:
    """Scrapes with as many names from each of these addresses."""
    for host in hosts:
        for number in range(agents):
            connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20, source_address=(host, 0))
            headers = {"User-Agent": f"evil{number}", "X-Prometheus-Scrape-Timeout-Seconds": "10"}
            connection.request("GET", "/metrics", headers=headers)
            assert connection.getresponse().read()
            connection.close()


def first_value(prometheus: Prometheus, name: str) -> float:
    wait_until(lambda: prometheus.value(name) == 1, 30, f"{name} with its value")
    ((_, samples),) = prometheus.history(f"{name}[5m]")
    return samples[0][1]


FLOODS = [["127.0.0.1"], ["127.0.0.9"], [f"127.0.1.{number}" for number in range(1, 9)]]


@pytest.mark.parametrize("hosts", FLOODS, ids=["its own host", "another host", "many hosts"])
def test_a_prometheus_is_not_pushed_out(collector: Collector, hosts: Sequence[str]) -> None:
    with Prometheus(collector.socket_path.parent, collector.port) as prometheus:
        wait_until(lambda: prometheus.value("up") == 1, 30, "a scrape")
        flood(collector, hosts)
        send(collector, "first_total")
        assert first_value(prometheus, "first_total") == 0
        wait_until(lambda: collector.value("resty_metrics_scrapers", kind="regular") == 1, 30, "a regular scraper")
        flood(collector, hosts)
        send(collector, "second_total")
        assert first_value(prometheus, "second_total") == 0
        collector.kill()
        collector.start()  # which knows it from the journal
        flood(collector, hosts)
        send(collector, "third_total")
        assert first_value(prometheus, "third_total") == 0
        assert collector.value("resty_metrics_scrapers", kind="regular") == 1
    assert (collector.value("resty_metrics_scrapers", kind="newcomer") or 0) < MAX_SCRAPERS


def test_names_of_any_length_cost_the_journal_nothing(collector: Collector) -> None:
    before = collector.value("resty_metrics_journal_log_bytes") or 0
    for number in range(200):
        collector.page(X_Prometheus_Scrape_Timeout_Seconds="10", User_Agent=f"{number:08000}")
    after = collector.value("resty_metrics_journal_log_bytes") or 0
    assert after - before < MAX_SCRAPERS * 100
