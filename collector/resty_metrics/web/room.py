"""The bytes that clients make us hold, all together: requests that wait for their turn, answers that wait to be read.

Rule: above MOST_BYTES the client that has most is cut off, until the rest fits.
"""

from typing import Protocol

from resty_metrics.web.tally import Closed

MOST_BYTES = 4 * 1024 * 1024


class Holder(Protocol):
    """A connection."""

    def cut(self, reason: Closed) -> None: ...


class Room:
    """``used``: bytes of all holders; ``most``: how many there may be."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.used = 0
        self.most = most
        self._held: dict[Holder, int] = {}

    def hold(self, holder: Holder, count: int) -> None:
        """Note what a connection holds now, instead of what it held before."""
        self.used += count - self._held.pop(holder, 0)
        if count:
            self._held[holder] = count
        while self.used > self.most:
            biggest = max(self._held, key=self._held.__getitem__)
            self.used -= self._held.pop(biggest)
            biggest.cut("room")
