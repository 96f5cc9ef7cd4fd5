"""A scrape: fetch the sources and make the page, once for all clients that ask at the same time.

Rules:
- Scrapes that overlap share the sources' answers, and the page where they may see the same; but none waits for a fetch
  that ends after its own time, nor for one that was given less time than it has itself.
- One page is made at a time (waiting.py), and only while there is room for it (bodies.py).
- A page is of a moment after it was asked for: requests that come after its moment wait for the next one.
- A page is of one moment, but its text is made in steps: between two of them the loop has its turn, so that the intake
  does not wait for a large page. It is compressed on a thread, and sent in the pieces that it was made in.
- A client that goes away does not take the page from the others: a task of its own makes it.
"""

import asyncio
import math
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from resty_metrics.endpoint.guard import Guard
from resty_metrics.exposition import text as exposition
from resty_metrics.exposition.text import MetricFamily
from resty_metrics.ingest import pipeline_metrics as pipeline
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.listener import Listener
from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.journal import journal_metrics as journal
from resty_metrics.journal.journal import Journal
from resty_metrics.journal.records import of_page
from resty_metrics.page import assemble, family_counts, instances, requests, series
from resty_metrics.page.bodies import Bodies, Body
from resty_metrics.page.conflicts import Withheld
from resty_metrics.page.coverage import Coverage
from resty_metrics.page.process_metrics import ProcessMetrics
from resty_metrics.page.waiting import Fetched, Request, Ticket, Turn, Waiting
from resty_metrics.process.log import STDERR
from resty_metrics.process.steps import Steps
from resty_metrics.sources import source_metrics as report
from resty_metrics.sources import stub_status
from resty_metrics.sources.fetch import Fetcher, Scrape, gather
from resty_metrics.sources.source import Source
from resty_metrics.sources.stub_status import StubStatus
from resty_metrics.table.scrapers import Scrapers

