"""The expiry of idle rows and gauges while the collector runs: it finds the rows, and forgets them once that is safe.

Rules:
- A decision is in the journal before a row vanishes, so the page never shows a state that a restart takes back.
- Each row waits for all regular scrapers (table/scrapers.py). Without such a scraper nothing expires.
- A gauge is never in the journal. Its age is that of the time at which its worker set it, by the wall clock: worker and
  collector run on one kernel, so both read the same clock.
"""

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial

from resty_metrics.journal.journal import Journal
from resty_metrics.journal.records import of_expiry
from resty_metrics.journal.state import State
from resty_metrics.shapes.shape import FamilyKey
from resty_metrics.table.expiry import Expiry, ExpirySearch


class Expiring:
    """The expiry of a collector. ``period``: seconds without a delta; None: nothing expires. A reload may change it.

    ``now`` is running time.
    """

    def __init__(self, state: State, journal: Journal, period: float | None) -> None:
        self.period = period
        self._state = state
        self._journal = journal
        self._search = ExpirySearch()
        self._under_way = False  # a decision waits for the disk: a disk that hangs must not pile them up

    def step(self, now: float) -> None:
        """Search a part of the table, and forget the rows there that have expired. Called each second."""
        if self.period is None or self._under_way:
            return
        limits = self._state.scrapers.seen_by_all(now)
        if limits is None:
            return
        expiry = Expiry(now, self.period, *limits)
        keys = self._search.step(self._state.table.families, expiry)
        if keys:
            self._under_way = True
            self._journal.commit(of_expiry(keys, expiry), partial(self._forget, keys, expiry))

    def _forget(self, keys: Sequence[FamilyKey], expiry: Expiry) -> Iterator[None]:
        try:
            yield from self._state.table.expire_in_steps(keys, expiry)
        finally:
            self._under_way = False

    def oldest_ms(self) -> float:
        """Return the time, in Unix milliseconds, before which a gauge must have been set to have expired."""
        return -math.inf if self.period is None else (time.time() - self.period) * 1000
