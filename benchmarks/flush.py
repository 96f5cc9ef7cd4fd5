"""(b) The flush: thread CPU of each slice, and the answer times on a second connection to the same worker meanwhile.

A slice is the work that the worker itself accounts as its flush (read answers, cut and send one batch), measured by the
clock of its thread. The second connection sends one request after another and notes the time to each answer, during a
flush and before it.
"""

import shutil
import socket
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.collector import Collector
from support.nginx import shared_directory
from support.wait import free_port

from benchmarks import cpu, sites
from benchmarks.figures import Figure, Reach
from benchmarks.rounds import spread
from benchmarks.scale import Scale
from benchmarks.sites import Handler

SUBJECT = "flush"
SIZES = (100, 1_000, 10_000, 100_000)
REACH_MILLISECONDS = 1.0
REACH_ROWS = 10_000
PER_ROUND = 3  # flushes
PATIENCE_SECONDS = 60.0
REQUEST = b"GET / HTTP/1.1\r\nHost: www.example\r\n\r\n"
LOCATIONS = """
    location /dirty { content_by_lua_block { require("flush").dirty(tonumber(ngx.var.arg_rows)) ngx.say("") } }
    location /slices { content_by_lua_block { ngx.print(require("flush").slices() or "dirty") } }
    location /memory { content_by_lua_block { ngx.print(require("flush").memory()) } }
"""


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of a flush. ``ended``: monotonic seconds. ``cpu``: CPU seconds of the worker's thread."""

    ended: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Flush:
    """A flush: its slices, and the waits (seconds) of the second connection during the flush and before it."""

    slices: Sequence[Slice]
    during: Sequence[float]
    before: Sequence[float]


def handler(socket_path: Path) -> Handler:
    """Return an nginx with our include, flush.lua and the locations above."""
    site = sites.ours("ours", socket_path, free_port())
    nginx = site.nginx
    shutil.copy(Path(__file__).with_suffix(".lua"), nginx.prefix / "own" / "flush.lua")
    (nginx.prefix / "own" / "flush.lua").chmod(0o644)
    text = nginx.conf.read_text().replace("location / {", f"{LOCATIONS}\n    location / {{", 1)
    path = f'lua_package_path "{nginx.prefix}/own/?.lua;{nginx.share}/lua/?.lua;;";'
    nginx.conf.write_text(text.replace("http {", f"http {{\n{path}", 1))
    return site


def ask(site: Handler, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}{path}", timeout=60) as response:
        return str(response.read().decode())


def flush(site: Handler, rows: int) -> Flush:
    """Make so many rows dirty, and send requests on a second connection until all rows are sent."""
    connection = socket.create_connection(("127.0.0.1", site.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        before = [took for _, took in _requests(connection, 0.2)]
        ask(site, f"/dirty?rows={rows}")
        measured: list[tuple[float, float]] = []
        text, patience = "dirty", time.monotonic() + PATIENCE_SECONDS
        while text == "dirty":
            assert time.monotonic() < patience, site.nginx.errors()
            measured += _requests(connection, 0.1)
            text = ask(site, "/slices")
    finally:
        connection.close()
    slices = [Slice(*map(float, line.split())) for line in text.splitlines()]
    first, last = slices[0].ended - slices[0].cpu, slices[-1].ended
    return Flush(slices, [took for began, took in measured if began + took >= first and began <= last], before)


def _requests(connection: socket.socket, seconds: float) -> list[tuple[float, float]]:
    """Send one request after another. Return the start of each and the time to its answer, in monotonic seconds."""
    requests = []
    ends = time.monotonic() + seconds
    while (began := time.monotonic()) < ends:
        connection.sendall(REQUEST)
        connection.recv(4096)
        requests.append((began, time.monotonic() - began))
    return requests


def share(values: Sequence[float], part: float) -> float:
    return sorted(values)[round((len(values) - 1) * part)]


def _figures(rows: int, flushes: Sequence[Flush]) -> Iterator[Figure]:
    slices = [piece.cpu for flush in flushes for piece in flush.slices]
    during = [took for flush in flushes for took in flush.during]
    before = [took for flush in flushes for took in flush.before]
    reach = Reach(REACH_MILLISECONDS) if rows >= REACH_ROWS else None
    longest = spread([max(piece.cpu for piece in flush.slices) * 1e3 for flush in flushes])
    whole = spread([sum(piece.cpu for piece in flush.slices) / rows * 1e6 for flush in flushes])
    p999 = spread([share(slices, 0.999) * 1e3])
    yield Figure(SUBJECT, f"{rows:,} dirty rows: CPU in all", "us per row", whole, len(flushes))
    yield Figure(SUBJECT, f"{rows:,} dirty rows: p99.9 of {len(slices):,} slices", "ms of CPU", p999, 1, reach=reach)
    yield Figure(SUBJECT, f"{rows:,} dirty rows: longest slice of a flush", "ms of CPU", longest, len(flushes))
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        quiet, busy = share(before, part), share(during, part)
        reference = ("no flush", quiet * 1e3, spread([busy / quiet]))
        title = f"{rows:,} dirty rows: second connection, {name} of {len(during):,}"
        yield Figure(SUBJECT, title, "ms", spread([busy * 1e3]), 1, reference)


def run(scale: Scale) -> Iterator[Figure]:
    directory = shared_directory()
    site = handler(directory / "collector.sock")
    say = scale.within(SUBJECT)
    try:
        with Collector(directory / "collector.sock") as collector, site.nginx as nginx:
            cpu.pin(site.worker, cpu.SUBJECT)
            cpu.pin(collector.pid, cpu.LOAD)
            ask(site, "/")
            for rows in (size for size in SIZES if size <= scale.largest):
                flush(site, rows)  # the first makes the rows
                flushes = []
                for number in range(scale.rounds * PER_ROUND):
                    say(f"{rows:,} rows, flush {number + 1} of {scale.rounds * PER_ROUND}")
                    flushes.append(flush(site, rows))
                yield from _figures(rows, flushes)
            assert nginx.errors() == [], nginx.errors()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
