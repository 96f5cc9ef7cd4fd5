"""A scrape: fetch the sources, put the page together, once for all who ask at the same time.

Rules:
- Scrapes that overlap share the sources' answers, and the page where they may see the same; but none waits for a fetch
  that was given more time than it has itself.
- A page is of a moment after it was asked for. So a scrape shares a page whose moment is still to come. Once it is
  taken, the next page waits for that one to be done, and all who ask meanwhile share it.
- A page is of one moment, but its text is made in steps: between two of them the loop has its turn, so that the intake
  does not wait for a large page. It is compressed on a thread, and sent in the pieces that it was made in.
- A client that goes away does not take the page from the others: it waits on a shielded task.
"""

import asyncio
import math
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from collector.ingest.guard import Guard
from collector.ingest.intake import Intake
from collector.ingest.listener import Listener
from collector.ingest.stream import LiveHeartbeat
from collector.journal.journal import Journal
from collector.journal.records import of_scrape
from collector.log import STDERR
from collector.page import assemble, exposition, family_counts, instances, journal, pipeline, requests, web
from collector.page.coverage import Coverage
from collector.page.exposition import MetricFamily
from collector.page.process import ProcessMetrics
from collector.sources import report
from collector.sources.fetch import Fetcher, Scrape, gather
from collector.sources.source import Source
from collector.table.scrapers import Scraper, Scrapers
from collector.table.steps import Steps
from collector.web.tally import Tally

