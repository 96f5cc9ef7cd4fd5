"""(f) The memory that clients of the page can take by scraping without reading, and the size of their names in the
journal.

Each figure is that of a new collector without a journal: until it is five minutes old, an unknown scraper sees all rows
at 0, so no part of its page is cached. The reference is one such scrape that is read. The peak is the kernel's
(``VmHWM``), so it includes memory that was freed meanwhile.
"""

import re
import selectors
import shutil
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.collector import Collector
from support.nginx import shared_directory

from benchmarks.figures import Figure, Reach
from benchmarks.merge import Process
from benchmarks.rounds import spread
from benchmarks.scale import Scale

SUBJECT = "scrapers"
ROWS = 10_000
AT_ONCE, IN_TURN = 100, 12
REACH_MEBIBYTES = 32
REACH_JOURNAL_KIBIBYTES = 64
AGENT_BYTES = 8_000
ANSWER_SECONDS = 30.0
_TIMEOUT = "X-Prometheus-Scrape-Timeout-Seconds"

Headers = Callable[[int], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Case:
    """A case: scrapes with headers that depend on their number. ``in_turn``: each scrape begins after the answer to the
    one before has begun, and after all rows have changed.
    """

    name: str
    headers: Headers
    in_turn: bool = False


CASES = (
    Case("nobody in particular", lambda _: {}),
    Case("distinct timeouts", lambda number: {_TIMEOUT: f"{3 + number / 20}"}),
    Case("distinct user agents", lambda number: {_TIMEOUT: "10", "User-Agent": f"u{number}"}),
    Case(
        "distinct user agents, gzip",
        lambda number: {_TIMEOUT: "10", "User-Agent": f"u{number}", "Accept-Encoding": "gzip"},
    ),
    Case(
        "in turn, distinct user agents, gzip",
        lambda number: {_TIMEOUT: "10", "User-Agent": f"u{number}", "Accept-Encoding": "gzip"},
        in_turn=True,
    ),
    Case("in turn, nobody in particular", lambda _: {}, in_turn=True),
)
QUICK_CASES = (CASES[3], CASES[5])


def _mebibytes(pid: int, name: str) -> float:
    match = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


@contextmanager
def _collector(rows: int) -> Iterator[tuple[Collector, Process]]:
    directory = shared_directory()
    try:
        with Collector(directory / "collector.sock") as collector:
            send = Process(1, collector, rows)
            collector.page()
            send()
            collector.page()
            yield collector, send
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _ask(collector: Collector, headers: Mapping[str, str], receives: int = 4096) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    client.connect(("127.0.0.1", collector.port))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    client.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    return client


def _answered(clients: Sequence[socket.socket]) -> None:
    """Wait until each connection has an answer, or was closed. Nothing is read."""
    ends = time.monotonic() + ANSWER_SECONDS
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(1.0):
                selector.unregister(key.fileobj)
            assert time.monotonic() < ends, f"{len(selector.get_map())} scrapes without an answer"


def _peak(collector: Collector, work: Callable[[], None]) -> float:
    """Return the rise of resident memory to its peak during a call, in MiB."""
    before = _mebibytes(collector.pid, "VmRSS")
    Path(f"/proc/{collector.pid}/clear_refs").write_text("5")  # resets the peak: proc(5)
    work()
    return _mebibytes(collector.pid, "VmHWM") - before


def _read_one(case: Case, rows: int) -> float:
    with _collector(rows) as (collector, send):

        def work() -> None:
            if case.in_turn:
                send()
            request = urllib.request.Request(f"{collector.url}/metrics", headers=dict(case.headers(0)))
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:
                while response.read(1 << 20):
                    pass

        return _peak(collector, work)


def _read_none(case: Case, rows: int) -> float:
    with _collector(rows) as (collector, send), ExitStack() as opened:

        def work() -> None:
            clients = []
            for number in range(IN_TURN if case.in_turn else AT_ONCE):
                clients.append(opened.enter_context(_ask(collector, case.headers(number))))
                if case.in_turn:
                    _answered(clients[-1:])
                    send()
            _answered(clients)

        return _peak(collector, work)


def _memory(case: Case, rows: int) -> Figure:
    alone, peak = _read_one(case, rows), _read_none(case, rows)
    count = IN_TURN if case.in_turn else AT_ONCE
    title = f"{rows:,} rows, {count} unread scrapes, {case.name}: beside one page"
    more = spread([peak - alone])
    ratio = spread([peak / max(alone, 1.0)])
    return Figure(SUBJECT, title, "MiB", more, 1, ("one, read", alone, ratio), Reach(REACH_MEBIBYTES))


def _journal(count: int) -> Figure:
    """Measure the growth of the journal by scrapers with long names, each of which scrapes once."""
    directory = shared_directory()
    try:
        with Collector(directory / "collector.sock") as collector:
            collector.page()
            before = collector.value("resty_metrics_journal_log_bytes") or 0.0
            for number in range(count):
                agent = f"{number}{'x' * AGENT_BYTES}"[:AGENT_BYTES]
                collector.page(X_Prometheus_Scrape_Timeout_Seconds="10", User_Agent=agent)
            after = collector.value("resty_metrics_journal_log_bytes") or 0.0
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    title = f"journal for {count:,} user agents of {AGENT_BYTES:,} bytes"
    return Figure(SUBJECT, title, "KiB", spread([(after - before) / 1024]), 1, reach=Reach(REACH_JOURNAL_KIBIBYTES))


def run(scale: Scale) -> Iterator[Figure]:
    say, rows = scale.within(SUBJECT), min(ROWS, scale.largest)
    for case in CASES if scale.largest > ROWS else QUICK_CASES:
        say(case.name)
        yield _memory(case, rows)
    say("the journal")
    yield _journal(100 * scale.rounds)
