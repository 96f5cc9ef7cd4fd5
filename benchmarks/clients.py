"""(h) Hostile clients of the page: the most memory that a collector holds for them, and the lines it logs about them.

A figure is the peak of resident memory (VmHWM) while they are connected, minus the resident memory before. The page is
small, and all clients of a figure send the same. A number to reach applies to all clients together. In the figures
"beside unread pages" the page is large, and pages that are not read come first; one page that is read is subtracted.
"""

import selectors
import shutil
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from support.certificates import LOCAL, Authority
from support.collector import Collector
from support.nginx import shared_directory

from benchmarks.figures import Figure, Reach
from benchmarks.merge import Process
from benchmarks.rounds import spread
from benchmarks.scale import FULL, Scale

SUBJECT = "clients"
REACH_MEBIBYTES, REACH_LINES = 32.0, 4.0
FLOOD = 2_000  # requests
PAGE_ROWS, PAGES = 2_500, 6  # a page is larger than what the kernel takes of it
MOST_SECONDS = 25.0  # less than the collector grants a client that does not read

_GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
_SCRAPE = (
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"User-Agent: u%d\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"
)
_EXPECT = b"GET /none HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n"
_HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"x" * 8_000 + b"\r\nX: " + b"x" * 8_000
# The first record of a handshake: a ClientHello that announces 131,000 bytes, and the first of these.
_HELLO = b"\x16\x03\x01" + struct.pack("!H", 16_000) + b"\x01" + (131_000).to_bytes(3) + b"\x03\x03" + bytes(15_994)


@dataclass(frozen=True, slots=True)
class Extent:
    """The extent of the measurements. ``counts``: numbers of clients; ``beside``: of those beside unread pages.
    ``still``: seconds without growth after which memory counts as stable.
    """

    counts: tuple[int, ...]
    beside: tuple[int, ...]
    still: float


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of client, which sends ``sent`` and reads no answer. ``tls``: the collector serves TLS. ``shakes_hands``
    False: the client sends its bytes in place of a TLS handshake.
    """

    name: str
    sent: bytes
    tls: bool = False
    shakes_hands: bool = True


EXTENT, QUICK_EXTENT = Extent((1, 8, 250, 500), (8, 250, 480), 3.0), Extent((8, 250), (480,), 1.0)
KINDS = (
    Kind("pipelined requests", _GET * 7_500),
    Kind("heads that do not end", _HEAD),
    Kind("idle by TLS", b"", tls=True),
    Kind("pipelined requests by TLS", _GET * 7_500, tls=True),
    Kind("heads that do not end by TLS", _HEAD, tls=True),
    Kind("an answer, then a head that does not end, by TLS", _GET + _HEAD, tls=True),
    Kind("handshakes that do not end", _HELLO, tls=True, shakes_hands=False),
)
BESIDE = (KINDS[1], KINDS[5])


def _status(pid: int, name: str) -> float:
    """Return the value of a line in a process's status, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(value) / 1024


def _peak(pid: int, meanwhile: Callable[[], None]) -> float:
    """Return the rise of resident memory to its peak during a call, in MiB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the peak: proc(5)
    before = _status(pid, "VmRSS")
    meanwhile()
    return _status(pid, "VmHWM") - before


def _connect(collector: Collector, kind: Kind) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(("127.0.0.1", collector.port))
    if kind.tls and kind.shakes_hands:
        assert collector.tls is not None
        client = collector.tls.wrap_socket(client, server_hostname="localhost")
    client.setblocking(False)
    return client


def _hold(collector: Collector, kind: Kind, count: int, still: float) -> None:
    """Connect so many clients, and send as much as the collector takes until its memory stops growing."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(count):
            client = stack.enter_context(_connect(collector, kind))
            selector.register(client, selectors.EVENT_WRITE, memoryview(kind.sent))
        began = grew = time.monotonic()
        peak = 0.0
        while (now := time.monotonic()) - grew < still and now - began < MOST_SECONDS:
            for key, _ in selector.select(0.1):
                _send_on(selector, key)
            before, peak = peak, _status(collector.pid, "VmHWM")
            grew = now if peak > before else grew


