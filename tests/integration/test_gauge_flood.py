"""Heartbeats of a hostile sender that may send: what they cost a real collector in memory, and whom they hold up."""

import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from resty_metrics.ingest.beats import SENDER, TOTAL
from resty_metrics.wire.datagram import Kind, write_datagram
from support.collector import Collector
from support.wait import wait_until
from support.worker import Worker

pytestmark = pytest.mark.slow

PARTS = 64
MOST_BYTES = 150 << 20  # above what the collector has without them
MOST_SECONDS = 2.0  # one answer, on a machine on which other tests run


def send_beats(worker: Worker, number: int, rows: list[list[object]], parts: int = PARTS) -> None:
    """Send one beat of so many parts, each a gauge of its own with these rows."""
    labels = [f"l{place}" for place in range(len(rows[0]) - 2)]
    for part in range(1, parts + 1):
        family = {"name": f"g{part}", "labels": labels, "combine": "sum", "rows": rows}
        body = {"part": part, "parts": parts, "families": [family]}
        worker.send(write_datagram(worker.header(Kind.HEARTBEAT, number), body))
    worker.probe()


def value(page: str, sample: str) -> float:
    """One sample of a page that is too large to be parsed again and again."""
    (found,) = re.findall(rf"^{re.escape(sample)} (.*)$", page, re.MULTILINE)
    return float(found)


def longest_answer(collector: Collector, scrape: Future[str]) -> float:
    """The longest that another request takes while a page is made, in seconds."""
    longest, first = 0.0, True
    while first or not scrape.done():
        first, began = False, time.monotonic()
        collector.page("/-/healthy")
        longest = max(longest, time.monotonic() - began)
    return longest


@pytest.mark.parametrize(
    ("senders", "rows", "reason"),
    [
        pytest.param(3, [[1, 1]] * 16_384, "duplicate", id="equal label sets"),
        pytest.param(25, [[f"{number:x}", 1, 1] for number in range(6_000)], "worker_cap", id="as many rows as fit"),
        pytest.param(25, [["é" * 120, f"{number}", 1, 1] for number in range(200)], "total_cap", id="long label sets"),
    ],
)
def test_memory_is_bounded_and_others_are_answered(
    senders: int, rows: list[list[object]], reason: str, socket_path: Path
) -> None:
    with Collector(socket_path) as collector, ThreadPoolExecutor(1) as threads:
        before = value(collector.page(), "process_resident_memory_bytes")
        for _ in range(senders):
            with Worker(socket_path) as worker:
                send_beats(worker, 1, rows)
        scrape = threads.submit(collector.page)
        assert longest_answer(collector, scrape) < MOST_SECONDS
        page = scrape.result()
        assert value(page, f'resty_metrics_heartbeat_rows_refused_total{{reason="{reason}"}}') > 0
        assert 0 < value(page, "resty_metrics_heartbeat_rows") <= TOTAL.rows
        assert value(collector.page(), "process_resident_memory_bytes") - before < MOST_BYTES
        assert 0 < page.count("\ng1{") + page.count("\ng1 ") <= SENDER.rows
        assert 1 <= collector.log().count("a worker sent more rows of gauges than fit") <= 6, "once a minute and reason"
        wait_until(
            lambda: value(collector.page(), "resty_metrics_heartbeat_rows") == 0,
            40,
            "what senders held that fell silent",
        )


def test_the_room_is_for_the_living(socket_path: Path) -> None:
    with Collector(socket_path) as collector, ExitStack() as stack:
        workers = [stack.enter_context(Worker(socket_path)) for _ in range(30)]
        for place, worker in enumerate(workers):
            for part in (1, 2):
                rows = [[f"{place}-{part}-{number}", 1, 1] for number in range(3_500)]
                body = {"part": part, "parts": 2, "families": [gauge("full", rows)]}
                worker.send(write_datagram(worker.header(Kind.HEARTBEAT, 1), body))
            worker.probe()
        page = collector.page()
        assert value(page, 'resty_metrics_heartbeat_rows_refused_total{reason="total_cap"}') > 0
        assert value(page, "resty_metrics_heartbeat_rows") == TOTAL.rows
        for worker in workers:
            worker.send(write_datagram(worker.header(Kind.BYE, 2), {}))
            worker.probe()
        late = stack.enter_context(Worker(socket_path))
        late.send(write_datagram(late.header(Kind.HEARTBEAT, 1), {"families": [gauge("late", [["x", 7, 1]])]}))
        late.probe()
        page = collector.page()
        assert value(page, 'late{l="x"}') == 7
        assert value(page, "resty_metrics_heartbeat_rows") == 1


def gauge(name: str, rows: list[list[object]]) -> dict[str, object]:
    return {"name": name, "labels": ["l"], "combine": "max", "rows": rows}
