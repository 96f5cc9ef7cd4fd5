"""The faults of the socket's file, and the time to heal them. Pure: it decides, guard.py acts.

Rules:
- Our socket is the file with our device and inode, our mode and our owner; anything else is a fault with a reason.
- The first and the second fault are healed at once. If the socket then does not stay healed for QUIET_SECONDS, each
  further healing has to wait, 1 s doubling to 5 s.
- Two faults within seconds may be an operator's doing. From the third healing in a row, somebody interferes again and
  again: the path is contended. A fault that cannot be healed does not make it contended.
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


def find_fault(expected: Identity, actual: Identity | None) -> Fault | None:
    """Return the fault of the file at the path; None if it is our socket as we made it."""
    if actual is None:
        return "missing"
    if (actual.device, actual.inode) != (expected.device, expected.inode) or stat.S_IFMT(actual.mode) != stat.S_IFMT(
        expected.mode
    ):
        return "replaced"
    if actual.mode != expected.mode:
        return "mode"
    return "owner" if actual.owner != expected.owner else None


class Contention:
    """A record of healings: it tells when the next is due, and whether the path is contended."""

    def __init__(self) -> None:
        self._tried: float | None = None
        self._attempts = 0  # in a row, with no quiet time between
        self._healings = 0  # how many of those succeeded

    @property
    def healings(self) -> int:
        """Return how often in a row the socket was healed, with no quiet time between."""
        return self._healings

    def due(self, now: float) -> bool:
        """Return whether a fault may be healed now."""
        return self._tried is None or now >= self._tried + self._backoff

    def tried(self, now: float) -> None:
        """Note that a healing begins."""
        if not self._lately(now):
            self._attempts = self._healings = 0
        self._attempts += 1
        self._tried = now

    def healed(self) -> None:
        """Note that the healing succeeded."""
        self._healings += 1

    def contended(self, now: float) -> bool:
        """Return whether the socket was healed CONTENDED_HEALINGS times in a row, and lately."""
        return self._healings >= CONTENDED_HEALINGS and self._lately(now)

    @property
    def _backoff(self) -> float:
        doublings = self._attempts - 2
        if doublings < 0:
            return 0.0
        return min(BACKOFF_FIRST * 2.0 ** min(doublings, MAX_DOUBLINGS), BACKOFF_MOST)

    def _lately(self, now: float) -> bool:
        return self._tried is not None and now - self._tried < QUIET_SECONDS + self._backoff
