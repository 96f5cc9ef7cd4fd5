"""The leaving workers: after a reload, a worker with long connections lives on without a timer for heartbeats.

Such a worker says ``exiting`` in its last heartbeat, and sends another one only when a request ends there. It is
answered on a socket pair, whose other end closes when its process ends, for whatever reason and in any pid namespace.
So the collector keeps its own end, and sends the last ack on it again: the kernel refuses that once the worker is gone.

Rules:
- A repeated ack tells a worker nothing new, and if its queue is full of them the worker is alive. An answer that holds
  or drops a batch is never repeated: the worker would count it again.
- Descriptors are bounded: a worker that finds no room is forgotten like any other that falls silent.
"""

from collections.abc import Callable

from resty_metrics.ingest.beats import BEAT_SECONDS
from resty_metrics.ingest.senders import Senders
from resty_metrics.wire.datagram import Verdict, read_answer

MAX_LEAVING = 256


class Leaving:
    """The answer sockets of the leaving workers, by sender, each with its last ack.

    ``is_there`` sends an answer on a descriptor, and returns True if the other end is open.
    """

    def __init__(self, senders: Senders, is_there: Callable[[int, bytes], bool]) -> None:
        self._senders = senders
        self._is_there = is_there
        self._kept: dict[bytes, tuple[int, bytes]] = {}
        self._checked = 0.0

    def keep(self, sender: bytes, descriptor: int, answer: bytes, now: float) -> list[int]:
        """Keep the descriptor of an answer if its worker is leaving. Return the descriptors to close."""
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
        """Check which workers are still there, at most once per heartbeat period. Return the descriptors to close."""
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
        entry = self._kept.pop(sender, None)
        return [] if entry is None else [entry[0]]
