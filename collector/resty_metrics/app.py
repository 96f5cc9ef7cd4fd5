"""The wiring: settings in, a running collector out.

The start takes the locks, opens the web port, reads the journal, then binds the socket. So a second start touches
nothing, and if the port is taken, no socket is made that nobody reads. The end drains the socket, then writes and
answers what was taken, while HTTP closes; no thread is waited for, and all of it has END_SECONDS.
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import uvloop

from resty_metrics import __version__
from resty_metrics.config.problem import ConfigError
from resty_metrics.config.settings import Settings
from resty_metrics.endpoint.credentials import allowed_uids
from resty_metrics.endpoint.guard import Guard
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.listener import Listener
from resty_metrics.journal.expiring import Expiring
from resty_metrics.journal.journal import Journal
from resty_metrics.journal.state import Capture, capture
from resty_metrics.journal.tenure import Kept, Tenure, lock_state, note_stale, read_state, running_time
from resty_metrics.live.sampler import Live
from resty_metrics.observer.observer import Observer
from resty_metrics.page.coverage import Coverage
from resty_metrics.page.scrape import Pages, Parts
from resty_metrics.process import hangup, passage, start
from resty_metrics.process.command_line import command
from resty_metrics.process.ending import end, end_within
from resty_metrics.process.lock import Lock, LockedError, acquire
from resty_metrics.process.log import LOGGER, say
from resty_metrics.process.service_manager import READY, STOPPING, ServiceManager, status
from resty_metrics.process.start import StartError
from resty_metrics.process.tuning import tune_process
from resty_metrics.reload import Reloader
from resty_metrics.sources.fetch import Fetcher
from resty_metrics.web import listening, policy, server, web_metrics
from resty_metrics.web.front import Front
from resty_metrics.web.limits import Limits
from resty_metrics.web.policy import Access, Policy
from resty_metrics.web.tally import Tally

EXIT_FAILED, EXIT_MISCONFIGURED, EXIT_LOCKED = 1, 2, 3
CHECK_SECONDS = 1.0
START_SECONDS = 2.0  # for the first snapshot, before the socket is there
END_SECONDS = 1.8  # for all of the end, so that it takes no more than 2 s
LAST_DRAIN_SECONDS, LAST_WRITE_SECONDS = 0.4, 1.4  # of the end: until the socket is closed, and the journal


def run(settings: Settings, load: Callable[[], Settings]) -> int:
    """Collect until a signal ends the process. Returns the exit status only if the collector could not start.

    The caller has configured the log and remembers SIGHUP (hangup.py). ``load`` reads the settings again, for a reload.
    """
    try:
        access = policy.load(settings.web_config_file)
    except ConfigError as wrong:
        for problem in wrong.problems:
            say(logging.ERROR, "the web configuration is invalid", error=problem.text(wrong.file))
        return EXIT_MISCONFIGURED
    try:
        socket_lock = _lock_socket(settings.socket_path)
        state_lock, error = lock_state(settings.state_dir)
        web_sockets = listening.bind_all(settings.web_listen_address)
        kept = read_state(settings.state_dir, socket_lock, state_lock, error)
        tune_process()
        uvloop.run(_collect(settings, load, access, kept, web_sockets))
    except LockedError as locked:
        say(logging.ERROR, str(locked))
        return EXIT_LOCKED
    except StartError as failure:
        say(logging.ERROR, str(failure))
        return EXIT_FAILED
    except OSError as failure:
        say(logging.ERROR, "cannot start", error=failure)
        return EXIT_FAILED


def _lock_socket(socket_path: Path) -> Lock:
    """Lock the socket's path, and make its directory where it is missing. Raises LockedError, StartError."""
    try:
        passage.make(socket_path.parent)
    except OSError as error:
        raise StartError(error.errno, start.no_directory(socket_path.parent, error)) from error
    path = socket_path.with_name(socket_path.name + ".lock")
    try:
        return acquire(path)
    except OSError as error:
        raise StartError(error.errno, start.no_lock(path, error)) from error


def _signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


