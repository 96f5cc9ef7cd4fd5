"""One sender: its marks, and what its worker last said of itself."""

import math
from dataclasses import dataclass, field
from enum import Enum

from resty_metrics.ingest.beats import Beats, Heard, Room
from resty_metrics.ingest.departed import SenderMark
from resty_metrics.wire.heartbeat import Heartbeat, Master


class Placement(Enum):
    """Where a batch stands to the marks of its sender."""

    NEXT = "next"
    NEXT_LOST_STATE = "next_lost_state"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    SENDER_CAP = "sender_cap"


@dataclass(slots=True)
class Sender:
    """One worker process's life. ``ended`` is when its bye came, None while it is open; ``instance`` is the name of its
    nginx, "" if it has none, None as long as it did not say; ``master``, too, is what it last said.
    """

    received: int
    committed: int
    birth_ms: int
    seen: float
    ended: float | None = None
    beats: Beats = field(default_factory=Beats)
    confirmed: float = -math.inf
    instance: str | None = None
    master: Master | None = None

    @property
    def is_settled(self) -> bool:
        """True if everything that was accepted is safe; otherwise a commit is under way."""
        return self.committed == self.received

    def mark(self, name: bytes) -> SenderMark:
        """Return what is safe of it."""
        return SenderMark(name, self.birth_ms, self.committed, self.seen, self.ended, self.instance)

    def hear(self, number: int, heartbeat: Heartbeat, now: float, room: Room) -> Heard:
        """Keep a beat, or a part of one, if it is newer than what there is."""
        heard = self.beats.hear(number, heartbeat, now, room)
        if self.beats.whole is not None:
            self.instance, self.master = self.beats.whole.instance, self.beats.whole.master
        return heard


@dataclass(frozen=True, slots=True)
class LiveHeartbeat:
    """The newest heartbeat of a sender whose gauges have not expired. ``recent``: it is proof that nginx is up.
    ``held``: it is old, but its worker is leaving, and known to be there: what it says of itself holds, what it says of
    its nginx does not.
    """

    sender: bytes
    birth_ms: int
    seen: float
    heartbeat: Heartbeat
    recent: bool = True
    held: bool = False
