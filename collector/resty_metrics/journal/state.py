"""The state that the journal keeps: the table, the senders' marks, the rows shown to scrapers, and the running time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from resty_metrics.ingest.departed import SenderMark
from resty_metrics.ingest.senders import Senders
from resty_metrics.table.scrapers import Scrapers, Shown
from resty_metrics.table.table import Table, TableState


@dataclass(slots=True)
class State:
    """The state that outlives the process. ``now``: running time, the seconds that collectors on this journal ran."""

    table: Table = field(default_factory=Table)
    senders: Senders = field(default_factory=Senders)
    scrapers: Scrapers = field(default_factory=Scrapers)
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Capture:
    """A copy of the state at one moment, which stays the same while the state changes."""

    table: TableState
    senders: Sequence[SenderMark]
    scrapers: Sequence[Shown]
    now: float


def capture(state: State, now: float) -> Capture:
    """Return a copy of the state at ``now``. This is cheap: the rows' numbers are shared, not copied."""
    return Capture(state.table.capture(), state.senders.capture(), state.scrapers.capture(), now)