GZIP_LEVEL = 1
_GZIP_FORMAT = 16 + zlib.MAX_WBITS  # zlib's manual, deflateInit2
_OFF_LOOP_BYTES = 65_536
WAIT_SECONDS = 10.0  # for a page's turn, unless the scrape ends before
LEAST_WAIT_SECONDS = 0.25  # a source that took all of the scrape's time has left this
ROOM_SECONDS = 0.05  # from one look for room to the next
_TIMEOUTS_A_DECADE = 10


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a page is made of.

    ``web_families`` returns the metrics of the server, ``trouble_families`` those of the observer.
    """

    intake: Intake
    scrapers: Scrapers
    listener: Listener
    guard: Guard
    journal: Journal
    coverage: Coverage
    web_families: Callable[[], Sequence[MetricFamily]]
    trouble_families: Callable[[], Sequence[MetricFamily]]


@dataclass(frozen=True, slots=True)
class Fetching:
    """A fetch under way: it was given ``seconds``, and ``ends`` by then on the clock."""

    seconds: float
    ends: float
    task: asyncio.Task[Fetched]


class Pages:
    """Makes pages. ``clock`` is monotonic seconds.

    ``last``: the last result of each source, without its families, of the time ``last_at``; ``stub_statuses``: what
    was last read of stub_status and when, by name of nginx; ``withheld``: families that the last page did not show.
    """

    def __init__(self, parts: Parts, fetchers: Sequence[Fetcher], clock: Callable[[], float]) -> None:
        self.fetchers = fetchers
        self._parts = parts
        self._clock = clock
        self._process = ProcessMetrics(lambda: STDERR.dropped)
        self._bodies = Bodies()
        self._waiting = Waiting()
        self._maker: asyncio.Task[None] | None = None
        self._fetching: set[Fetching] = set()
        self.last: Mapping[Source, Scrape] = {}
        self.last_at = -math.inf
        self.stub_statuses: dict[str, tuple[float, StubStatus]] = {}
        self.withheld: Withheld = ()
        self._fetches: set[asyncio.Task[Any]] = set()  # and tasks that close former fetchers

    async def page(self, request: Request) -> Body:
        """Return the page as the client asked for it. Raises BusyError."""
        began = self._clock()
        body = asyncio.get_running_loop().create_future()
        regular = request.scraper is not None and self._parts.scrapers.is_regular(request.scraper)
        ticket = Ticket(request, await self._fetch(request.timeout), regular, body)
        left = min(WAIT_SECONDS, request.timeout - (self._clock() - began))
        self._waiting.add(ticket, max(LEAST_WAIT_SECONDS, left))
        if self._maker is None or self._maker.done():
            self._maker = asyncio.create_task(self._make_all())
        try:
            return await ticket.body
        finally:
            self._waiting.remove(ticket)

    async def _make_all(self) -> None:
        """Make a page for each turn, until no request waits."""
        while self._waiting:
            now = self._clock()
            head = next((head for head in self._waiting.heads() if self._bodies.make_room(now, head.regular)), None)
            if head is None:
                await asyncio.sleep(ROOM_SECONDS)
            else:
                await self._serve(self._waiting.take(head, partial(self._shown_before, now=now)))

    async def _serve(self, turn: Turn) -> None:
        """Make the page of a turn and give it to all who share it."""
        try:
            body = Body(await self._make(turn), self._clock(), turn.regulars)
        except Exception as error:
            for ticket in turn.tickets:
                if not ticket.body.done():
                    ticket.body.set_exception(error)
            return
        self._bodies.add(body)
        for ticket in turn.tickets:
            if not ticket.body.done():
                ticket.body.set_result(body)

    async def _make(self, turn: Turn) -> list[bytes]:
        body = await self._render(self._steps(turn))
        if not turn.tickets[0].request.compressed:
            return body
        return pack(body) if sum(map(len, body)) < _OFF_LOOP_BYTES else await asyncio.to_thread(pack, body)

    async def _render(self, steps: Steps[list[bytes]]) -> list[bytes]:
        """Run the steps of a page; the loop runs between two steps."""
        spent = 0.0
        while True:
            began = time.thread_time()
            try:
                next(steps)
            except StopIteration as end:
                self._process.render_seconds.observe(spent + time.thread_time() - began)
                body: list[bytes] = end.value
                return body
            spent += time.thread_time() - began
            await asyncio.sleep(0)

    def use(self, fetchers: Sequence[Fetcher]) -> None:
        """Use these fetchers from the next scrape on. The others are closed when no scrape waits for them any more."""
        gone = [fetcher for fetcher in self.fetchers if fetcher not in fetchers]
        self.fetchers, self._fetching, self.last_at = fetchers, set(), -math.inf
        if gone:
            self._keep(asyncio.create_task(_close(gone, tuple(self._fetches))))

    def leave(self, used: int) -> None:
        """Leave room for the bytes that clients' connections take, out of what clients may cost."""
        self._bodies.leave(used)

    async def close(self) -> None:
        """Close the connections to the sources."""
        await _close(self.fetchers, ())

    async def fetch_old(self, age: float, patience: float) -> None:
        """Fetch the sources if the last results are older than ``age``; wait at most ``patience`` seconds for that."""
        if self._clock() - self.last_at > age:
            await asyncio.wait([self._fetch(math.inf)], timeout=patience)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)

    def _fetch(self, timeout: float) -> asyncio.Future[Fetched]:
        seconds = _round(timeout, max((fetcher.source.connection.timeout for fetcher in self.fetchers), default=0.0))
        ends = self._clock() + seconds
        for running in self._fetching:
            if running.seconds >= seconds and running.ends <= ends:
                return asyncio.shield(running.task)
        fetching = Fetching(seconds, ends, asyncio.create_task(self._ask(seconds)))
        self._fetching.add(fetching)
        fetching.task.add_done_callback(lambda _: self._fetching.discard(fetching))
        self._keep(fetching.task)
        return asyncio.shield(fetching.task)

    async def _ask(self, seconds: float) -> Fetched:
        fetchers, began = self.fetchers, self._clock()
        scrapes = await gather(fetchers, seconds)
        if fetchers is self.fetchers:
            self.last = {scrape.source: replace(scrape, families=()) for scrape in scrapes}
            self.last_at = self._clock()
            self.stub_statuses = {
                scrape.source.name or "": (self.last_at, status)
                for scrape in scrapes
                if scrape.source.kind == "stub_status"
                and (status := stub_status.read_back(scrape.families)) is not None
            }
        return Fetched(fetchers, scrapes, began, seconds)

    def _shown_before(self, request: Request, now: float) -> int | None:
        """Return the row from which on a page of this moment shows 0; None: none."""
        if request.scraper is None:
            return None
        return self._parts.scrapers.shown_before(request.scraper, self._parts.intake.table.next_creation, now)

    def _see(self, turn: Turn, now: float) -> None:
        """Remember the scrapers of a page. That they were shown its rows is noted once that is safe."""
        scrapers, creation = self._parts.scrapers, self._parts.intake.table.next_creation
        for scraper in turn.scrapers:
            scrapers.see(scraper, now)
        shown = scrapers.news(turn.scrapers, creation)
        if shown:
            self._parts.journal.commit(of_page(shown), partial(scrapers.note, shown))

    def _socket(self) -> pipeline.Socket:
        listener, guard = self._parts.listener, self._parts.guard
        return pipeline.Socket(
            guard.up(),
            guard.contended,
            guard.standing_by,
            guard.rebinds,
            guard.failed_rebinds,
            listener.oversized,
            listener.without_descriptor,
            listener.answers_failed,
        )

    def _own(self, fetched: Fetched, beats: Sequence[LiveHeartbeat], now: float) -> list[MetricFamily]:
        """Return the collector's own families, but those of each family of rows."""
        parts = self._parts
        return [
            report.lua(parts.intake.senders.instances, {beat.heartbeat.instance for beat in beats}),
            *report.families(fetched.scrapes, fetched.fetchers),
            *pipeline.families(parts.intake, self._socket(), now, parts.journal.tally.lost_rows),
            *(journal.families(parts.journal.tally, now) if parts.journal.enabled else []),
            *parts.web_families(),
            *parts.trouble_families(),
            *self._process.families(),
            series.PLACE,
        ]

    def _withhold(self, families: Withheld) -> None:
        self.withheld = families

    def _steps(self, turn: Turn) -> Steps[list[bytes]]:
        """Return the page. What it shows of rows and workers is taken in the first step, the counters in the second."""
        parts, now, fetched = self._parts, self._clock(), turn.fetched
        table = parts.intake.table
        self._see(turn, now)
        moment = assemble.capture(table, turn.shown_before, parts.intake.senders.instances)
        counts = family_counts.capture(table)
        beats = parts.intake.senders.heartbeats(now)
        yield
        own = self._own(fetched, beats, now)
        coverage = parts.coverage.ratios()
        yield
        rendered: list[MetricFamily] = []
        for families in requests.in_steps(moment.families):
            rendered += families
            yield
        own += yield from family_counts.in_steps(counts)
        by_source = [instances.mark(scrape.families, scrape.source.name or "") for scrape in fetched.scrapes]
        scraped = [family for families in by_source for family in families]
        status = {scrape.source.name or "" for scrape in fetched.scrapes if scrape.source.kind == "stub_status"}
        page = yield from assemble.in_steps(moment, rendered, beats, scraped, status, coverage, own, self._withhold)
        return (yield from exposition.in_steps(page, openmetrics=turn.tickets[0].request.openmetrics))


def _round(timeout: float, most: float) -> float:
    """Round a time for the sources down to one of few, so that few fetches can be under way at once."""
    if timeout >= most:
        return most
    steps = math.ceil(_TIMEOUTS_A_DECADE * math.log10(most / timeout) - 1e-9)
    return most / math.pow(10, steps / _TIMEOUTS_A_DECADE)


async def _close(fetchers: Sequence[Fetcher], after: Sequence[asyncio.Task[Any]]) -> None:
    if after:
        await asyncio.wait(after)
    await asyncio.gather(*(fetcher.close() for fetcher in fetchers))


def pack(body: Iterable[bytes]) -> list[bytes]:
    """Compress the pieces of a page as one stream."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    return [piece for piece in (*map(packer.compress, body), packer.flush()) if piece]
