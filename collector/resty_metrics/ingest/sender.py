"""A sender: its marks, and the last heartbeat of its worker."""

import math
from dataclasses import dataclass, field
from enum import Enum

from resty_metrics.ingest.beats import Admission, Beats, Room
from resty_metrics.ingest.departed import SenderMark
from resty_metrics.wire.heartbeat import Heartbeat, Master


class Placement(Enum):
    """The position of a batch relative to the marks of its sender."""

    NEXT = "next"
    NEXT_LOST_STATE = "next_lost_state"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    SENDER_CAP = "sender_cap"


@dataclass(slots=True)
class Sender:
    """A sender: one worker process's life.

    ``received``: sequence of the last accepted batch; ``committed``: of the last safe one. ``birth_ms``: Unix
    milliseconds. ``last_seen``: time of its last datagram; ``ended``: that of its bye, None while it is open;
    ``refused``: that of its last refused datagram, which shows that it lives. ``confirmed``: time its process was last
    known to be there, while it is leaving. ``instance``: name of its nginx, "" if it has none, None if it is not known
    yet; ``master``: identity of its master, ``worker``: number of its worker, None if it is not known; ``leaving``: its
    newest heartbeat says that it is exiting.
    """

    received: int
    committed: int
    birth_ms: int
    last_seen: float
    ended: float | None = None
    beats: Beats = field(default_factory=Beats)
    confirmed: float = -math.inf
    instance: str | None = None
    master: Master | None = None
    worker: int | None = None
    leaving: bool = False
    refused: float = -math.inf

    @property
    def is_settled(self) -> bool:
        """True if every accepted batch is safe; otherwise a commit is under way."""
        return self.committed == self.received

    def mark(self, name: bytes) -> SenderMark:
        """Return the mark of this sender, with its name."""
        return SenderMark(name, self.birth_ms, self.committed, self.last_seen, self.ended, self.instance)

    def hear(self, number: int, heartbeat: Heartbeat, now: float, room: Room) -> Admission:
        """Keep a beat, or a part of one, unless the same or a newer one is there already."""
        admission = self.beats.hear(number, heartbeat, now, room)
        whole = self.beats.whole
        if whole is not None:
            self.instance, self.master, self.worker = whole.instance, whole.master, whole.worker
            self.leaving = whole.exiting is True
        return admission


@dataclass(frozen=True, slots=True)
class LiveHeartbeat:
    """The newest heartbeat of a sender whose gauges have not expired.

    ``recent``: it proves that nginx is up. ``held``: it is old, but its worker is leaving and known to be there: its
    values about the worker are valid, those about nginx are not.
    """

    sender: bytes
    birth_ms: int
    last_seen: float
    heartbeat: Heartbeat
    recent: bool = True
    held: bool = False
