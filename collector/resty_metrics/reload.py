"""The reload of the configuration while everything goes on: at SIGHUP, and by ``/-/reload``.

Rules:
- All of it or nothing: a configuration with any problem is reported and changes nothing, and the old one stays.
- No count and no sender is touched. A source that stays keeps its client and its counters; if only its connection
  differs, it keeps its counters. A source that goes is closed when nobody waits for it any more.
- A change that needs a restart is reported and not applied.
- Files are read and users are looked up in a thread: the loop takes datagrams meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from resty_metrics.config.declared import SETTINGS
from resty_metrics.config.problem import ConfigError
from resty_metrics.config.settings import Settings
from resty_metrics.endpoint.credentials import allowed_uids
from resty_metrics.health.facts import RefusedFile
from resty_metrics.ingest.intake import Intake
from resty_metrics.journal.expiring import Expiring
from resty_metrics.page.scrape import Pages
from resty_metrics.process import log
from resty_metrics.process.log import say
from resty_metrics.sources.fetch import Fetcher
from resty_metrics.sources.source import Source
from resty_metrics.web import policy
from resty_metrics.web.front import Front

RESTART = {setting.name: setting.flag for setting in SETTINGS if setting.flag and not setting.reloadable}


class Reloader:
    """A callable that reloads the configuration. ``load`` reads settings, in a thread. ``settings``: those in force."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        intake: Intake,
        expiring: Expiring,
        pages: Pages,
        front: Front,
    ) -> None:
        self.settings = settings
        self._load = load
        self._intake = intake
        self._expiring = expiring
        self._pages = pages
        self._front = front
        self._turn = asyncio.Lock()

    async def __call__(self) -> Sequence[str]:
        """Read the configuration again and put it in force. Returns its problems if it is refused, else none."""
        async with self._turn:
            web: Path | None = None
            try:
                settings = await asyncio.to_thread(self._load)
                web = settings.web_config_file
                access = await asyncio.to_thread(policy.load, settings.web_config_file)
                uids = await asyncio.to_thread(allowed_uids, settings.socket_allow_uid)
            except ConfigError as error:
                problems = [problem.text(error.file) for problem in error.problems]
                self._front.tally.wrong["settings"] = RefusedFile(error.file, web=error.file == str(web))
                for problem in problems:
                    say(logging.ERROR, "the new configuration is invalid, the old one stays in force", error=problem)
                return problems
            self._front.policy.take(access)
            self._take(settings, uids)
            return []

    def _take(self, settings: Settings, uids: Container[int]) -> None:
        """Put the settings in force, in one step of the loop."""
        old, stays = self.settings, _of_the_start(self.settings)
        for name, flag in RESTART.items():
            if getattr(settings, name) != getattr(old, name):
                say(logging.WARNING, "a changed setting takes effect only after a restart", setting=flag)
        self.settings = replace(settings, **stays)
        if (settings.log_level, settings.log_format) != (old.log_level, old.log_format):
            log.configure(settings.log_level, settings.log_format)
        self._intake.allow(uids.__contains__)
        self._expiring.period = settings.rows_expire
        self._pages.use(renewed(self._pages.fetchers, settings.sources))
        limits = self._front.limits
        limits.max_connections, limits.max_requests = settings.web_max_connections, settings.web_max_requests
        self._front.tally.wrong.clear()
        self._front.tally.loaded_at = time.time()
        say(logging.INFO, "configuration reloaded", sources=len(settings.sources))


def _of_the_start(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in RESTART}


def renewed(fetchers: Sequence[Fetcher], sources: Sequence[Source]) -> list[Fetcher]:
    """Return the fetchers of ``sources``: unchanged sources keep theirs, changed ones keep their counters."""
    by_source = {fetcher.source: fetcher for fetcher in fetchers}
    by_name = {(fetcher.source.kind, fetcher.source.name): fetcher for fetcher in fetchers}
    current = []
    for source in sources:
        fetcher = by_source.get(source)
        if fetcher is None:
            fetcher = Fetcher(source)
            before = by_name.get((source.kind, source.name))
            if before is not None:
                fetcher.errors = before.errors
        current.append(fetcher)
    return current
