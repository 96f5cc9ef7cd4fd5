"""Facts of this moment for the live page, as values. An unknown value is None."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resty_metrics.advice.warnings import SLOW_COMMIT_SECONDS


@dataclass(frozen=True, slots=True)
class Socket:
    """The state of the socket. ``faults``: its faults in words, as in ``/-/ready``."""

    path: str
    up: bool
    contended: bool
    standing_by: bool
    faults: Sequence[str]


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source that is fetched. ``reason`` None: it was read; ``words`` explain a failure.

    ``seconds``: the duration of the fetch, None until the source has answered.
    """

    kind: str
    name: str | None
    address: str
    reason: str | None
    words: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Journal:
    """The state of the journal. ``directory`` None: no journal is configured. ``reason`` None: it is written.

    ``waits``: for how many seconds the oldest record has been waiting to be written.
    """

    directory: str | None
    reason: str | None
    waits: float = 0.0

    @property
    def stalls(self) -> bool:
        return self.reason is None and self.waits >= SLOW_COMMIT_SECONDS


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker of nginx, from its newest heartbeat ``heard`` seconds ago.

    ``nginx``: the name of its nginx, "" if it has none; sizes in bytes.
    """

    nginx: str
    id: int | None
    pid: int | None
    uptime: float | None
    heard: float
    unacked: float | None
    memory: float | None
    exiting: bool


@dataclass(frozen=True, slots=True)
class Nginx:
    """An nginx; ``name`` is "" if it has none. ``heard``: a worker's heartbeat is alive.

    ``spool_free`` and ``coverage``: shares of 1; ``configured_ago``: seconds.
    """

    name: str
    heard: bool
    workers_expected: int | None = None
    workers_seen: int = 0
    active: int | None = None
    reading: int | None = None
    writing: int | None = None
    waiting: int | None = None
    coverage: float | None = None
    spool_free: float | None = None
    generation: int | None = None
    configured_ago: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Labels of a row of requests as (name, value), and its requests per second."""

    labels: Sequence[tuple[str, str]]
    rate: float


@dataclass(frozen=True, slots=True)
class Top:
    """The busiest rows of the last ``seconds``, which None means are not known yet.

    ``looked_at`` of ``total`` rows were compared.
    """

    rows: Sequence[Row]
    seconds: float | None
    looked_at: int
    total: int


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one moment.

    ``now``: seconds of a monotonic clock; ``clock``: the wall clock in words; ``doctor`` and ``watch``: commands to
    run; ``heard``: seconds since a worker last sent anything; ``full``: for each family at its cap, the number of
    values of each label; ``misconfigured``: files whose last version was refused.
    """

    now: float
    clock: str
    version: str
    telemetry_path: str
    doctor: str
    watch: str
    uptime: float
    socket: Socket
    heard: float | None
    sources: Sequence[SourceState]
    journal: Journal
    workers: Sequence[Worker]
    nginx: Sequence[Nginx]
    rows: int
    top: Top
    full: Mapping[str, Sequence[tuple[str, int]]]
    misconfigured: Sequence[str] = ()

    @property
    def without_lua(self) -> bool:
        """Return whether Lua seems not to be in use: Lua has sent nothing yet, and another source can be read."""
        return self.heard is None and any(one.seconds is not None and one.reason is None for one in self.sources)