class Collector:
    """The parts of a running collector, wired."""

    def __init__(self, settings: Settings, load: Callable[[], Settings], access: Access, kept: Kept) -> None:
        self.settings = settings
        self.kept = kept
        self.clock = running_time(kept.state)
        self.intake = Intake(kept.state.table, kept.state.senders, allowed_uids(settings.socket_allow_uid).__contains__)
        self.journal = Journal(self._capture, self._note_stale, lambda: self.listener.resume(), self.clock)
        self.journal.tally.lose(kept.loss)
        self.tenure = Tenure(settings.state_dir, kept, self.journal)
        self.listener = Listener(settings.socket_path, settings.socket_mode, self.intake, self.journal, self.clock)
        self.guard = Guard(self.listener, kept.socket_lock)
        self.coverage = Coverage()
        self.expiring = Expiring(kept.state, self.journal, settings.rows_expire)
        self.tally = Tally(time.time())
        parts = Parts(
            self.intake,
            kept.state.scrapers,
            self.listener,
            self.guard,
            self.journal,
            self.coverage,
            self.expiring,
            partial(web_metrics.families, self.tally, kept.state.scrapers.count),
            lambda: self.observer.families(),
        )
        self.pages = Pages(parts, [Fetcher(source) for source in settings.sources], self.clock)
        self.observer = Observer(
            parts,
            self.pages,
            settings.state_dir,
            lambda: self.reload.settings.socket_allow_uid,
            lambda: self.tally.wrong.values(),
            self.clock,
        )
        self.live = Live(parts, self.pages, self.observer, settings.web_telemetry_path, self.clock)
        limits = Limits(settings.web_max_connections, settings.web_max_requests)
        self.front = Front(Policy(access, self.tally), self.tally, limits)
        self.reload = Reloader(settings, load, self.intake, self.expiring, self.pages, self.front)
        if settings.web_enable_lifecycle:
            self.front.reload = self.reload

    async def watch(self) -> None:
        """Check each second for workers that have left and senders that are over, observe the coverage, and forget
        rows that have expired.
        """
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = self.clock()
            self.listener.check_leaving()
            self.intake.senders.prune(now)
            self.expiring.step(now)
            self.coverage.observe(self.intake.senders.heartbeats(now), self.intake.table, now)

    def _capture(self) -> Capture:
        return capture(self.kept.state, self.clock())

    def _note_stale(self, identity: str | None) -> None:
        note_stale(self.guard.lock, identity)


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Do the work for ever. An error that ends it is a bug: it is logged, and the work begins again."""
    while True:
        try:
            await work()
        except Exception:
            LOGGER.exception("a background task failed because of a bug and is restarted, please report it")
        await asyncio.sleep(CHECK_SECONDS)


async def _reload(collector: Collector, manager: ServiceManager, hung_up: asyncio.Event) -> None:
    """Reload the configuration at each SIGHUP."""
    while True:
        await hung_up.wait()
        hung_up.clear()
        with manager.reloading():
            await collector.reload()


async def _collect(
    settings: Settings,
    load: Callable[[], Settings],
    access: Access,
    kept: Kept,
    web_sockets: Sequence[socket.socket],
) -> NoReturn:
    loop = asyncio.get_running_loop()
    stop, manager = _signals(loop), ServiceManager()
    collector = Collector(settings, load, access, kept)
    hung_up = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    if hangup.was_received():
        hung_up.set()
    await collector.tenure.start(START_SECONDS)
    try:
        collector.listener.bind()
    except OSError as error:
        raise StartError(error.errno, start.no_socket(settings.socket_path, error)) from error
    say(logging.INFO, "collecting", version=__version__, socket=settings.socket_path)
    app = server.application(
        collector.pages, collector.observer, settings.web_telemetry_path, collector.front, collector.live
    )
    collector.listener.attach(loop)
    serving = server.Server(app, collector.front, collector.pages.leave)
    addresses = await serving.start(web_sockets)
    manager.tell(READY, status(collector.observer()))
    _say_ready(settings, addresses, bool(kept.state.table.families))
    works = (
        collector.watch,
        collector.tenure.run,
        collector.guard.run,
        collector.observer.run,
        collector.front.policy.watch,
        collector.live.run,
        partial(_reload, collector, manager, hung_up),
        partial(manager.beat, collector.observer),
    )
    tasks = [asyncio.create_task(_for_ever(work)) for work in works]
    await stop.wait()
    end_within(END_SECONDS, 0)
    manager.tell(STOPPING)
    for task in tasks:
        task.cancel()
    await _finish(collector, serving, loop.time())
    say(logging.INFO, "stopped", requests=kept.state.table.requests)
    end(0)


def _say_ready(settings: Settings, addresses: Sequence[str], counted: bool) -> None:
    """Log the end of the start: the address for a browser, and the next step while nginx has sent nothing yet."""
    page = next((address for address in addresses if address.startswith("http")), None)
    look = {} if page is None else {"browser": f"{page}/", "prometheus": f"{page}{settings.web_telemetry_path}"}
    step = {} if counted else {"next": f"sudo {command('install', settings.socket_path)}"}
    say(logging.INFO, "ready", **look, **step)


async def _finish(collector: Collector, serving: server.Server, began: float) -> None:
    """Take, write and answer what was sent, and serve the pages that were asked for, as far as there is time."""
    loop = asyncio.get_running_loop()
    collector.listener.close(LAST_DRAIN_SECONDS)
    web_closes = asyncio.create_task(_close_web(collector, serving))
    if not await collector.journal.close(began + LAST_WRITE_SECONDS - loop.time()):
        say(logging.WARNING, "some batches could not be written in time. Workers still hold them, and send them again")
    await asyncio.wait([web_closes], timeout=began + LAST_WRITE_SECONDS - loop.time())


async def _close_web(collector: Collector, serving: server.Server) -> None:
    """Close the sources, then the server: a page that waits for a source is answered without it."""
    await collector.pages.close()
    await serving.close()
