"""What a heartbeat says: absolute values of a worker and of the nginx it belongs to.

Rule: what a worker did not say is None, at every level; a number that is not known is absent from the page, never 0.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Master:
    """The nginx master a worker belongs to; ``birth`` in clock ticks since boot."""

    pid: int | None = None
    birth: int | None = None


@dataclass(frozen=True, slots=True)
class NginxCounters:
    """nginx's own ``ngx_stat_*``, per master."""

    accepted: int | None = None
    handled: int | None = None
    requests: int | None = None
    active: int | None = None
    reading: int | None = None
    writing: int | None = None
    waiting: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerGauges:
    """What a worker says of itself."""

    lua_memory_bytes: float | None = None
    unacked_batches: float | None = None
    unacked_bytes: float | None = None
    timers_pending: float | None = None
    timers_running: float | None = None
    rows: float | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker's absolute values; what it did not say is None."""

    module: str | None = None
    worker: int | None = None
    workers: int | None = None
    pid: int | None = None
    exiting: bool | None = None
    master: Master | None = None
    nginx: NginxCounters | None = None
    gauges: WorkerGauges | None = None
