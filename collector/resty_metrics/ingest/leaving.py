"""The workers that are leaving: after a reload one with long connections lives on, and has no timer to say so.

Such a worker says ``exiting`` in its last heartbeat, and sends another one only when something ends there. It is
answered on a socket pair, whose other end closes when its process ends, however that is and in whatever pid namespace.
So the collector keeps its own end, and sends the last ack on it again: the kernel refuses that once nobody is there.

Rules:
- An ack that comes a second time says nothing new to a worker; a queue that is full of them is that of a live one.
  What holds or drops a batch would be counted again: it is not sent twice.
- Bounded: a worker for whose descriptor there is no room is forgotten like any other that falls silent.
"""

from collections.abc import Callable

from resty_metrics.ingest.beats import BEAT_SECONDS
from resty_metrics.ingest.senders import Senders
from resty_metrics.wire.datagram import Verdict, read_answer

MAX_LEAVING = 256


class Leaving:
    """The answer sockets of the workers that are leaving, by sender, each with its last ack.

    ``is_there``: send an answer on a descriptor, and return whether somebody has the other end.
    """

    def __init__(self, senders: Senders, is_there: Callable[[int, bytes], bool]) -> None:
        self._senders = senders
        self._is_there = is_there
        self._kept: dict[bytes, tuple[int, bytes]] = {}
        self._checked = 0.0

    def keep(self, sender: bytes, descriptor: int, answer: bytes, now: float) -> list[int]:
        """Keep the descriptor that was answered on if its worker is leaving. Return those that are to be closed."""
        if not self._senders.is_leaving(sender):
            return [descriptor, *self._release(sender)]
        if read_answer(answer).verdict != Verdict.ACK:
            return [descriptor]
        if sender not in self._kept and len(self._kept) >= MAX_LEAVING:
            return [descriptor]
        earlier = self._release(sender)
        self._kept[sender] = (descriptor, answer)
        self._senders.confirm(sender, now)
        return earlier

    def check(self, now: float) -> list[int]:
        """Ask the kernel, once in each period of a heartbeat, who is still there. Return what is to be closed."""
        if now - self._checked < BEAT_SECONDS:
            return []
        self._checked = now
        gone: list[bytes] = []
        for sender, (descriptor, answer) in self._kept.items():
            if not self._senders.is_leaving(sender):
                gone.append(sender)
            elif self._is_there(descriptor, answer):
                self._senders.confirm(sender, now)
            else:
                self._senders.confirm(sender, None)
                gone.append(sender)
        return [descriptor for sender in gone for descriptor in self._release(sender)]

    def _release(self, sender: bytes) -> list[int]:
        kept = self._kept.pop(sender, None)
        return [] if kept is None else [kept[0]]
