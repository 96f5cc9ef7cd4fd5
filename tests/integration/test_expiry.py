"""Rows that expire, with a real nginx and a real Prometheus: what is forgotten was seen, and what returns counts."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.client import ask, get
from support.clock import Clock
from support.collector import Collector
from support.nginx import Nginx, shared_directory
from support.prometheus import Prometheus
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

HOUR = 3600.0
SITE = """
    lua_shared_dict mine 1m;
    lua_package_path "{share}/lua/?.lua;{share}/lua/compat/?.lua;;";
    init_by_lua_block {
        local metrics = require "resty.metrics"
        words = metrics.counter("words_total", "Words.", {"word"})
        sizes = metrics.histogram("sizes", "Sizes.", {"word"}, {buckets = {1, 10}})
        queue = metrics.gauge("queue_length", "Queue.", {"word"})
        prometheus = require("prometheus").init("mine")
        jobs = prometheus:counter("jobs_total", "Jobs.", {"word"})
        times = prometheus:histogram("times", "Times.", {"word"}, {1, 10})
    }
    server {
        listen 127.0.0.1:PORT;
        server_name a.example;
        location / { return 200 "ok\\n"; }
        location /broken { return 500; }
        location /lua {
            content_by_lua_block {
                local word = ngx.var.arg_word
                words:inc(1, {word})
                sizes:observe(5, {word})
                queue:set(7, {word})
                jobs:inc(1, {word})
                times:observe(5, {word})
                ngx.say("ok")
            }
        }
    }
"""
OF_LUA = ("words_total", "sizes_count", "jobs_total", "times_count")
BROKEN = 'nginx_http_responses_total{status="500"}'


@dataclass(frozen=True)
class Stack:
    """nginx, a collector whose clock can be set forward, and a Prometheus that is regular."""

    port: int
    collector: Collector
    prometheus: Prometheus
    clock: Clock
    file: Path

    def get(self, path: str, times: int = 1) -> None:
        get(self.port, path, times=times)

    def of_lua(self, word: str) -> list[float | None]:
        return [self.collector.value(name, word=word) for name in OF_LUA]

    def broken(self) -> float | None:
        return self.collector.value("nginx_http_responses_total", server="a.example", method="GET", status="500")

    def expired(self) -> float:
        samples = self.collector.samples().items()
        return sum(value for (name, _), value in samples if name == "resty_metrics_expired_rows_total")


@pytest.fixture
def stack() -> Iterator[Stack]:
    directory, port = shared_directory(), free_port()
    socket_path, configuration = directory / "collector.sock", directory / "resty-metrics.yml"
    configuration.write_text("rows: {expire: 1h}\n")
    clock = Clock(directory / "clock", monotonic=True)
    arguments = (f"--config.file={configuration}", "--web.enable-lifecycle")
    with (
        Collector(socket_path, *arguments, environment=clock.environment) as collector,
        Nginx(socket_path, SITE.replace("PORT", str(port)), workers=2),
        Prometheus(directory, collector.port) as prometheus,
    ):
        wait_until(lambda: collector.value("resty_metrics_scrapers", kind="regular") == 1, 30, "a regular scraper")
        yield Stack(port, collector, prometheus, clock, configuration)
    shutil.rmtree(directory, ignore_errors=True)


def test_a_row_is_forgotten_and_its_return_is_an_increase(stack: Stack) -> None:
    stack.get("/broken", 5)
    stack.get("/", 3)
    for word in ("idle", "busy"):
        stack.get(f"/lua?word={word}", 2)
    wait_until(lambda: stack.prometheus.value(BROKEN) == 5, 30, "the first errors in Prometheus")
    wait_until(lambda: stack.prometheus.value('times_count{word="idle"}') == 2, 30, "the words in Prometheus")
    assert stack.collector.value("queue_length", word="idle") is not None

    stack.clock.forward(HOUR / 2)
    stack.get("/", 3)
    stack.get("/lua?word=busy", 2)
    wait_until(lambda: stack.of_lua("busy") == [4] * 4, 30, "the busy rows")
    stack.clock.forward(HOUR / 2 + 10)
    wait_until(lambda: stack.broken() is None, 30, "the end of the idle row of requests")
    wait_until(lambda: stack.of_lua("idle") == [None] * 4, 30, "the end of the idle rows of Lua code")
    assert stack.of_lua("busy") == [4] * 4
    assert stack.collector.value("queue_length", word="idle") is None
    assert stack.collector.value("resty_metrics_expired_rows_total", family="words_total") == 1
    assert stack.collector.value("nginx_http_request_duration_seconds_count", status_class="5xx") is None
    assert not [labels for _, labels in stack.collector.samples() if "other" in dict(labels).values()]
    wait_until(lambda: stack.prometheus.value(BROKEN) is None, 30, "the end of the series in Prometheus")
    assert stack.prometheus.value("max(max_over_time(resty_metrics_trouble[5m]))") == 0

    expired = stack.expired()
    stack.collector.kill()
    stack.collector.start()
    assert stack.broken() is None
    assert stack.of_lua("idle") == [None] * 4
    assert stack.of_lua("busy") == [4] * 4
    assert stack.expired() == expired

    stack.get("/broken", 3)
    wait_until(lambda: stack.prometheus.value(BROKEN) == 3, 30, "the new errors in Prometheus")
    ((_, samples),) = stack.prometheus.history(BROKEN + "[10m]")
    values = [value for number, (_, value) in enumerate(samples) if not number or samples[number - 1][1] != value]
    assert values == [0, 5, 0, 3]
    increase = stack.prometheus.value(f"increase({BROKEN}[10m])")
    assert increase is not None
    assert 8 <= increase < 10  # Prometheus extrapolates to the time before the first sample


def test_a_reload_begins_and_ends_it(stack: Stack) -> None:
    stack.file.write_text("")
    ask(stack.collector.port, "/-/reload", "POST")
    stack.get("/broken", 5)
    wait_until(lambda: stack.prometheus.value(BROKEN) == 5, 30, "the errors in Prometheus")
    stack.clock.forward(3 * HOUR)
    wait_until(lambda: stack.collector.value("resty_metrics_scrapers", kind="regular") == 1, 30, "a scrape after that")
    stack.get("/", 1)
    wait_until(lambda: stack.collector.request_counts().total() == 6, 30, "a row after that")
    assert stack.broken() == 5
    stack.file.write_text("rows: {expire: 2h}\n")
    ask(stack.collector.port, "/-/reload", "POST")
    wait_until(lambda: stack.broken() is None, 30, "the end of the idle row")
    assert stack.collector.request_counts().total() == 1