def _send_on(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    client: socket.socket = key.fileobj  # type: ignore[assignment]
    try:
        rest = key.data[client.send(key.data[:16_384]) :] if key.data else key.data
    except (BlockingIOError, ssl.SSLWantWriteError):
        return
    except OSError:  # the collector has closed the connection
        rest = memoryview(b"")
    if rest:
        selector.modify(client, selectors.EVENT_WRITE, rest)
    else:
        selector.unregister(client)


def _flood(collector: Collector) -> None:
    """Send requests, each on a connection that is reset at once."""
    for _ in range(FLOOD):
        with socket.create_connection(("127.0.0.1", collector.port), 20) as client, suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(_EXPECT)


def _secured(directory: Path) -> tuple[tuple[str, ...], ssl.SSLContext]:
    """Write a web configuration with TLS. Return the flags for it, and the client's TLS context."""
    authority = Authority(directory)
    authority.issue("server", LOCAL)
    (directory / "web.yml").write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}")
    return (f"--web.config.file={directory / 'web.yml'}",), ssl.create_default_context(cafile=authority.file)


def _memory(kind: Kind, count: int, still: float, directory: Path) -> Figure:
    flags, context = _secured(directory) if kind.tls else ((), None)
    with Collector(directory / "collector.sock", *flags, tls=context) as collector:
        collector.page()
        peak = _peak(collector.pid, lambda: _hold(collector, kind, count, still))
        assert collector.ready()
    subject = f"{count} client{'s' if count > 1 else ''}, {kind.name}"
    return Figure(SUBJECT, subject, "MiB", spread([peak]), 1, reach=Reach(REACH_MEBIBYTES))


def _scrape(collector: Collector, number: int) -> socket.socket:
    """Ask for a page under a name of its own. Return the connection once the page begins to come."""
    client = _connect(collector, Kind("", b"", tls=collector.tls is not None))
    client.setblocking(True)
    client.sendall(_SCRAPE % number)
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


def _read_page(collector: Collector) -> None:
    with _scrape(collector, 0) as client:
        client.settimeout(20)
        while client.recv(1 << 20):
            pass


def _beside_pages(kind: Kind, count: int, still: float, directory: Path) -> Figure:
    """Measure clients that come while others do not read their pages, each of which shows other values."""
    flags, context = _secured(directory) if kind.tls else ((), None)
    with Collector(directory / "collector.sock", *flags, tls=context) as collector, ExitStack() as opened:
        send = Process(1, collector, PAGE_ROWS)
        _read_page(collector)
        send()
        alone = _peak(collector.pid, lambda: _read_page(collector))

        def work() -> None:
            for number in range(PAGES):
                send()
                opened.enter_context(_scrape(collector, number))
            _hold(collector, kind, count, still)

        peak = _peak(collector.pid, work)
        assert collector.ready()
    subject = f"{count} clients, {kind.name}, and {PAGES} unread pages of {PAGE_ROWS:,} rows: beside one page"
    return Figure(SUBJECT, subject, "MiB", spread([peak - alone]), 1, reach=Reach(REACH_MEBIBYTES))


def _log(directory: Path) -> Figure:
    with Collector(directory / "collector.sock") as collector:
        before = len(collector.log().splitlines())
        _flood(collector)
        assert collector.ready()
        lines = len(collector.log().splitlines()) - before
    subject = f"{FLOOD:,} requests with Expect, clients gone: what is logged"
    return Figure(SUBJECT, subject, "lines", spread([lines]), 1, reach=Reach(REACH_LINES))


def run(scale: Scale) -> Iterator[Figure]:
    say = scale.within(SUBJECT)
    extent = EXTENT if scale.largest == FULL.largest else QUICK_EXTENT
    directory = shared_directory()
    try:
        for kind in KINDS:
            for count in extent.counts:
                say(f"{count}, {kind.name}")
                yield _memory(kind, count, extent.still, directory)
        for kind in BESIDE:
            for count in extent.beside:
                say(f"{count}, {kind.name}, beside unread pages")
                yield _beside_pages(kind, count, extent.still, directory)
        say("what is logged")
        yield _log(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
