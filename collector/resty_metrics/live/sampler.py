"""The live page's shell: it samples the table, asks the parts for their state, and serves the page.

Rules:
- A sample costs at most a hundredth of a CPU: after a slow one the next comes later. It yields between families.
- A page is made at most once in CACHE_SECONDS for all clients, and in a thread: with many servers it takes a while.
- The template and the drawing of charts take 5 MB, and are loaded when the page is first opened.
- A source is asked at most once in SOURCE_AGE_SECONDS, and the page waits for it no longer than PATIENCE_SECONDS.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from resty_metrics import __version__
from resty_metrics.live import nginx, top, totals
from resty_metrics.live.assets import read_template
from resty_metrics.live.facts import Facts
from resty_metrics.live.history import SAMPLE_SECONDS, History
from resty_metrics.observer.observer import Observer, states
from resty_metrics.page.scrape import Pages, Parts
from resty_metrics.process import late
from resty_metrics.process.command_line import command

if TYPE_CHECKING:
    from resty_metrics.live.render import Renderer

CACHE_SECONDS = 2.0
SOURCE_AGE_SECONDS = 10.0
PATIENCE_SECONDS = 2.0
CPU_SHARE = 0.01
_VIEW, _RENDER = "resty_metrics.live.view", "resty_metrics.live.render"


class Live:
    """The live page. ``run`` samples, ``html`` returns the page. ``clock`` is monotonic seconds."""

    def __init__(
        self,
        parts: Parts,
        pages: Pages,
        observer: Observer,
        telemetry_path: str,
        clock: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._pages = pages
        self._observer = observer
        self._telemetry_path = telemetry_path
        self._clock = clock
        self._began = time.monotonic()
        self._history = History()
        self._baselines = top.Baselines()
        self._renderer: Renderer | None = None
        self._turn = asyncio.Lock()  # held while the page is made
        self._using = asyncio.Lock()  # held while the history is read or extended
        self._cached: tuple[float, str] | None = None

    async def run(self) -> None:
        """Take a sample every few seconds, until cancelled."""
        while True:
            began = time.monotonic()
            spent = await self.sample()
            elapsed = time.monotonic() - began
            await asyncio.sleep(max(SAMPLE_SECONDS - elapsed, spent / CPU_SHARE))

    async def sample(self) -> float:
        """Take a sample; the seconds of CPU that it cost."""
        table, by_server = self._parts.intake.table, dict[str, totals.Totals]()
        families = list(totals.counted_families(table))
        moved = totals.moved(table, families)
        spent = 0.0
        for family in families:
            began = time.thread_time()
            totals.add_family(family, by_server)
            spent += time.thread_time() - began
            await asyncio.sleep(0)
        async with self._using:
            began = time.thread_time()
            # Rows that moved between two families of this sample make it unlike the one before and the one after.
            self._observe(by_server, moved if totals.moved(table, families) == moved else object(), self._clock())
            return spent + time.thread_time() - began

    def _observe(self, by_server: Mapping[str, totals.Totals], moved: object, now: float) -> None:
        self._history.observe(by_server, moved, now)
        self._baselines.observe(totals.request_families(self._parts.intake.table), now)

    async def html(self) -> str:
        """Return the page as it is now. Raises LateImportError."""
        async with self._turn:
            if self._cached is None or time.monotonic() - self._cached[0] > CACHE_SECONDS:
                await self._pages.fetch_old(SOURCE_AGE_SECONDS, PATIENCE_SECONDS)
                async with self._using:
                    html = await asyncio.to_thread(self._make, self._facts())
                self._cached = time.monotonic(), html
            return self._cached[1]

    def _make(self, facts: Facts) -> str:
        """Return the page. It is called in a thread. Raises LateImportError."""
        if self._renderer is None:
            renderer: Renderer = late.load(_RENDER).renderer(read_template())
            self._renderer = renderer
        return self._renderer.html(late.load(_VIEW).view(facts, self._history))

    def _facts(self) -> Facts:
        now, parts = self._clock(), self._parts
        table, senders, path = parts.intake.table, parts.intake.senders, parts.guard.path
        return Facts(
            now=now,
            clock=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            version=__version__,
            telemetry_path=self._telemetry_path,
            doctor=f"sudo {command('doctor', path)}",
            watch=f"sudo {command('doctor --watch', path)}",
            uptime=time.monotonic() - self._began,
            socket=str(path),
            datagram_age=None if senders.last_datagram is None else max(0.0, now - senders.last_datagram),
            sources=[*states(self._pages, now)],
            journal=self._observer.journal(now),
            workers=nginx.workers_of(senders, now),
            nginx=nginx.nginxes(senders, parts.coverage.ratios(), now, time.time()),
            rows=sum(len(family.rows) for family in table.families.values()),
            top=self._baselines.top(totals.request_families(table), now),
            troubles=self._observer.look(),
        )
