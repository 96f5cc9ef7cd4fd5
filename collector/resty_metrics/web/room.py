"""The bytes that all clients together make us hold: requests that wait for their turn, answers that wait to be read.

Rule: above MOST_BYTES the client that holds most is cut off, then the next, until the rest fits.
"""

from typing import Protocol

from resty_metrics.web.tally import Closed

MOST_BYTES = 4 * 1024 * 1024


class Holder(Protocol):
    """A connection that holds bytes."""

    def cut(self, reason: Closed) -> None: ...


class Room:
    """The account of the bytes. ``used``: those of all holders; ``most``: the limit."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.used = 0
        self.most = most
        self._held: dict[Holder, int] = {}

    def hold(self, holder: Holder, count: int) -> None:
        """Set how many bytes a connection holds; cut off the biggest holders while there are too many."""
        self.used += count - self._held.pop(holder, 0)
        if count:
            self._held[holder] = count
        while self.used > self.most:
            biggest = max(self._held, key=self._held.__getitem__)
            self.used -= self._held.pop(biggest)
            biggest.cut("room")
