"""The scrapers, and the rows that each of them is shown at 0 first.

Prometheus's ``increase()`` does not see the first value of a series. A new row would enter a scraper's history at its
first value, and that step (every first 5xx) would be missed. So a scraper sees each row created since its last scrape
at 0, once (docs/decisions/0001-new-rows-start-at-zero.md).

Rules:
- A scraper is a client that sends its timeout (``X-Prometheus-Scrape-Timeout-Seconds``), identified by host and user
  agent. Every other client sees true values at once. Only hashes are kept, so a long user agent takes no more memory.
- The journal keeps the creation number up to which each scraper was shown the rows, and the number counts only once it
  is safe there. So a row that was shown with its value is never shown at 0 again, not even after a kill -9.
- A collector that began without a table does not know which rows a scraper was shown by an earlier one. For a while it
  shows an unknown scraper all rows at 0, which ``increase()`` reads as a reset. Otherwise an unknown scraper sees the
  existing rows with their values.
- There are MAX_SCRAPERS places. A scraper that returns at scrape intervals becomes regular. A place is given to another
  scraper only after its holder has been silent: for FIRST_SECONDS if it scraped once, for NEWCOMER_SECONDS if it has
  returned, for REGULAR_SECONDS if it is regular. A scraper without a place is served, but not remembered.
- A host has at most MAX_NEWCOMERS places for newcomers and MAX_OF_HOST in all: one host cannot take them all.
- No row expires before every regular scraper was shown its last value (expiry.py). A scraper that has been silent for
  AWAITED_SECONDS is not waited for, or one that is gone would keep all rows for ever. The journal does not say when a
  scraper was seen last: one that was not seen since the collector's start is waited for RESTORED_SECONDS alone, or each
  restart would begin the day anew.
- ``now`` is seconds of running time.
"""

import ipaddress
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

YOUNG_SECONDS = 300.0
MAX_SCRAPERS = 64
MAX_NEWCOMERS = 16
MAX_OF_HOST = 48
FIRST_SECONDS = 75.0  # above the usual interval of a minute
NEWCOMER_SECONDS = 300.0  # not below YOUNG_SECONDS: rows that a scraper saw with their values would be 0 again
REGULAR_SECONDS = 3600.0
AWAITED_SECONDS = 86_400.0
RESTORED_SECONDS = 21_600.0
SCRAPE_SECONDS = 0.5  # requests that follow each other faster count as one scrape
REGULAR_SCRAPES = 3  # over at least REGULAR_AFTER seconds
REGULAR_AFTER = 5.0
_DIGEST_BYTES = 16
_IPV6_HOST_BITS = 64  # all addresses of such a network count as one host

Scraper = tuple[bytes, bytes]  # hashes of its host, and of its host and user agent
Shown = tuple[Scraper, int, bool]  # a scraper, the creation number at which its last page ended, True if it is regular


def identify(host: str, agent: str) -> Scraper:
    """Return the scraper with this host, which may be "", and this user agent."""
    return _digest(_network(host)), _digest(host, agent)


def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _IPV6_HOST_BITS), strict=False))


def _digest(*texts: str) -> bytes:
    """Hash texts with their lengths, so that no two lists of texts are hashed as the same bytes."""
    hashed = blake2b(digest_size=_DIGEST_BYTES)
    for text in texts:
        data = text.encode(errors="surrogatepass")
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.digest()


@dataclass(slots=True)
class Place:
    """The place of a remembered scraper. ``creation`` None: no page for it is safe yet. ``kept``: the value of
    ``regular`` that is safe. ``returned``: it has asked more than once. ``counted``: the time of the last of its
    ``scrapes``. ``moment``: its last page had all deltas that arrived before this time. ``shown_before``: the creation
    number from which on that page showed 0. Both are of this process: a restart waits for the next page.
    """

    first: float
    last_seen: float
    counted: float
    returned: bool = False
    creation: int | None = None
    scrapes: int = 1
    regular: bool = False
    kept: bool = False
    moment: float = -math.inf
    shown_before: int = 0

    def lapsed(self, now: float) -> bool:
        """Return True if the place may be given to another scraper."""
        if self.regular:
            return now - self.last_seen >= REGULAR_SECONDS
        return now - self.last_seen >= (NEWCOMER_SECONDS if self.returned else FIRST_SECONDS)

    def awaited(self, now: float) -> bool:
        """Return True if no row may expire before it was shown to this scraper."""
        restored = self.moment == -math.inf
        return self.regular and now - self.last_seen < (RESTORED_SECONDS if restored else AWAITED_SECONDS)


