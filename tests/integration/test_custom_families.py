"""The user's own families, from datagrams to the page of a real collector, over its end and a new beginning."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from resty_metrics.wire.datagram import Kind, write_datagram
from support.collector import Collector
from support.wait import wait_until
from support.worker import Worker

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
SIZES = {
    "name": "upload_size_ratio",
    "type": "histogram",
    "help": "Uploads.",
    "labels": ["kind"],
    "bounds": [0.5, 1],
    "columns": ["sum"],
    "custom": True,
}
MINE = {
    "name": "nginx_http_requests_total",
    "type": "counter",
    "labels": ["host"],
    "columns": ["value"],
    "custom": True,
}
STATUS = {"accepted": 10, "handled": 9, "requests": 8, "active": 3, "reading": 0, "writing": 1, "waiting": 2}


def beat(sender: Worker, number: int, **said: Any) -> None:
    sender.send(write_datagram(sender.header(Kind.HEARTBEAT, number), said))


def gauge(value: float, when: int) -> dict[str, Any]:
    return {"name": "queue_length", "labels": ["queue"], "combine": "sum", "rows": [["mail", value, when]]}


@pytest.fixture
def collector(socket_path: Path) -> Any:
    with Collector(socket_path) as running:
        yield running


def test_custom_families(collector: Collector) -> None:
    with Worker(collector.socket_path) as one, Worker(collector.socket_path) as two:
        for worker, rows in ((one, [["a", 1, 2, 3, 4.5]]), (two, [["a", 1, 0, 0, -0.25], ["b", 0, 0, 1, 9]])):
            worker.send(worker.next_batch({"families": [SIZES | {"rows": rows}, MINE | {"rows": [["h", 2]]}]}))
        beat(one, 1, worker=0, master={"pid": 7, "birth": 8}, nginx=STATUS, part=1, parts=2, families=[gauge(3, 1)])
        two.probe()
        one.probe()
        assert collector.value("queue_length", queue="mail") is None
        assert collector.value("nginx_connections_active") is None
        beat(one, 1, part=2, parts=2, families=[])
        beat(two, 1, worker=1, families=[gauge(0.5, 2)])
        for worker in (one, two):
            worker.probe()
        check_page(collector)
        collector.kill()
        collector.start()
        assert collector.value("queue_length", queue="mail") is None
        assert collector.value("nginx_http_requests_total", host="h") == 4
        assert collector.value("upload_size_ratio_sum", kind="a") == 4.25


def check_page(collector: Collector) -> None:
    wait_until(lambda: collector.value("upload_size_ratio_count", kind="b") == 1, message="the second batch")
    assert collector.value("queue_length", queue="mail") == 3.5
    assert collector.value("nginx_connections_active") == 3
    assert collector.value("upload_size_ratio_bucket", kind="a", le="0.5") == 2
    assert collector.value("upload_size_ratio_bucket", kind="a", le="+Inf") == 7
    assert collector.value("nginx_http_requests_total", host="h") == 4
    assert collector.value("nginx_http_requests_total") is None
    assert collector.value("resty_metrics_family_conflict", family="nginx_http_requests_total") == 1
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=collector.page(),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "nginx_connections_" not in line]
    assert (complaints, done.stdout) == ([], "")
    names = {one.name for one in parse_openmetrics(collector.page(Accept=OPENMETRICS))}  # type: ignore[no-untyped-call]
    assert {"queue_length", "upload_size_ratio", "nginx_http_requests"} <= names
