"""Facts of this moment for the live page, as values. An unknown value is None."""

from collections.abc import Sequence
from dataclasses import dataclass

from resty_metrics.health.facts import Journal, SourceState
from resty_metrics.health.troubles import Kind, Trouble


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker of nginx, from its newest heartbeat ``heartbeat_age`` seconds ago.

    ``nginx``: the name of its nginx, "" if it has none; sizes in bytes.
    """

    nginx: str
    id: int | None
    pid: int | None
    uptime: float | None
    heartbeat_age: float
    unacked: float | None
    memory: float | None
    exiting: bool


@dataclass(frozen=True, slots=True)
class Nginx:
    """An nginx; ``name`` is "" if it has none. ``alive``: a worker's heartbeat is alive.

    ``coverage``: a share of 1; ``configured_ago``: seconds.
    """

    name: str
    alive: bool
    workers_expected: int | None = None
    workers_seen: int = 0
    active: int | None = None
    reading: int | None = None
    writing: int | None = None
    waiting: int | None = None
    coverage: float | None = None
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
    run; ``datagram_age``: seconds since a worker last sent anything; ``socket``: its path.
    """

    now: float
    clock: str
    version: str
    telemetry_path: str
    doctor: str
    watch: str
    uptime: float
    socket: str
    datagram_age: float | None
    sources: Sequence[SourceState]
    journal: Journal
    workers: Sequence[Worker]
    nginx: Sequence[Nginx]
    rows: int
    top: Top
    troubles: Sequence[Trouble] = ()

    def has(self, kind: Kind, nginx: str = "") -> bool:
        """Return whether a trouble of this kind holds for this nginx."""
        return any(trouble.kind is kind and trouble.nginx == nginx for trouble in self.troubles)
