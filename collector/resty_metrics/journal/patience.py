"""When to try again to write a journal. Pure.

Rules:
- After a failure at once; after one that follows within QUIET_SECONDS of the last attempt, a second later, doubling to
  MOST_SECONDS. So a disk that takes a little, and then no more, is not written full each second, and the journal not
  said to be up and down and up.
- ``now`` is seconds of a monotonic clock.
"""

FIRST_SECONDS, MOST_SECONDS = 1.0, 60.0
QUIET_SECONDS = 60.0


class Patience:
    """Told of each failure, it says when the next attempt is due."""

    def __init__(self) -> None:
        self._failed: float | None = None
        self._wait = 0.0

    def fail(self, now: float) -> None:
        """Writing has failed."""
        if self._failed is not None and now - self._failed < QUIET_SECONDS + self._wait:
            self._wait = min(MOST_SECONDS, max(FIRST_SECONDS, 2 * self._wait))
        else:
            self._wait = 0.0
        self._failed = now

    def due(self, now: float) -> bool:
        """Whether to try now."""
        return self._failed is None or now >= self._failed + self._wait
