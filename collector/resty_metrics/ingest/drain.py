"""A drain of the socket: what became of each datagram, and what is to be made safe and answered together."""

from dataclasses import dataclass
from typing import Literal

from resty_metrics.shapes.shape import FamilyBatch
from resty_metrics.table.table import Failure
from resty_metrics.wire.datagram import Header, Reason, Verdict

Result = Literal["applied", "duplicate", "out_of_order", "heartbeat", "bye", "probe", "held", "dropped", "unanswerable"]
INSTANCE_CAP = "instance_cap"  # reason of a heartbeat that is dropped: its nginx has one name too many


INTERNAL = "internal"  # the reason of what a bug of ours refused


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one datagram. ``rows``: applied, or lost if it was dropped. A heartbeat has a reason where rows of
    its gauges were refused. ``error``: the bug that dropped it.
    """

    result: Result
    reason: str | None = None
    sender: bytes | None = None
    rows: int = 0
    lost_state: bool = False
    error: Exception | None = None

    @property
    def answer(self) -> bool:
        """Whether the drain will have an answer for the sender of this datagram."""
        return self.sender is not None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A batch that both marks will pass. ``body`` and ``families`` are empty if it was dropped.

    ``body`` is the msgpack that ``families`` was read from: what a journal keeps. ``now`` is when it came.
    """

    sender: bytes
    birth_ms: int
    sequence: int
    body: bytes
    families: tuple[FamilyBatch, ...]
    now: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A sender that said bye, at ``now``."""

    sender: bytes
    now: float


@dataclass(frozen=True, slots=True)
class Reply:
    verdict: Verdict
    reason: Reason
    header: Header


@dataclass(frozen=True, slots=True)
class Drain:
    """All that one drain of the socket brought: what is to be made safe, and the answers.

    ``prompt``: (sender, answer) to be given at once; ``waiting``: the senders whose answer ``settle`` gives.
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
    """A drain that is in the table: an (sender, answer) for each sender that waited, and what could not be added."""

    answers: tuple[tuple[bytes, bytes], ...]
    failures: tuple[Failure, ...]
