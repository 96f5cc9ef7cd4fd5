"""What is wrong with the socket's file, and when to put it right. Pure: it decides, guard.py acts.

Rules:
- Our socket is the file with our device and inode, our mode and our owner; anything else is a fault with a reason.
- The first fault is healed at once. Where the socket does not stay healed for QUIET_SECONDS, somebody keeps coming
  back: then we wait before each next time, 1 s doubling to 5 s, and say that the path is contended.
- ``now`` is seconds of a monotonic clock.
"""

import stat
from dataclasses import dataclass
from typing import Literal, get_args

QUIET_SECONDS = 10.0
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 5.0

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
        self._healed: float | None = None
        self._backoff = 0.0

    def due(self, now: float) -> bool:
        """Whether a fault may be healed now."""
        return self._healed is None or now >= self._healed + self._backoff

    def healed(self, now: float) -> None:
        """The socket was put right, or that was tried."""
        if self._again(now):
            self._backoff = min(max(BACKOFF_FIRST, 2 * self._backoff), BACKOFF_MOST)
        else:
            self._backoff = 0.0
        self._healed = now

    def contended(self, now: float) -> bool:
        """Whether the socket was put right more than once, and that lately."""
        return self._backoff > 0 and self._again(now)

    def _again(self, now: float) -> bool:
        return self._healed is not None and now - self._healed < QUIET_SECONDS + self._backoff
