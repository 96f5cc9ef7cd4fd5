"""The senders: the accepted and the safe batches of each, and the last heartbeat of its worker.

This is the collector's state chart of docs/wire.md. It decides and remembers; its caller decodes and answers.

Rules:
- ``received`` runs ahead of ``committed``. Workers are only ever told ``committed``.
- A sender is unknown, open or ended. An open sender is silent once it has missed three beats.
- At the cap a new sender takes the place of an ended one, or else of a silent one, the oldest first. It is refused only
  if there is neither. The mark of the sender that gives way is kept (departed.py): if it comes back, its batches are
  neither lost nor counted twice.
- A sender whose commit is under way does not give way.
- Gauges expire after three missed beats, with a bye, or when the sender is forgotten. A leaving worker has no timer any
  more: its gauges stay as long as its process is known to be there (leaving.py).
- Births order the senders. They come from a wall clock that may be set, so a birth in the future counts as now. If the
  youngest known birth lies in the future, the clock was set back since, and a new sender counts as younger than all.
- A batch may carry any name of an nginx, even one that the table refuses, so the number of names shown is capped at the
  table's.
- ``now`` is seconds of a monotonic clock.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain

from resty_metrics.ingest.beats import BEAT_SECONDS, GAUGES_SECONDS, MAX_INSTANCES, Admission, Room
from resty_metrics.ingest.departed import Departed, SenderMark
from resty_metrics.ingest.missing import missing, refused
from resty_metrics.ingest.sender import LiveHeartbeat, Placement, Sender
from resty_metrics.wire.datagram import Header
from resty_metrics.wire.heartbeat import Heartbeat, Master

SENDER_CAP = 4_096
DEPARTED_PER_SENDER = 8  # marks of departed senders that are kept, for each sender that the cap admits
UP_SECONDS = BEAT_SECONDS * 2
ENDED_SECONDS = 10 * 60.0
SILENT_SECONDS = 24 * 3600.0


class Senders:
    """The senders by name. ``last_datagram``: time of the last one, None before; ``room``: that of their heartbeats."""

    def __init__(self, cap: int = SENDER_CAP) -> None:
        self.room = Room()
        self.last_datagram: float | None = None
        self._cap = cap
        self._senders: dict[bytes, Sender] = {}  # in the order of their arrival
        self._by_seen: OrderedDict[bytes, None] = OrderedDict()  # the same names, the least recently seen first
        self._ended: OrderedDict[bytes, None] = OrderedDict()  # the names of those that said bye, in that order
        self._departed = Departed(DEPARTED_PER_SENDER * cap)
        self._youngest_ms = 0

    def __len__(self) -> int:
        return len(self._senders)

    @property
    def instances(self) -> set[str]:
        """The names of the senders' nginx instances, at most MAX_INSTANCES of them; "" for an instance without a name.

        Names in current heartbeats take precedence, then those seen most recently. A name is left out if all its
        senders have ended and their master goes on under another name, as after a reload.
        """
        recent = [self._senders[name] for name in reversed(self._by_seen)]
        named = [(sender.instance, sender) for sender in recent if sender.instance is not None]
        masters = {sender.master for _, sender in named if sender.ended is None} - {None}
        names = dict.fromkeys(name for name, sender in named if sender.ended is None or sender.master not in masters)
        return set(sorted(names, key=lambda name: name not in self.room.instances)[:MAX_INSTANCES])

    def states(self, now: float) -> dict[str, int]:
        """Count the senders by state: open, silent, ended, and departed (only the mark is left)."""
        silent = sum(sender.ended is None and _is_silent(sender, now) for sender in self._senders.values())
        ended = len(self._ended)
        opened = len(self._senders) - ended - silent
        return {"open": opened, "silent": silent, "ended": ended, "departed": len(self._departed)}

    @property
    def masters(self) -> set[Master]:
        """The masters of the senders that have not ended."""
        masters = {sender.master for sender in self._senders.values() if sender.ended is None}
        return {master for master in masters if master is not None}

    def missing(self, now: float, is_gone: Callable[[Master], bool]) -> dict[str, int]:
        """Count the workers by nginx that sent heartbeats and fell silent without an end. ``is_gone``: of a master."""
        return missing(self._senders.values(), now, is_gone)

    def refused(self, now: float) -> dict[str, bool]:
        """Return for each nginx with known, open workers whether one of them is refused."""
        return refused(self._senders.values(), now)

    def refuse(self, name: bytes, now: float) -> None:
        """Note that a datagram of a sender was refused."""
        if name in self._senders:
            self._senders[name].refused = now

    def committed(self, name: bytes) -> int:
        """Return the sequence up to which every batch of a sender is safe; 0 if the sender is unknown."""
        known = self._senders.get(name) or self._departed.get(name)
        return 0 if known is None else known.committed

    def believe(self, birth_ms: int) -> None:
        """Take a birth (Unix milliseconds) as true. Later births are judged by the youngest of these."""
        self._youngest_ms = max(self._youngest_ms, birth_ms)

    def birth(self, header: Header, wall_ms: int) -> int:
        """Return the birth of a datagram's sender, in Unix milliseconds, corrected if a clock was set.

        ``wall_ms``: the wall clock now, in Unix milliseconds.
        """
        known = self._senders.get(header.sender) or self._departed.get(header.sender)
        if known is not None:
            return known.birth_ms
        return min(header.birth_ms, wall_ms) if self._youngest_ms <= wall_ms else self._youngest_ms + 1

    def place(self, header: Header, now: float) -> Placement:
        """Compare a batch with the marks of its sender. An unknown sender is created; no mark moves."""
        sender = self._meet(header, now)
        if sender is None:
            return Placement.SENDER_CAP
        if header.sequence <= sender.received:
            return Placement.DUPLICATE
        if header.sequence != max(sender.received + 1, header.base):
            return Placement.OUT_OF_ORDER
        return Placement.NEXT_LOST_STATE if header.base > sender.received + 1 else Placement.NEXT

    def advance(self, name: bytes, sequence: int) -> None:
        """Move ``received`` past a batch that was placed next and is accepted, or dropped for good."""
        sender = self._senders[name]
        sender.received = sequence
        sender.ended = None
        self._ended.pop(name, None)

    def call(self, name: bytes, instance: str) -> None:
        """Note the name of the sender's nginx, from one of its batches."""
        self._senders[name].instance = instance

    def commit(self, name: bytes, sequence: int) -> None:
        """Note that every batch of the sender up to ``sequence`` is safe."""
        self._senders[name].committed = sequence

    def beat(self, header: Header, heartbeat: Heartbeat | None, now: float) -> Admission | None:
        """Keep a heartbeat if it is the newest. Return None if the sender cap leaves no room.

        ``heartbeat`` None: it could not be read, and only shows that the sender is alive.
        """
        sender = self._meet(header, now)
        if sender is None:
            return None
        if heartbeat is None or sender.ended is not None:
            return Admission()
        return sender.hear(header.sequence, heartbeat, now, self.room)

    def bye(self, header: Header, now: float) -> bool:
        """End a sender. Return False if it had ended before, or is unknown; an unknown one is not created."""
        sender = self._senders.get(header.sender)
        if sender is None:
            return False
        self._meet(header, now)
        sender.beats.end(self.room)
        if sender.ended is not None:
            return False
        self._end(header.sender, sender, now)
        return True

    def capture(self) -> list[SenderMark]:
        """Return the marks of all senders, for the journal: the departed first, then the others, the least recently
        seen first.
        """
        return [*self._departed, *(self._senders[name].mark(name) for name in self._by_seen)]

    def restore(self, mark: SenderMark) -> None:
        """Restore a sender from the mark that an earlier collector left. If it is known already, its first birth stays.

        Above the cap the least recently restored sender departs.
        """
        known = self._senders.get(mark.name) or self._departed.take(mark.name)
        sender = Sender(mark.committed, mark.committed, mark.birth_ms, mark.last_seen, instance=mark.instance)
        if known is not None:
            sender.birth_ms = known.birth_ms
            sender.instance = known.instance if mark.instance is None else mark.instance
        self.believe(sender.birth_ms)
        self._add(mark.name, sender)
        self._ended.pop(mark.name, None)
        if mark.ended is not None:
            self._end(mark.name, sender, mark.ended)
        if len(self._senders) > self._cap:
            self._depart(next(iter(self._by_seen)))

    def end(self, name: bytes, now: float) -> None:
        """Note that a sender said bye to an earlier collector, at ``now``."""
        sender = self._senders.get(name)
        if sender is not None:
            sender.last_seen = now
            self._by_seen.move_to_end(name)
            self._end(name, sender, now)

    def heartbeats(self, now: float) -> list[LiveHeartbeat]:
        """Return the newest heartbeat of each sender whose gauges have not expired."""
        return [
            LiveHeartbeat(
                name,
                sender.birth_ms,
                sender.beats.last_seen,
                sender.beats.whole,
                recent=now - sender.beats.last_seen < UP_SECONDS,
                held=now - sender.beats.last_seen > GAUGES_SECONDS,
            )
            for name, sender in self._senders.items()
            if sender.beats.whole is not None and now - max(sender.beats.last_seen, sender.confirmed) <= GAUGES_SECONDS
        ]

    def is_leaving(self, name: bytes) -> bool:
        """Return True if the worker's newest heartbeat says that it is exiting, and no bye has arrived."""
        sender = self._senders.get(name)
        return sender is not None and sender.beats.whole is not None and sender.beats.whole.exiting is True

    def confirm(self, name: bytes, now: float | None) -> None:
        """Note that the process of a leaving worker was there at ``now``; None: it is gone."""
        sender = self._senders[name]
        if now is None:
            sender.confirmed = -math.inf
        else:
            sender.confirmed = sender.last_seen = now
            self._by_seen.move_to_end(name)

    def prune(self, now: float) -> int:
        """Forget senders that said bye ENDED_SECONDS ago, and senders and marks that were last seen SILENT_SECONDS ago.

        Release the expired heartbeats of the others. Return the number of forgotten senders and marks.
        """
        for sender in self._senders.values():
            if now - sender.confirmed > GAUGES_SECONDS:
                sender.beats.expire(now, self.room)
        expired = [name for name, sender in self._senders.items() if _is_over(sender, now)]
        for name in expired:
            self._remove(name)
        self.room.recount(sender.beats for sender in self._senders.values())
        return len(expired) + self._departed.prune(now - SILENT_SECONDS)

    def _meet(self, header: Header, now: float) -> Sender | None:
        """Return the sender of a datagram, and create it if it is unknown; None if the cap leaves no room."""
        sender = self._senders.get(header.sender)
        if sender is None:
            if len(self._senders) >= self._cap and not self._make_room(now):
                return None
            sender = self._begin(header, now)
            self._add(header.sender, sender)
        sender.last_seen = self.last_datagram = now
        self._by_seen.move_to_end(header.sender)
        return sender

    def _begin(self, header: Header, now: float) -> Sender:
        mark = self._departed.take(header.sender)
        if mark is not None:
            return Sender(mark.committed, mark.committed, mark.birth_ms, now, instance=mark.instance)
        self.believe(header.birth_ms)
        return Sender(header.base - 1, header.base - 1, header.birth_ms, now)

    def _add(self, name: bytes, sender: Sender) -> None:
        self._senders[name] = sender
        self._by_seen[name] = None
        self._by_seen.move_to_end(name)

    def _end(self, name: bytes, sender: Sender, now: float) -> None:
        sender.ended = now
        self._ended[name] = None

    def _make_room(self, now: float) -> bool:
        """Remove the oldest ended sender, or else the oldest silent one, and keep its mark. Return False if there is
        neither.
        """
        for name in chain(self._ended, self._by_seen):
            sender = self._senders[name]
            if sender.ended is None and not _is_silent(sender, now):
                return False  # all that follow were seen later
            if sender.is_settled:
                self._depart(name)
                return True
        return False

    def _depart(self, name: bytes) -> None:
        self._departed.add(self._remove(name).mark(name))

    def _remove(self, name: bytes) -> Sender:
        del self._by_seen[name]
        self._ended.pop(name, None)
        sender = self._senders.pop(name)
        sender.beats.end(self.room)
        return sender


def _is_silent(sender: Sender, now: float) -> bool:
    return now - sender.last_seen > GAUGES_SECONDS


def _is_over(sender: Sender, now: float) -> bool:
    if not sender.is_settled:
        return False
    if sender.ended is not None and now - sender.ended >= ENDED_SECONDS:
        return True
    return now - sender.last_seen >= SILENT_SECONDS
