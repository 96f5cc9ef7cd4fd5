"""Which rows a client sees at 0: Prometheus's ``increase()`` does not see the first value of a series.

A new row would enter a scraper's history at its first value, and that step (every first 5xx) would be missed. So a
scraper sees each row created since its last scrape at 0, once (docs/decisions/0001-new-rows-start-at-zero.md).

Rules:
- A scraper is a client that says how long it waits (``X-Prometheus-Scrape-Timeout-Seconds``), known by host and user
  agent. Everybody else sees true values at once.
- What a scraper was shown is kept with the table, and moves on only when that is safe: a row that was shown with its
  value is never shown at 0 again, also not by the collector after a kill -9.
- A scraper that is unknown to a collector that began without a table has seen the rows of an earlier life: for a while
  it begins at 0, which its ``increase()`` reads as a reset. Any other unknown one sees what exists as it is.
- ``now`` is seconds of running time.
"""

from collections import OrderedDict

YOUNG_SECONDS = 300.0
MAX_SCRAPERS = 64

Scraper = tuple[str, str]


class Scrapers:
    """The scrapers seen of late, each with the creation number its last page ended at. Bounded, least recent first.

    ``forgetful_until``: until then an unknown scraper begins at 0.
    """

    def __init__(self, capacity: int = MAX_SCRAPERS) -> None:
        self.forgetful_until = 0.0
        self._capacity = capacity
        self._shown: OrderedDict[Scraper, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._shown)

    def shown_before(self, scraper: Scraper, next_creation: int, now: float) -> int:
        """The first creation number that a page for this scraper has to show at 0.

        ``scraper`` is (host, user agent), ``next_creation`` the table's at this page.
        """
        shown = self._shown.get(scraper)
        if shown is not None:
            return shown
        return 0 if now < self.forgetful_until else next_creation

    def is_news(self, scraper: Scraper, creation: int) -> bool:
        """Whether ``note`` would change more than who was here last."""
        return self._shown.get(scraper) != creation

    def note(self, scraper: Scraper, creation: int) -> None:
        """The scraper was shown every row before this creation number."""
        self._shown[scraper] = max(creation, self._shown.pop(scraper, 0))
        if len(self._shown) > self._capacity:
            self._shown.popitem(last=False)

    def capture(self) -> list[tuple[Scraper, int]]:
        return list(self._shown.items())
