"""A scrape: fetch the sources, put the page together, once for all who ask at the same time.

Rules:
- Scrapes that overlap share the sources' answers, and the page where they may see the same; but none waits for a fetch
  that was given more time than it has itself.
- A page is of one moment, but its text is made in steps: between two of them the loop has its turn, so that the intake
  does not wait for a large page. It is compressed on a thread, and sent in the pieces that it was made in.
- A client that goes away does not take the page from the others: it waits on a shielded task.
"""

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from collector.ingest.guard import Guard
from collector.ingest.intake import Intake
from collector.ingest.listener import Listener
from collector.ingest.streams import LiveHeartbeat
from collector.journal.journal import Journal
from collector.journal.records import of_scrape
from collector.page import assemble, instances, journal, pipeline, requests
from collector.page.coverage import Coverage
from collector.page.exposition import MetricFamily, pieces
from collector.page.process import ProcessMetrics
from collector.sources import report
from collector.sources.fetch import Fetcher, Scrape, gather
from collector.table.scrapers import Scraper, Scrapers

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
    fetchers: Sequence[Fetcher]
    coverage: Coverage


class Pages:
    """Makes pages. ``clock`` is monotonic seconds."""

    def __init__(self, parts: Parts, clock: Callable[[], float]) -> None:
        self._parts = parts
        self._clock = clock
        self._process = ProcessMetrics()
        self._under_way: dict[Request, asyncio.Task[list[bytes]]] = {}
        self._fetching: asyncio.Task[list[Scrape]] | None = None
        self._fetch_ends = 0.0

    async def page(self, request: Request) -> list[bytes]:
        """The bytes of a page as the client asked for it, in pieces."""
        task = self._under_way.get(request)
        if task is None:
            task = asyncio.create_task(self._make(request))
            self._under_way[request] = task
            task.add_done_callback(lambda _: self._under_way.pop(request, None))
        return await asyncio.shield(task)

    async def _make(self, request: Request) -> list[bytes]:
        scrapes = await self._fetch(request.timeout)
        body: list[bytes] = []
        spent, began = 0.0, time.thread_time()
        for step in self._steps(request, scrapes):
            body = step
            spent += time.thread_time() - began
            await asyncio.sleep(0)
            began = time.thread_time()
        self._process.render_seconds.observe(spent)
        if not request.compressed:
            return body
        return pack(body) if sum(map(len, body)) < _OFF_LOOP_BYTES else await asyncio.to_thread(pack, body)

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

    def _own(self, scrapes: Sequence[Scrape], beats: Sequence[LiveHeartbeat], now: float) -> list[MetricFamily]:
        """The collector's own families."""
        parts = self._parts
        return [
            report.lua(parts.intake.streams.instances, {beat.heartbeat.instance for beat in beats}),
            *report.families(scrapes, parts.fetchers),
            *pipeline.families(parts.intake, self._socket(), now),
            *(journal.families(parts.journal.tally, now) if parts.journal.wanted else []),
            *self._process.families(),
        ]

    def _steps(self, request: Request, scrapes: Sequence[Scrape]) -> Iterator[list[bytes]]:
        """The page, which the last step gives; the others give nothing. All that it shows is taken in the first."""
        parts, now = self._parts, self._clock()
        table = parts.intake.table
        shown_before = None if request.scraper is None else self._shown_before(request.scraper, now)
        moment = assemble.capture(table, shown_before)
        beats = parts.intake.streams.heartbeats(now)
        own = self._own(scrapes, beats, now)
        coverage = parts.coverage.ratios()
        rendered: list[MetricFamily] = []
        for families in requests.in_steps(moment.families):
            rendered += families
            yield []
        by_source = [instances.mark(scrape.families, scrape.source.name or "") for scrape in scrapes]
        scraped = [family for some in by_source for family in some]
        fetched = {scrape.source.name or "" for scrape in scrapes if scrape.source.kind == "stub_status"}
        page = assemble.families(moment, rendered, beats, scraped, fetched, coverage, own)
        yield pieces(page, openmetrics=request.openmetrics)


def pack(body: Iterable[bytes]) -> list[bytes]:
    """The pieces of a page, compressed as one."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    return [piece for piece in (*map(packer.compress, body), packer.flush()) if piece]
