"""The live page's shell: it samples the table, asks the parts for their state, and serves the page.

Rules:
- A sample costs at most a hundredth of a CPU: after a slow one the next comes later. It yields between families.
- A page is made at most once in CACHE_SECONDS for all clients, and in a thread: with many servers it takes a while.
- The template and the drawing of charts take 5 MB, and are loaded when the page is first opened.
- A source is asked at most once in SOURCE_AGE_SECONDS, and the page waits for it no longer than PATIENCE_SECONDS.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resty_metrics import __version__
from resty_metrics.live import counts, nginx, top, totals
from resty_metrics.live.assets import read_template
from resty_metrics.live.facts import Facts, Journal, Socket, SourceState
from resty_metrics.live.history import SAMPLE_SECONDS, History
from resty_metrics.page import workers
from resty_metrics.page.scrape import Pages, Parts
from resty_metrics.process import late
from resty_metrics.process.command_line import command
from resty_metrics.sources.fetch import Scrape
from resty_metrics.sources.source import Source
from resty_metrics.table.families import Family
from resty_metrics.table.table import Table

if TYPE_CHECKING:
    from resty_metrics.live.render import Renderer

CACHE_SECONDS = 2.0
SOURCE_AGE_SECONDS = 10.0
PATIENCE_SECONDS = 2.0
CPU_SHARE = 0.01
_VIEW, _RENDER = "resty_metrics.live.view", "resty_metrics.live.render"


class Live:
    """The live page. ``run`` samples, ``html`` returns the page.

    ``misconfigured`` returns the names of the configuration files that were refused; ``clock`` is monotonic seconds.
    """

    def __init__(
        self,
        parts: Parts,
        pages: Pages,
        socket_path: Path,
        state_dir: Path | None,
        telemetry_path: str,
        misconfigured: Callable[[], Collection[str]],
        clock: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._pages = pages
        self._socket_path = socket_path
        self._state_dir = state_dir
        self._telemetry_path = telemetry_path
        self._misconfigured = misconfigured
        self._clock = clock
        self._began = time.monotonic()
        self._history = History()
        self._growth = counts.Growth()
        self._baselines = top.Baselines()
        self._renderer: Renderer | None = None
        self._turn = asyncio.Lock()  # held while the page is made
        self._using = asyncio.Lock()  # held while the history is read or extended
        self._made: tuple[float, str] | None = None

    async def run(self) -> None:
        """Take a sample every few seconds, until cancelled."""
        while True:
            began = time.monotonic()
            spent = await self.sample()
            elapsed = time.monotonic() - began
            await asyncio.sleep(max(SAMPLE_SECONDS - elapsed, spent / CPU_SHARE))

    async def sample(self) -> float:
        """Take a sample; the seconds of CPU that it cost."""
        table, found = self._parts.intake.table, dict[str, totals.Totals]()
        families = list(totals.request_families(table))
        gave_way = (table.evicted_instances, table.evicted_families)
        spent = 0.0
        for family in families:
            began = time.thread_time()
            totals.add_family(family, found)
            spent += time.thread_time() - began
            await asyncio.sleep(0)
        async with self._using:
            began = time.thread_time()
            self._observe(families, found, gave_way, self._clock())
            return spent + time.thread_time() - began

    def _observe(
        self,
        families: Sequence[Family],
        found: Mapping[str, totals.Totals],
        gave_way: tuple[int, int],
        now: float,
    ) -> None:
        self._history.observe(found, (sum(family.evicted for family in families), *gave_way), now)
        self._history.observe_nginx(workers.requests_begun(self._parts.intake.senders.heartbeats(now)), now)
        self._growth.observe(self._counts(), now)
        self._baselines.observe(families, now)

    async def html(self) -> str:
        """Return the page as it is now. Raises LateImportError."""
        async with self._turn:
            if self._made is None or time.monotonic() - self._made[0] > CACHE_SECONDS:
                scrapes = await self._pages.sources(SOURCE_AGE_SECONDS, PATIENCE_SECONDS)
                async with self._using:
                    self._growth.observe(self._counts(), self._clock())
                    html = await asyncio.to_thread(self._make, self._facts(scrapes))
                self._made = time.monotonic(), html
            return self._made[1]

    def _make(self, facts: Facts) -> str:
        """Return the page. It is called in a thread. Raises LateImportError."""
        if self._renderer is None:
            renderer: Renderer = late.load(_RENDER).renderer(read_template())
            self._renderer = renderer
        return self._renderer.html(late.load(_VIEW).view(facts, self._history, self._growth))

    def _counts(self) -> counts.Counts:
        parts = self._parts
        return counts.counts_of(parts.intake, parts.guard.rebinds, parts.listener.oversized)

    def _facts(self, scrapes: Mapping[Source, Scrape]) -> Facts:
        now, parts = self._clock(), self._parts
        table, senders = parts.intake.table, parts.intake.senders
        return Facts(
            now=now,
            clock=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            version=__version__,
            telemetry_path=self._telemetry_path,
            doctor=f"sudo {command('doctor', self._socket_path)}",
            watch=f"sudo {command('doctor --watch', self._socket_path)}",
            uptime=time.monotonic() - self._began,
            socket=self._socket(),
            heard=None if senders.last_datagram is None else max(0.0, now - senders.last_datagram),
            sources=[_source(fetcher.source, scrapes.get(fetcher.source)) for fetcher in self._pages.fetchers],
            journal=self._journal(now),
            workers=nginx.workers_of(senders, now),
            nginx=nginx.nginxes(senders, parts.coverage.ratios(), now, time.time()),
            rows=sum(len(family.rows) for family in table.families.values()),
            top=self._baselines.top(totals.request_families(table), now),
            full=_full(table),
            misconfigured=sorted(self._misconfigured()),
        )

    def _socket(self) -> Socket:
        guard = self._parts.guard
        return Socket(str(self._socket_path), guard.up(), guard.contended, guard.standing_by, guard.faults())

    def _journal(self, now: float) -> Journal:
        directory, tally = None if self._state_dir is None else str(self._state_dir), self._parts.journal.tally
        return Journal(directory, tally.reason, tally.pending_seconds(now))


def _source(source: Source, scrape: Scrape | None) -> SourceState:
    if scrape is None:
        return SourceState(source.kind, source.name, source.address, None, "", None)
    return SourceState(source.kind, source.name, source.address, scrape.reason, scrape.words, scrape.seconds)


def _full(table: Table) -> Mapping[str, Sequence[tuple[str, int]]]:
    """Return for each family at its cap the number of values of each label, the greatest first."""
    return {
        key.name: sorted(family.values_by_label.items(), key=lambda item: -item[1])
        for key, family in table.families.items()
        if len(family.rows) >= family.max_rows
    }
