"""What the journal keeps: the table, the marks of the senders, what scrapers were shown, and the running time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from resty_metrics.ingest.departed import SenderMark
from resty_metrics.ingest.senders import Senders
from resty_metrics.table.scrapers import Scrapers, Shown
from resty_metrics.table.table import Table, TableState


@dataclass(slots=True)
class State:
    """All that must outlive the process. ``now`` is running time: seconds that collectors on this journal have run."""

    table: Table = field(default_factory=Table)
    senders: Senders = field(default_factory=Senders)
    scrapers: Scrapers = field(default_factory=Scrapers)
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Capture:
    """A state at one moment, which goes on being that while the state changes."""

    table: TableState
    senders: Sequence[SenderMark]
    scrapers: Sequence[Shown]
    now: float


def capture(state: State, now: float) -> Capture:
    """The state as it is now; cheap, since rows share their numbers with it."""
    return Capture(state.table.capture(), state.senders.capture(), state.scrapers.capture(), now)
