"""What a format has no place for, through a real collector: Prometheus and the strictest parsers read every page."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.collector import Collector
from support.prometheus import Prometheus
from support.wait import wait_until
from support.worker import Worker

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
HISTOGRAM = {"type": "histogram", "columns": ["sum"], "custom": True}
DELTA = {"name": "delta_seconds", "labels": [], "bounds": [-1, 0], "rows": [[1, 0, 1, -0.5]], **HISTOGRAM}
HUGE = {"name": "huge", "labels": [], "bounds": [1], "rows": [[0, 1, 1.7e308], [0, 1, 1.7e308]], **HISTOGRAM}
ODD = "\x7f\x85\u2028"


def counter(name: str, labels: list[str], *row: Any, custom: bool = True) -> dict[str, Any]:
    return {"name": name, "type": "counter", "labels": labels, "columns": ["value"], "rows": [row], "custom": custom}


FIRST = [
    *(DELTA, HUGE, counter("odd_total", ["l"], ODD, 1) | {"help": ODD}),
    *(
        counter("mine_total", ["nginx"], "edge", 1),
        counter("resty_metrics_rows", ["family"], "mine_total", 77, custom=False),
    ),
]
SECOND = [counter("mine_total", [], 5), DELTA]


@pytest.fixture
def collector(socket_path: Path) -> Iterator[Collector]:
    with Collector(socket_path) as running, Worker(socket_path) as first, Worker(socket_path) as second:
        for worker, body in ((first, {"families": FIRST}), (second, {"instance": "edge", "families": SECOND})):
            worker.send(worker.next_batch(body))
            worker.probe()
        wait_until(lambda: running.value("delta_seconds_count", nginx="edge") == 2, message="both batches")
        yield running


def test_parsers(collector: Collector) -> None:
    text, openmetrics = collector.page(), collector.page(Accept=OPENMETRICS)
    shown = [(s.name, frozenset(s.labels.items())) for family in parse_text(text) for s in family.samples]
    assert len(shown) == len(set(shown))
    types = {family.name: family.type for family in parse_openmetrics(openmetrics)}  # type: ignore[no-untyped-call]
    assert [types[f"delta_seconds_{part}"] for part in ("bucket", "sum", "count")] == ["unknown"] * 3
    assert types["huge"] == "histogram"
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    assert "huge_sum +Inf\n" in text
    assert 'odd_total{l="\\\\x7f\\\\x85\\\\u2028"} 1\n' in text
    assert collector.value("mine_total", nginx="edge") == 1
    assert collector.value("resty_metrics_rows", family="odd_total") == 1
    assert collector.value("resty_metrics_family_conflict", nginx="edge", family="mine_total") == 1
    assert collector.value("resty_metrics_family_conflict", family="resty_metrics_rows") == 1


@pytest.mark.slow
def test_prometheus(collector: Collector, shared: Path) -> None:
    """It asks for OpenMetrics, and has every number of what is ``unknown`` there."""
    with Prometheus(shared, collector.port) as prometheus:
        wait_until(lambda: prometheus.value("up") == 1, message="a scrape that it could read")
        wait_until(lambda: prometheus.value('delta_seconds_sum{nginx=""}') == -0.5, message="the sum below 0")
        assert prometheus.value('delta_seconds_bucket{nginx="edge",le="0.0"}') == 1
        assert prometheus.value("huge_sum == Inf") == float("inf")
    assert "same timestamp" not in (shared / "prometheus.log").read_text()  # its words for a series that is there twice
