"""A scrape: fetch the sources, put the page together, once for all who ask at the same time.

Rules:
- Scrapes that overlap share the sources' answers, and the page where they may see the same; but none waits for a fetch
  that was given more time than it has itself.
- A client that goes away does not take the page from the others: it waits on a shielded task.
"""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from collector.ingest.guard import Guard
from collector.ingest.intake import Intake
from collector.ingest.listener import Listener
from collector.journal.journal import Journal
from collector.journal.records import of_scrape
from collector.page import assemble, journal, pipeline
from collector.page.coverage import Coverage
from collector.page.exposition import MetricFamily, render
from collector.page.process import ProcessMetrics
from collector.sources import report
from collector.sources.fetch import Fetcher, Scrape, gather
from collector.table.scrapers import Scraper, Scrapers

GZIP_LEVEL = 1
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
    fetchers: Sequence[Fetcher]
    coverage: Coverage


class Pages:
    """Makes pages. ``clock`` is monotonic seconds."""

    def __init__(self, parts: Parts, clock: Callable[[], float]) -> None:
        self._parts = parts
        self._clock = clock
        self._process = ProcessMetrics()
        self._under_way: dict[Request, asyncio.Task[bytes]] = {}
        self._fetching: asyncio.Task[list[Scrape]] | None = None
        self._fetch_ends = 0.0

    async def page(self, request: Request) -> bytes:
        """The bytes of a page as the client asked for it."""
        task = self._under_way.get(request)
        if task is None:
            task = asyncio.create_task(self._make(request))
            self._under_way[request] = task
            task.add_done_callback(lambda _: self._under_way.pop(request, None))
        return await asyncio.shield(task)

    async def _make(self, request: Request) -> bytes:
        scrapes = await self._fetch(request.timeout)
        began = time.process_time()
        body = render(self._families(request, scrapes), openmetrics=request.openmetrics)
        self._process.render_seconds.observe(time.process_time() - began)
        if not request.compressed:
            return body
        pack: Callable[[], bytes] = partial(gzip.compress, body, GZIP_LEVEL, mtime=0)
        return pack() if len(body) < _OFF_LOOP_BYTES else await asyncio.to_thread(pack)

    def _fetch(self, timeout: float) -> Awaitable[list[Scrape]]:
        timeout = min(timeout, max((one.source.connection.timeout for one in self._parts.fetchers), default=0.0))
        ends = self._clock() + timeout
        if self._fetching is None or self._fetching.done() or self._fetch_ends > ends:
            self._fetch_ends = ends
            self._fetching = asyncio.create_task(gather(self._parts.fetchers, timeout))
        return asyncio.shield(self._fetching)

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

    def _families(self, request: Request, scrapes: list[Scrape]) -> list[MetricFamily]:
        parts, now = self._parts, self._clock()
        table, streams = parts.intake.table, parts.intake.streams
        shown_before = None if request.scraper is None else self._shown_before(request.scraper, now)
        beats = streams.heartbeats(now)
        own = [
            report.lua(bool(beats)),
            *report.families(scrapes, parts.fetchers),
            *pipeline.families(parts.intake, self._socket(), now),
            *(journal.families(parts.journal.tally, now) if parts.journal.wanted else []),
            *self._process.families(),
        ]
        scraped = [family for scrape in scrapes for family in scrape.families]
        fetched = any(scrape.source.kind == "stub_status" for scrape in scrapes)
        return assemble.families(table, shown_before, beats, scraped, fetched, parts.coverage, own)