class Scrapers:
    """The remembered scrapers, least recent first.

    ``forgetful_until``: running time until which an unknown scraper is shown all rows at 0.
    """

    def __init__(self, capacity: int = MAX_SCRAPERS) -> None:
        self.forgetful_until = 0.0
        self._capacity = capacity
        self._places: dict[Scraper, Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def shown_before(self, scraper: Scraper, next_creation: int, now: float) -> int:
        """Return the first creation number that a page for this scraper has to show at 0.

        ``next_creation`` is the table's, at the time of this page.
        """
        place = self._places.get(scraper)
        if place is not None and place.creation is not None:
            return place.creation
        return 0 if now < self.forgetful_until else next_creation

    def is_regular(self, scraper: Scraper) -> bool:
        """Return True for a scraper that has returned at scrape intervals."""
        place = self._places.get(scraper)
        return place is not None and place.regular

    def count(self) -> tuple[int, int]:
        """Return the numbers of regular scrapers and of newcomers."""
        regular = sum(place.regular for place in self._places.values())
        return regular, len(self._places) - regular

    def see(self, scraper: Scraper, now: float) -> None:
        """Note that a scraper asks for a page, and give it a place if one is free."""
        place = self._places.pop(scraper, None)
        if place is None:
            if not self._find_place(scraper[0], now):
                return
            place = Place(now, now, now)
        else:
            place.returned = True
        if now - place.counted >= SCRAPE_SECONDS:
            place.scrapes, place.counted = place.scrapes + 1, now
        place.last_seen = now
        if place.scrapes >= REGULAR_SCRAPES and now - place.first >= REGULAR_AFTER:
            place.regular = True
        self._places[scraper] = place

    def show(self, scraper: Scraper, moment: float, shown_before: int) -> None:
        """Note that a scraper, if it is remembered, is shown a page. Arguments as of ``Place``."""
        place = self._places.get(scraper)
        if place is not None:
            place.moment, place.shown_before = moment, shown_before

    def seen_by_all(self, now: float) -> tuple[float, int] | None:
        """Return the time before which every delta, and the creation number before which every row, was shown with its
        value to all regular scrapers. None: there is no such scraper, or one was not shown a page by this process.
        """
        awaited = [place for place in self._places.values() if place.awaited(now)]
        if not awaited or min(place.moment for place in awaited) == -math.inf:
            return None
        return min(place.moment for place in awaited), min(place.shown_before for place in awaited)

    def news(self, scrapers: Iterable[Scraper], creation: int) -> list[Shown]:
        """Return the changes to make safe before ``note``, for scrapers whose page ends at this creation number."""
        places = ((scraper, self._places.get(scraper)) for scraper in scrapers)
        return [
            (scraper, creation, place.regular)
            for scraper, place in places
            if place is not None and (place.creation != creation or place.regular != place.kept)
        ]

    def note(self, shown: Iterable[Shown]) -> None:
        """Note as safe that each of these scrapers was shown every row before its creation number."""
        for scraper, creation, regular in shown:
            place = self._places.get(scraper)
            if place is not None:
                place.creation = max(creation, place.creation or 0)
                place.kept = regular

    def restore(self, shown: Iterable[Shown], now: float) -> None:
        """Remember the scrapers in the journal. Above the capacity a newcomer is forgotten first."""
        for scraper, creation, regular in shown:
            place = self._places.pop(scraper, None) or Place(now, now, now)
            place.creation = max(creation, place.creation or 0)
            place.regular = place.kept = place.regular or regular
            place.last_seen, place.returned = now, True
            self._places[scraper] = place
            if len(self._places) > self._capacity:
                newcomers = (known for known, place in self._places.items() if not place.regular)
                del self._places[next(newcomers, next(iter(self._places)))]

    def capture(self) -> list[Shown]:
        """Return the safe values of each scraper, for the journal."""
        return [
            (scraper, place.creation, place.kept)
            for scraper, place in self._places.items()
            if place.creation is not None
        ]

    def _find_place(self, host: bytes, now: float) -> bool:
        """Make sure that a newcomer of this host has a place. Return False if there is none."""
        for crowd, most in ((self._newcomers, MAX_NEWCOMERS), (self._of, MAX_OF_HOST), (self._all, self._capacity)):
            scrapers = list(crowd(host))
            if len(scrapers) < most:
                continue
            lapsed = next((scraper for scraper in scrapers if self._places[scraper].lapsed(now)), None)
            if lapsed is None:
                return False
            del self._places[lapsed]
        return True

    def _newcomers(self, host: bytes) -> Iterator[Scraper]:
        return (scraper for scraper in self._of(host) if not self._places[scraper].regular)

    def _of(self, host: bytes) -> Iterator[Scraper]:
        return (scraper for scraper in self._places if scraper[0] == host)

    def _all(self, _: bytes) -> Iterator[Scraper]:
        return iter(self._places)
