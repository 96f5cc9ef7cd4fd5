"""How the journal fares, for the page."""

from collections import Counter
from dataclasses import dataclass, field

from collector.journal.errors import JournalReason

COMMIT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds


@dataclass(slots=True)
class Tally:
    """What the page says of the journal. ``reason`` says why it is not up; ``commits`` counts by COMMIT_BOUNDS;
    ``pending`` records have been given and are not safe yet."""

    up: bool = False
    reason: JournalReason | None = None
    pending: int = 0
    errors: Counter[JournalReason] = field(default_factory=Counter)
    snapshots: int = 0
    snapshot_bytes: int = 0
    log_bytes: int = 0
    commits: list[int] = field(default_factory=lambda: [0] * (len(COMMIT_BOUNDS) + 1))
    commit_seconds: float = 0.0

    def commit(self, seconds: float) -> None:
        slot = next((i for i, bound in enumerate(COMMIT_BOUNDS) if seconds <= bound), len(COMMIT_BOUNDS))
        self.commits[slot] += 1
        self.commit_seconds += seconds
