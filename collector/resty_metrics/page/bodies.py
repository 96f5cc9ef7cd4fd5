"""The bodies of pages that clients are still reading, and the room that these take.

Rules:
- A page is made only while all bodies that are being read have HELD_BYTES at most. So clients that do not read cost no
  more than that, beside one page.
- All that clients cost beside one page is CLIENT_BYTES at most: where their connections need more than the rest of it,
  less is left for bodies. Bodies beyond that are closed at once: those of regular scrapers last.
- Where there is no room, the bodies that were read for too long make it: their connections are closed. A body that a
  regular scraper reads has more time, and gives way to regular scrapers alone.
- A body counts for as long as anybody holds it: that is when its memory is free again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakSet

from resty_metrics.table.scrapers import Scraper

CLIENT_BYTES = 32 << 20
HELD_BYTES = 16 << 20
READ_SECONDS = 2.0
REGULAR_READ_SECONDS = 5.0
SLICE_BYTES = 16_384  # for each connection TLS copies what is written at once

Cut = Callable[[], None]  # closes a connection


class Body:
    """The bytes of a page, for all clients that were given it. ``made_at``: when, by the clock of ``Bodies``.

    ``regulars``: the regular scrapers among them.
    """

    def __init__(
        self, pieces: Sequence[bytes], made_at: float = 0.0, regulars: frozenset[Scraper] = frozenset()
    ) -> None:
        self.pieces = pieces
        self.size = sum(map(len, pieces))
        self.made_at = made_at
        self.regulars = regulars
        self._readers: dict[Cut, bool] | None = {}

    @contextmanager
    def reading(self, scraper: Scraper | None, cut: Cut) -> Iterator[None]:
        """Be one of its readers, whose connection ``cut`` closes. ``scraper`` None: not a Prometheus."""
        if self._readers is None:
            cut()
            yield
            return
        self._readers[cut] = scraper in self.regulars
        try:
            yield
        finally:
            if self._readers is not None:
                self._readers.pop(cut, None)

    def slices(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes in order, as much as may be written at once."""
        for piece in self.pieces:
            if len(piece) <= SLICE_BYTES:
                yield piece
                continue
            view = memoryview(piece)
            for begin in range(0, len(piece), SLICE_BYTES):
                yield view[begin : begin + SLICE_BYTES]

    def cut(self) -> None:
        """Close the connections of its readers, and of those that come."""
        readers, self._readers = self._readers or {}, None
        for reader in readers:
            reader()

    @property
    def regular(self) -> bool:
        """Return True if a regular scraper is still reading."""
        return self._readers is not None and any(self._readers.values())

    @property
    def is_cut(self) -> bool:
        """Return True if its memory will be free in a moment."""
        return self._readers is None


class Bodies:
    """All bodies that are held. ``most``: how many bytes they may have when another is made."""

    def __init__(self) -> None:
        self.most = HELD_BYTES
        self._held: WeakSet[Body] = WeakSet()

    def add(self, body: Body) -> None:
        """Count a body for as long as it is held."""
        self._held.add(body)

    @property
    def size(self) -> int:
        """Return the bytes of all that are held."""
        return sum(body.size for body in self._held)

    def make_room(self, now: float, regular: bool) -> bool:
        """Return True if a page may be made, for a regular scraper or for another client.

        Otherwise close what was read for too long, as much as is needed; there may be room a moment later.
        """
        if self.size <= self.most:
            return True
        bodies = self._in_order()
        excess = sum(body.size for body in bodies) - self.most
        for body in bodies:
            if excess > 0 and _is_overdue(body, now, regular):
                excess -= body.size
                body.cut()
        return False

    def leave(self, used: int) -> None:
        """Leave room for the bytes that connections take. Close the bodies, but one, that have too much now."""
        self.most = min(HELD_BYTES, max(0, CLIENT_BYTES - used))
        bodies = self._in_order()
        while bodies and sum(body.size for body in bodies) - max(body.size for body in bodies) > self.most:
            bodies.pop(0).cut()

    def _in_order(self) -> list[Body]:
        """Return the bodies that are not cut: those that give way first come first."""
        held = [body for body in self._held if not body.is_cut]
        return sorted(held, key=lambda body: (body.regular, body.made_at))


def _is_overdue(body: Body, now: float, regular: bool) -> bool:
    if body.regular:
        return regular and now - body.made_at > REGULAR_READ_SECONDS
    return now - body.made_at > READ_SECONDS
