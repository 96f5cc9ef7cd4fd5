"""A drain of the socket: the outcome of each datagram, and the batches that are made safe and answered together."""

from dataclasses import dataclass
from typing import Literal

from resty_metrics.shapes.shape import FamilyBatch
from resty_metrics.table.table import Failure
from resty_metrics.wire.datagram import Header, Reason, Verdict

Result = Literal["applied", "duplicate", "out_of_order", "heartbeat", "bye", "probe", "held", "dropped", "unanswerable"]
INSTANCE_CAP = "instance_cap"  # the reason of a heartbeat that is dropped because there are too many nginx instances


INTERNAL = "internal"  # the reason of a datagram or of rows that were lost by a bug of ours


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one datagram. ``rows``: the number of rows applied, or lost if it was dropped. A heartbeat has a
    ``reason`` if rows of its gauges were refused. ``error``: the bug that dropped the datagram.
    """

    result: Result
    reason: str | None = None
    sender: bytes | None = None
    rows: int = 0
    lost_state: bool = False
    error: Exception | None = None

    @property
    def answer(self) -> bool:
        """True if the drain has an answer for the sender of this datagram."""
        return self.sender is not None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A batch that both marks will pass. ``body`` and ``families`` are empty if it was dropped.

    ``body`` is the msgpack from which ``families`` was read; the journal keeps it. ``now`` is the time of its arrival.
    """

    sender: bytes
    birth_ms: int
    sequence: int
    body: bytes
    families: tuple[FamilyBatch, ...]
    now: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A sender that said bye at ``now``."""

    sender: bytes
    now: float


@dataclass(frozen=True, slots=True)
class Reply:
    verdict: Verdict
    reason: Reason
    header: Header


@dataclass(frozen=True, slots=True)
class Drain:
    """The result of one drain of the socket: the batches and byes to make safe, and the answers.

    ``prompt``: (sender, answer) pairs to send at once. ``replies``: the answers that wait until the drain is safe.
    ``waiting``: the senders of these.
    """

    accepted: tuple[Accepted, ...]
    ended: tuple[Ended, ...]
    prompt: tuple[tuple[bytes, bytes], ...]
    replies: tuple[Reply, ...]

    @property
    def waiting(self) -> list[bytes]:
        return [reply.header.sender for reply in self.replies]


@dataclass(frozen=True, slots=True)
class Settled:
    """A drain that is in the table: a (sender, answer) pair for each sender that waited, and the failed merges."""

    answers: tuple[tuple[bytes, bytes], ...]
    failures: tuple[Failure, ...]
