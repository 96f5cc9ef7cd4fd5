"""The back-off between attempts to write a journal again. Pure.

Rules:
- After a first failure the next attempt is due at once. If it fails too, within QUIET_SECONDS, the next one is due a
  second later, and that delay doubles with each failure to MOST_SECONDS. A failure that comes more than QUIET_SECONDS
  after the last attempt counts as a first one. So a disk with only a little room is not filled each second, and the
  journal is not reported as up and down in turns.
- ``now`` is seconds of a monotonic clock.
"""

FIRST_SECONDS, MOST_SECONDS = 1.0, 60.0
QUIET_SECONDS = 60.0


class Patience:
    """The back-off after the failures that were noted with ``fail``."""

    def __init__(self) -> None:
        self._failed: float | None = None
        self._wait = 0.0

    def fail(self, now: float) -> None:
        """Note that writing has failed."""
        if self._failed is not None and now - self._failed < QUIET_SECONDS + self._wait:
            self._wait = min(MOST_SECONDS, max(FIRST_SECONDS, 2 * self._wait))
        else:
            self._wait = 0.0
        self._failed = now

    def due(self, now: float) -> bool:
        """Return True if the next attempt is due."""
        return self._failed is None or now >= self._failed + self._wait
