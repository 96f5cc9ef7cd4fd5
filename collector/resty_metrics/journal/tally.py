"""The figures of the journal for the page."""

from collections import Counter, deque
from dataclasses import dataclass, field

from resty_metrics.journal.errors import JournalReason, Loss

COMMIT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds


@dataclass(slots=True)
class Tally:
    """The figures of the journal. ``reason``: why it is not up. ``commits``: the number of commits by COMMIT_BOUNDS.

    ``pending_since``: the time from which each record that is not safe yet has waited, oldest first, in seconds of a
    monotonic clock. ``lost_records`` and ``lost_rows``: written by an earlier collector, and not readable at the start.
    """

    up: bool = False
    reason: JournalReason | None = None
    pending_since: deque[float] = field(default_factory=deque)
    errors: Counter[JournalReason] = field(default_factory=Counter)
    snapshots: int = 0
    snapshot_bytes: int = 0
    log_bytes: int = 0
    commits: list[int] = field(default_factory=lambda: [0] * (len(COMMIT_BOUNDS) + 1))
    commit_seconds: float = 0.0
    lost_records: int = 0
    lost_rows: int = 0

    @property
    def pending(self) -> int:
        """The number of records that were given and are not safe yet."""
        return len(self.pending_since)

    def pending_seconds(self, now: float) -> float:
        """Return the seconds that the oldest pending record has waited; 0 if none is pending."""
        return max(0.0, now - self.pending_since[0]) if self.pending_since else 0.0

    def lose(self, loss: Loss) -> None:
        """Count the losses of a start."""
        if loss.reason is not None:
            self.errors[loss.reason] += 1
        self.lost_records += loss.records + loss.entries
        self.lost_rows += loss.rows

    def commit(self, seconds: float) -> None:
        slot = next((i for i, bound in enumerate(COMMIT_BOUNDS) if seconds <= bound), len(COMMIT_BOUNDS))
        self.commits[slot] += 1
        self.commit_seconds += seconds
