"""What a real Prometheus makes of the page."""

import re
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from support.client import get
from support.collector import Collector, families_of, samples_of
from support.nginx import ROOT, Nginx, shared_directory, with_durations
from support.prometheus import Prometheus
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

DURATION = "nginx_http_request_duration_seconds"

SITE = """
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
        location /sixty {{ echo_sleep 0.06; echo slow; }}
        location /broken {{ return 500; }}
    }}
"""


@dataclass(frozen=True)
class Stack:
    """nginx, collector and Prometheus, one scraping the other."""

    port: int
    nginx: Nginx
    collector: Collector
    prometheus: Prometheus


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    directory = shared_directory()
    port = free_port()
    socket_path = directory / "collector.sock"
    site = "include {share}/nginx.conf.d/lifecycle.conf;" + SITE.format(port=port)
    with (
        Collector(socket_path) as collector,
        Nginx(socket_path, site) as nginx,
        Prometheus(directory, collector.port) as prometheus,
    ):
        yield Stack(port, nginx, collector, prometheus)
    shutil.rmtree(directory, ignore_errors=True)


def test_up_and_the_sources(stack: Stack) -> None:
    wait_until(lambda: stack.prometheus.value("up") == 1, message="up")
    wait_until(lambda: stack.prometheus.value('resty_metrics_source_up{source="lua"}') == 1, message="source_up")
    assert stack.prometheus.value("nginx_up") == 1
    assert stack.prometheus.value("resty_metrics_socket_up") == 1


def test_increase_sees_the_first_of_a_new_row(stack: Stack) -> None:
    """Every first 5xx would be missed if its row appeared at its value."""
    wait_until(lambda: stack.prometheus.value("up") == 1, message="up")
    get(stack.port, "/broken", times=5, kept=True)
    broken = 'increase(nginx_http_responses_total{status="500"}[1m])'
    wait_until(lambda: (stack.prometheus.value(broken) or 0) > 0, message="increase")
    assert stack.prometheus.value('max_over_time(nginx_http_responses_total{status="500"}[1m])') == 5
    assert stack.prometheus.value('min_over_time(nginx_http_responses_total{status="500"}[1m])') == 0


def test_histogram_quantile_of_a_known_delay(stack: Stack) -> None:
    """60 ms lies in the bucket (0.05, 0.075]."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: get(stack.port, "/sixty", times=15, kept=True), range(4)))
    by_server = "sum by (le) (nginx_http_request_duration_seconds_bucket{status_class='2xx'})"
    wait_until(
        lambda: (stack.prometheus.value(f"sum({DURATION}_count{{status_class='2xx'}})") or 0) >= 60,
        message="the slow requests",
    )
    median = stack.prometheus.value(f"histogram_quantile(0.5, {by_server})")
    assert median is not None
    assert 0.05 < median <= 0.075
    mean = stack.prometheus.value(
        "sum(nginx_http_request_duration_seconds_sum{status_class='2xx'})"
        " / sum(nginx_http_request_duration_seconds_count{status_class='2xx'})"
    )
    assert mean is not None
    assert 0.055 < mean < 0.2


def test_overlapping_scrapes_agree(stack: Stack) -> None:
    """Two families of one page, and pages asked for at once, show one state, while requests go on."""
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            get(stack.port, "/", times=20, kept=True)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        ends = time.monotonic() + 4
        with ThreadPoolExecutor(8) as pool:
            while time.monotonic() < ends:
                for page in pool.map(lambda _: stack.collector.page(), range(8)):
                    assert_one_state(page)
    finally:
        stop.set()
        thread.join()


def assert_one_state(page: str) -> None:
    samples = samples_of(page)
    count = "nginx_http_request_duration_seconds_count"
    durations = {labels: value for (name, labels), value in samples.items() if name == count}
    assert durations
    for labels, value in durations.items():
        everything = labels | {("le", "+Inf")}
        assert samples["nginx_http_request_duration_seconds_bucket", frozenset(everything)] == value
    requests, timed = families_of(samples)
    assert timed == with_durations(requests)[1]


def test_promtool_finds_nothing_but_the_two_compatibility_names(stack: Stack) -> None:
    get(stack.port, "/")
    wait_until(lambda: stack.collector.request_counts(), message="requests")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=stack.collector.page(), text=True, capture_output=True, check=False
    )
    said = set((checked.stdout + checked.stderr).splitlines())
    assert said == {
        f'nginx_connections_{name} counter metrics should have "_total" suffix' for name in ("accepted", "handled")
    }


def test_openmetrics_is_valid_and_says_the_same(stack: Stack) -> None:
    request = urllib.request.Request(
        f"{stack.collector.url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        families = list(parse_openmetrics(response.read().decode()))  # type: ignore[no-untyped-call]
    names = {sample.name for family in families for sample in family.samples}
    # prometheus-client's parser of the text format gives every counter a _total that is not there
    as_text = {re.sub("^(nginx_connections_.*)_total$", r"\1", name) for name, _ in stack.collector.samples()}
    assert names == as_text


def test_the_job_that_we_offer_is_valid() -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", str(ROOT / "prometheus" / "scrape.yml")],
        text=True,
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
