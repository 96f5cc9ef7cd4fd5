"""The expiry of idle rows and gauges while the collector runs: it finds the rows, and forgets them once that is safe.

Rules:
- A decision is in the journal before a row vanishes, so the page never shows a state that a restart takes back.
- Each row waits for all regular scrapers (table/scrapers.py). Without such a scraper nothing expires.
- A gauge is never in the journal. Its age is that of the time at which its worker set it, by the wall clock: worker and
  collector run on one kernel, so both read the same clock.
"""

import math
import time
from functools import partial

from resty_metrics.journal.journal import Journal
from resty_metrics.journal.records import of_expiry
from resty_metrics.journal.state import State
from resty_metrics.table.expiry import Expiry, ExpirySearch


class Expiring:
    """The expiry of a collector. ``period``: seconds without a delta; None: nothing expires. A reload may change it."""

    def __init__(self, state: State, journal: Journal, period: float | None) -> None:
        self.period = period
        self._state = state
        self._journal = journal
        self._search = ExpirySearch()

    def step(self, now: float) -> None:
        """Search a part of the table, and forget what has expired there. Called each second of running time."""
        if self.period is None or self._journal.full:
            return
        seen = self._state.scrapers.seen_by_all(now)
        if seen is None:
            return
        expiry = Expiry(now, self.period, *seen)
        table = self._state.table
        keys = self._search.step(table.families, expiry)
        if keys:
            self._journal.commit(of_expiry(keys, expiry), partial(table.expire_in_steps, keys, expiry))

    def oldest_ms(self) -> float:
        """Return the time, in Unix milliseconds, before which a gauge must have been set to have expired."""
        return -math.inf if self.period is None else (time.time() - self.period) * 1000
