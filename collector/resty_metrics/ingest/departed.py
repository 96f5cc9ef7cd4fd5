"""The marks of senders that gave way at the cap: enough to recognise their batches if they come back.

A silent sender may be dead, or stopped for a while with batches that it believes to be unacknowledged. A mark takes a
few hundred bytes, a sender much more, so marks are kept for many more senders than the cap admits.

Rules:
- At the bound the oldest mark of a sender that said bye is forgotten, since such a sender had nothing left to send. If
  there is none, the oldest mark of all is forgotten. A sender whose mark is forgotten begins as an unknown one.
- Marks are ordered by their departure, which is nearly the order in which their senders fell silent.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True, slots=True)
class SenderMark:
    """The mark of a sender: every batch up to ``committed`` is safe. The journal keeps it.

    ``last_seen`` is the time of its last datagram, ``ended`` that of its bye (None: there was none), both in seconds of
    running time. ``instance`` is the name of its nginx, None if it is not known.
    """

    name: bytes
    birth_ms: int
    committed: int
    last_seen: float
    ended: float | None
    instance: str | None = None


class Departed:
    """The marks of at most ``most`` senders, by name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._marks: OrderedDict[bytes, SenderMark] = OrderedDict()
        self._ended: OrderedDict[bytes, None] = OrderedDict()  # the names of those that said bye

    def __len__(self) -> int:
        return len(self._marks)

    def __iter__(self) -> Iterator[SenderMark]:
        return iter(self._marks.values())

    def get(self, name: bytes) -> SenderMark | None:
        """Return the mark of a sender; None if there is none."""
        return self._marks.get(name)

    def add(self, mark: SenderMark) -> None:
        """Keep the mark of a sender that gives way."""
        self.take(mark.name)
        self._marks[mark.name] = mark
        if mark.ended is not None:
            self._ended[mark.name] = None
        if len(self._marks) > self._most:
            self.take(next(chain(self._ended, self._marks)))

    def take(self, name: bytes) -> SenderMark | None:
        """Remove and return the mark of a sender that comes back; None if there is none."""
        self._ended.pop(name, None)
        return self._marks.pop(name, None)

    def prune(self, seen_before: float) -> int:
        """Forget the marks of senders that were last seen at ``seen_before`` or earlier. Return their number."""
        count = 0
        while self._marks and next(iter(self._marks.values())).last_seen <= seen_before:
            self.take(next(iter(self._marks)))
            count += 1
        return count
