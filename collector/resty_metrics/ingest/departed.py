"""The marks of senders that gave way at the cap: enough to know their batches again if they come back.

A sender that is silent may be dead, or stopped for a while with batches that it believes to be unacknowledged. Its mark
takes a few hundred bytes, a sender much more, so marks are kept for many more senders than the cap admits.

Rules:
- At the bound a mark is forgotten: of a sender that said bye if there is one, since such a sender had nothing left to
  send, else of any other; the one that departed first. If that sender comes back, it begins as an unknown one.
- Marks are ordered by their departure, which is the order in which their senders fell silent, or nearly so.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True, slots=True)
class SenderMark:
    """A mark of what is safe of a sender: every batch up to ``committed``. A journal keeps it.

    ``seen`` is when it last sent something, ``ended`` when it said bye (None: it did not), both in seconds of running
    time. ``instance`` is the name of its nginx, None where that is not known.
    """

    name: bytes
    birth_ms: int
    committed: int
    seen: float
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
        """Return the mark of a sender, None if there is none."""
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
        """Remove and return the mark of a sender that comes back, None if there is none."""
        self._ended.pop(name, None)
        return self._marks.pop(name, None)

    def prune(self, seen_before: float) -> int:
        """Forget the marks of senders that were last seen before then. Return how many."""
        count = 0
        while self._marks and next(iter(self._marks.values())).seen <= seen_before:
            self.take(next(iter(self._marks)))
            count += 1
        return count