GZIP_LEVEL = 1
_GZIP_FORMAT = 16 + zlib.MAX_WBITS  # zlib's manual, deflateInit2
_OFF_LOOP_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for. ``scraper`` None: not a Prometheus. ``timeout``: seconds that it leaves the sources."""

    scraper: Scraper | None
    openmetrics: bool
    compressed: bool
    timeout: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What a page is made of."""

    intake: Intake
    scrapers: Scrapers
    listener: Listener
    guard: Guard
    journal: Journal
    coverage: Coverage
    tally: Tally


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of the sources, and who asked them."""

    fetchers: Sequence[Fetcher]
    scrapes: Sequence[Scrape]


class Pages:
    """Makes pages. ``clock`` is monotonic seconds."""

    def __init__(self, parts: Parts, fetchers: Sequence[Fetcher], clock: Callable[[], float]) -> None:
        self.fetchers = fetchers
        self._parts = parts
        self._clock = clock
        self._process = ProcessMetrics(lambda: STDERR.dropped)
        self._next: dict[Request, asyncio.Task[list[bytes]]] = {}  # its moment is still to come
        self._newest: dict[Request, asyncio.Task[list[bytes]]] = {}
        self._fetching: asyncio.Task[Fetched] | None = None
        self._fetch_ends = 0.0
        self._last: Mapping[Source, Scrape] = {}
        self._last_at = -math.inf
        self._fetches: set[asyncio.Task[Any]] = set()  # and what closes the fetchers of before

    async def page(self, request: Request) -> list[bytes]:
        """The bytes of a page as the client asked for it, in pieces."""
        task = self._next.get(request)
        if task is None:
            task = asyncio.create_task(self._make(request, self._newest.get(request)))
            self._next[request] = self._newest[request] = task
            task.add_done_callback(partial(self._forget, request))
        return await asyncio.shield(task)

    def _forget(self, request: Request, task: asyncio.Task[list[bytes]]) -> None:
        if self._newest.get(request) is task:
            del self._newest[request]

    async def _make(self, request: Request, before: asyncio.Task[list[bytes]] | None) -> list[bytes]:
        try:
            fetched = await self._fetch(request.timeout)
            if before is not None:
                await asyncio.wait([before])
        finally:
            del self._next[request]
        body = await self._render(self._steps(request, fetched))
        if not request.compressed:
            return body
        return pack(body) if sum(map(len, body)) < _OFF_LOOP_BYTES else await asyncio.to_thread(pack, body)

    async def _render(self, steps: Steps[list[bytes]]) -> list[bytes]:
        """Take the steps of a page; between two of them the loop has its turn."""
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
        """Ask these from the next scrape on. Those that go are closed when no scrape waits for them any more."""
        gone = [fetcher for fetcher in self.fetchers if fetcher not in fetchers]
        self.fetchers, self._fetching, self._last_at = fetchers, None, -math.inf
        if gone:
            self._keep(asyncio.create_task(_close(gone, tuple(self._fetches))))

    async def close(self) -> None:
        """The connections to the sources."""
        await _close(self.fetchers, ())

    async def sources(self, age: float, patience: float) -> Mapping[Source, Scrape]:
        """What last came of each source, without its families. Where that is more than ``age`` seconds ago they are
        asked, and waited for no more than ``patience`` seconds; one that never answered yet is not there.
        """
        if self._clock() - self._last_at > age:
            await asyncio.wait([self._fetch(math.inf)], timeout=patience)
        return self._last

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)

    def _fetch(self, timeout: float) -> asyncio.Future[Fetched]:
        timeout = min(timeout, max((one.source.connection.timeout for one in self.fetchers), default=0.0))
        ends = self._clock() + timeout
        if self._fetching is None or self._fetching.done() or self._fetch_ends > ends:
            self._fetch_ends = ends
            self._fetching = asyncio.create_task(self._ask(timeout))
            self._keep(self._fetching)
        return asyncio.shield(self._fetching)

    async def _ask(self, seconds: float) -> Fetched:
        fetchers = self.fetchers
        scrapes = await gather(fetchers, seconds)
        if fetchers is self.fetchers:
            self._last = {scrape.source: replace(scrape, families=()) for scrape in scrapes}
            self._last_at = self._clock()
        return Fetched(fetchers, scrapes)

    def _shown_before(self, scraper: Scraper, now: float) -> int:
        """Where this page's new rows begin. That it was shown is noted once that is safe."""
        scrapers, creation = self._parts.scrapers, self._parts.intake.table.next_creation
        shown_before = scrapers.shown_before(scraper, creation, now)
        record = of_scrape(scraper, creation) if scrapers.is_news(scraper, creation) else None
        self._parts.journal.commit(record, partial(scrapers.note, scraper, creation))
        return shown_before

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
            report.lua(parts.intake.streams.instances, {beat.heartbeat.instance for beat in beats}),
            *report.families(fetched.scrapes, fetched.fetchers),
            *pipeline.families(parts.intake, self._socket(), now, parts.journal.tally.lost_rows),
            *(journal.families(parts.journal.tally, now) if parts.journal.wanted else []),
            *web.families(parts.tally),
            *self._process.families(),
        ]

    def _steps(self, request: Request, fetched: Fetched) -> Steps[list[bytes]]:
        """Return the page. What it shows of rows and workers is taken in the first step, the counters in the second."""
        parts, now = self._parts, self._clock()
        table = parts.intake.table
        shown_before = None if request.scraper is None else self._shown_before(request.scraper, now)
        moment = assemble.capture(table, shown_before, parts.intake.streams.instances)
        counts = family_counts.capture(table)
        beats = parts.intake.streams.heartbeats(now)
        yield
        own = self._own(fetched, beats, now)
        coverage = parts.coverage.ratios()
        yield
        rendered: list[MetricFamily] = []
        for some in requests.in_steps(moment.families):
            rendered += some
            yield
        own += yield from family_counts.in_steps(counts)
        by_source = [instances.mark(scrape.families, scrape.source.name or "") for scrape in fetched.scrapes]
        scraped = [family for some in by_source for family in some]
        status = {scrape.source.name or "" for scrape in fetched.scrapes if scrape.source.kind == "stub_status"}
        page = yield from assemble.in_steps(moment, rendered, beats, scraped, status, coverage, own)
        return (yield from exposition.in_steps(page, openmetrics=request.openmetrics))


async def _close(fetchers: Sequence[Fetcher], after: Sequence[asyncio.Task[Any]]) -> None:
    if after:
        await asyncio.wait(after)
    await asyncio.gather(*(fetcher.close() for fetcher in fetchers))


def pack(body: Iterable[bytes]) -> list[bytes]:
    """The pieces of a page, compressed as one."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    return [piece for piece in (*map(packer.compress, body), packer.flush()) if piece]
