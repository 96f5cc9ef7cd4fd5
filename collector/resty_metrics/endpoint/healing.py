"""What is wrong with the socket's file, and when to put it right. Pure: it decides, guard.py acts.

Rules:
- Our socket is the file with our device and inode, our mode and our owner; anything else is a fault with a reason.
- The first fault is healed at once, and a second one; where the socket does not stay healed for QUIET_SECONDS, we wait
  before each next time, 1 s doubling to 5 s.
- Two faults within seconds may be an operator's hand. From the third healing in a row on somebody keeps coming back:
  then the path is contended. What cannot be put right is not contended.
- ``now`` is seconds of a monotonic clock.
"""

import stat
from dataclasses import dataclass
from typing import Literal, get_args

QUIET_SECONDS = 10.0
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 5.0
MAX_DOUBLINGS = 8
CONTENDED_HEALINGS = 3

Fault = Literal["missing", "replaced", "mode", "owner", "unreachable"]
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True, slots=True)
class Identity:
    """A file as ``stat`` shows it."""

    device: int
    inode: int
    mode: int
    owner: int


def find_fault(ours: Identity, there: Identity | None) -> Fault | None:
    """What is wrong with the file at the path; None if it is our socket as we made it."""
    if there is None:
        return "missing"
    if (there.device, there.inode) != (ours.device, ours.inode) or stat.S_IFMT(there.mode) != stat.S_IFMT(ours.mode):
        return "replaced"
    if there.mode != ours.mode:
        return "mode"
    return "owner" if there.owner != ours.owner else None


class Contention:
    """When the next healing is due, and whether the path is contended."""

    def __init__(self) -> None:
        self._tried: float | None = None
        self._attempts = 0  # of which each came before it had been quiet since the last
        self._healings = 0  # of those

    @property
    def healings(self) -> int:
        """How often in a row it was put right, without quiet between."""
        return self._healings

    def due(self, now: float) -> bool:
        """Whether a fault may be healed now."""
        return self._tried is None or now >= self._tried + self._backoff

    def tried(self, now: float) -> None:
        """A healing begins."""
        if not self._lately(now):
            self._attempts = self._healings = 0
        self._attempts += 1
        self._tried = now

    def healed(self) -> None:
        """It was put right."""
        self._healings += 1

    def contended(self, now: float) -> bool:
        """Whether it was put right CONTENDED_HEALINGS times in a row, and that lately."""
        return self._healings >= CONTENDED_HEALINGS and self._lately(now)

    @property
    def _backoff(self) -> float:
        doublings = self._attempts - 2
        if doublings < 0:
            return 0.0
        return min(BACKOFF_FIRST * 2.0 ** min(doublings, MAX_DOUBLINGS), BACKOFF_MOST)

    def _lately(self, now: float) -> bool:
        return self._tried is not None and now - self._tried < QUIET_SECONDS + self._backoff
