"""Which rows a client sees at 0: Prometheus's ``increase()`` does not see the first value of a series.

A new row would enter a scraper's history at its first value, and that step (every first 5xx) would be missed. So a
scraper sees each row created since its last scrape at 0, once (docs/decisions/0001-new-rows-start-at-zero.md).

Rules:
- A scraper is a client that says how long it waits (``X-Prometheus-Scrape-Timeout-Seconds``), known by host and user
  agent. Everybody else sees true values at once.
- A scraper that is unknown to a collector that started just now has seen the rows of an earlier life: it begins at 0,
  which its ``increase()`` reads as a reset. One that is unknown to an older collector sees what exists as it is.
- ``now`` is seconds of a monotonic clock.
"""

from collections import OrderedDict

YOUNG_SECONDS = 300.0
MAX_SCRAPERS = 64

Scraper = tuple[str, str]


class Scrapers:
    """The scrapers seen of late, each with the creation number its last page ended at. Bounded, least recent first."""

    def __init__(self, started: float, capacity: int = MAX_SCRAPERS) -> None:
        self._started = started
        self._capacity = capacity
        self._shown: OrderedDict[Scraper, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._shown)

    def shown_before(self, scraper: Scraper, next_creation: int, now: float) -> int:
        """The first creation number that this scrape has to show at 0; the scrape is noted.

        ``scraper`` is (host, user agent), ``next_creation`` the table's at this scrape.
        """
        unknown = 0 if now - self._started < YOUNG_SECONDS else next_creation
        boundary = self._shown.pop(scraper, unknown)
        self._shown[scraper] = next_creation
        if len(self._shown) > self._capacity:
            self._shown.popitem(last=False)
        return boundary
