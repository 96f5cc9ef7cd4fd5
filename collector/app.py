"""The wiring: settings in, a running collector out.

Order of start: the lock, then the web port, then the socket. So a second start touches nothing, and where the port is
taken no socket is made that nobody reads. Order of end: the socket is drained and answered, then HTTP closes.
"""

import asyncio
import gc
import logging
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from collector import __version__, log
from collector.ingest.credentials import allowed_uids
from collector.ingest.intake import Intake
from collector.ingest.listener import Listener
from collector.ingest.lock import Lock, LockedError, acquire
from collector.ingest.streams import Streams
from collector.log import say
from collector.page import workers
from collector.page.coverage import Coverage, Sample
from collector.settings import ListenAddress
from collector.sources.fetch import Fetcher, Source
from collector.table.shapes import REQUESTS
from collector.table.table import Table
from collector.web import server
from collector.web.scrape import Pages, Parts

EXIT_FAILED, EXIT_LOCKED = 1, 3
CHECK_SECONDS = 1.0
GC_THRESHOLD = 100_000  # objects made until the youngest are looked at; Python's default is 700
_ENDED = "resty_metrics_requests_ended_total"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that ``serve`` was told, checked."""

    socket_path: Path
    socket_mode: int
    socket_allow_uid: tuple[int, ...]
    state_dir: str
    source_stub_status: tuple[Source, ...]
    source_vts: tuple[Source, ...]
    web_listen_address: ListenAddress
    web_telemetry_path: str
    log_level: str
    log_format: str


def run(settings: Settings) -> int:
    """Collect until a signal says to end. Returns the exit status."""
    log.configure(settings.log_level, settings.log_format)
    try:
        lock = acquire(settings.socket_path.with_name(settings.socket_path.name + ".lock"))
    except LockedError as error:
        say(logging.ERROR, str(error))
        return EXIT_LOCKED
    except OSError as error:
        say(logging.ERROR, "the lock beside the socket cannot be taken", error=error)
        return EXIT_FAILED
    _tune_collector()
    try:
        return uvloop.run(_collect(settings, lock))
    except OSError as error:
        say(logging.ERROR, "cannot start", error=error)
        return EXIT_FAILED


def _tune_collector() -> None:
    """Decoding a batch makes thousands of tuples that live for milliseconds: Python's cyclic collector would walk
    over them, and over the whole table, at each of them. There are no cycles in either."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def _observe(coverage: Coverage, intake: Intake, now: float) -> None:
    """One sample of the newest master's two counters."""
    beats = intake.streams.heartbeats(now)
    master, status = workers.newest_master(beats), workers.stub_status(beats)
    family = intake.table.families.get(_ENDED)
    if master is None or status is None or family is None:
        return
    ended = sum(row.numbers[0] for row in family.rows if row.labels == (master,))
    coverage.observe(master, Sample(now, ended, status.requests, status.reading + status.writing))


def _faults(listener: Listener, lock: Lock) -> list[str]:
    faults = []
    if not listener.up():
        faults.append(f"degraded: the socket at {listener.path} is not ours, or not with our mode and owner")
    if not lock.held():
        faults.append(f"degraded: the lock file {lock.path} was replaced")
    return faults


async def _watch(listener: Listener, lock: Lock, intake: Intake, coverage: Coverage) -> None:
    """Each second: is the socket ours, who is too old, what do the counters say."""
    told: list[str] = []
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        now = time.monotonic()
        intake.streams.prune(now)
        _observe(coverage, intake, now)
        faults = _faults(listener, lock)
        for fault in faults:
            if fault not in told:
                say(logging.ERROR, fault)
        if told and not faults:
            say(logging.INFO, "the socket and its lock are ours again")
        told = faults


def _requests(table: Table) -> int:
    """All requests that this process has counted."""
    family = table.families.get(REQUESTS)
    if family is None:
        return 0
    return int(sum(sum(row.numbers[: family.shape.buckets]) for row in family.rows))


def _signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: say(logging.INFO, "SIGHUP: there is nothing to read again yet"))
    return stop


async def _collect(settings: Settings, lock: Lock) -> int:
    loop = asyncio.get_running_loop()
    stop = _signals(loop)
    uids = allowed_uids(settings.socket_allow_uid)
    intake = Intake(Table(), Streams(), uids.__contains__)
    fetchers = [Fetcher(source) for source in (*settings.source_stub_status, *settings.source_vts)]
    coverage = Coverage()
    web_socket = server.bind(settings.web_listen_address)
    listener = Listener(settings.socket_path, settings.socket_mode, intake, time.monotonic)
    say(logging.INFO, "collecting", version=__version__, socket=settings.socket_path)
    pages = Pages(Parts(intake, listener, fetchers, coverage), time.monotonic)
    app = server.application(pages, lambda: _faults(listener, lock), settings.web_telemetry_path)
    loop.add_reader(listener.fileno(), listener.drain)
    runner = await server.start(app, web_socket)
    watch = asyncio.create_task(_watch(listener, lock, intake, coverage))
    await stop.wait()
    watch.cancel()
    loop.remove_reader(listener.fileno())
    listener.close()
    await asyncio.gather(*(fetcher.close() for fetcher in fetchers))
    await runner.cleanup()
    say(logging.INFO, "ended", requests=_requests(intake.table))
    return 0
