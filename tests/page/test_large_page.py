"""A page of many rows over HTTP: in pieces, whole, of one moment, while the intake goes on."""

import asyncio
import gzip
import http.client
import threading
from collections.abc import Iterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from resty_metrics.page.blocks import BLOCK_ROWS
from resty_metrics.page.bodies import Body
from resty_metrics.page.waiting import Request
from resty_metrics.web import server
from support.collector import Collector
from support.worker import Worker

ROWS = 20 * BLOCK_ROWS
PER_BATCH = 250
PIECE = 1 << 20  # bytes; twenty are more than what lies between server and client takes


def send(worker: Worker, value: int) -> None:
    """Every row goes up by ``value``; the rows of one batch are one committed state."""
    family = {"name": "sent_total", "type": "counter", "labels": ["number"], "columns": ["value"], "custom": True}
    for first in range(0, ROWS, PER_BATCH):
        rows = [[f"{number:040}", value] for number in range(first, first + PER_BATCH)]
        worker.send(worker.next_batch({"families": [{**family, "rows": rows}]}))
        worker.answer()


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with Collector(tmp_path_factory.mktemp("run") / "collector.sock") as collector:
        with Worker(collector.socket_path) as worker:
            send(worker, 1)
        yield collector


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_large_page_is_whole(collector: Collector, method: str, compressed: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20)
    headers = {"Accept-Encoding": "gzip" if compressed else "identity", "Accept": "application/openmetrics-text"}
    for _ in range(2):  # over one connection: its length was right
        connection.request(method, "/metrics", headers=headers)
        response = connection.getresponse()
        assert response.status == 200
        length = int(response.headers["Content-Length"])
        body = response.read()
        assert len(body) == (length if method == "GET" else 0)
        if method == "GET":
            text = gzip.decompress(body) if compressed else body
            assert text.count(b"\nsent_total{") == ROWS
            assert text.endswith(b"# EOF\n")
    connection.close()


def test_a_page_is_of_a_moment_after_it_was_asked_for(collector: Collector) -> None:
    """Others ask for the same page all the time: none is given one whose moment was before it came."""
    done = threading.Event()

    def ask_again_and_again() -> None:
        while not done.is_set():
            collector.page()

    askers = [threading.Thread(target=ask_again_and_again) for _ in range(2)]
    for asker in askers:
        asker.start()
    try:
        with Worker(collector.socket_path) as worker:
            family = {"name": "asked_total", "type": "counter", "labels": [], "columns": ["value"], "custom": True}
            for number in range(1, 21):
                worker.send(worker.next_batch({"families": [{**family, "rows": [[1]]}]}))
                worker.answer()
                assert f"\nasked_total {number}\n" in collector.page()
    finally:
        done.set()
        for asker in askers:
            asker.join()


def test_each_page_shows_one_committed_state(collector: Collector) -> None:
    """While rows change as fast as they can, batches are on a page whole, and none before the one it came after."""
    done = threading.Event()

    def work() -> None:
        with Worker(collector.socket_path) as worker:
            while not done.is_set():
                send(worker, 1)

    sender = threading.Thread(target=work)
    sender.start()
    states: set[tuple[int, ...]] = set()
    try:
        while len(states) < 10:
            lines = [line for line in collector.page().splitlines() if line.startswith("sent_total{")]
            values = [int(line.split()[1]) for line in lines]
            assert len(values) == ROWS
            batches = [set(values[first : first + PER_BATCH]) for first in range(0, ROWS, PER_BATCH)]
            assert all(len(batch) == 1 for batch in batches)
            (first,), (last,) = batches[0], batches[-1]
            assert 0 <= first - last <= 1
            assert [value for batch in batches for value in batch] == sorted(
                (value for batch in batches for value in batch), reverse=True
            )
            states.add(tuple(values[::PER_BATCH]))
    finally:
        done.set()
        sender.join()


class Pieces:
    async def page(self, request: Request) -> Body:
        return Body([bytes([65 + number]) * PIECE for number in range(20)])


def test_a_client_that_reads_nothing_holds_nobody() -> None:
    async def readers() -> list[int]:
        headers = {"Accept-Encoding": "identity"}
        app = server.application(Pieces(), list, "/metrics")
        async with TestClient(TestServer(app), headers=headers) as client:
            slow = await client.get("/metrics")
            sizes = []
            for _ in range(3):
                async with client.get("/metrics") as response:
                    sizes.append(len(await response.read()))
            assert len(await slow.read()) == 20 * PIECE
            return sizes

    assert asyncio.run(readers()) == [20 * PIECE] * 3


def test_the_page_says_how_long_it_took(collector: Collector) -> None:
    before = collector.value("resty_metrics_render_duration_seconds_count")
    assert before is not None
    assert collector.value("resty_metrics_render_duration_seconds_count") == before + 1
