"""The facts that the judge decides by: plain values of one moment. An unknown value is None, or is not there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from resty_metrics.kernel.access import Obstacle

Counts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Socket:
    """The state of the socket. ``faults``: in words; ``obstacle``: it stops every user that may send."""

    path: str
    up: bool = True
    contended: bool = False
    standing_by: bool = False
    faults: Sequence[str] = ()
    obstacle: Obstacle | None = None


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


@dataclass(frozen=True, slots=True)
class NginxFacts:
    """The facts of one nginx. ``missing``: workers that fell silent without an end.

    ``uncounted``: requests per second that nginx finished lately and whose log hook did not run, 0 if a row of requests
    arrived meanwhile; None: not known. ``uncounted_seconds``: the time that these rates are of. ``coverage`` and
    ``spool_free``: shares of 1. ``refused``: the datagrams of one of its known workers are refused now; None: no worker
    of it is known, so those that are refused may be its workers.
    """

    name: str = ""
    missing: int = 0
    uncounted: float | None = None
    uncounted_seconds: float = 0.0
    coverage: float | None = None
    spool_free: float | None = None
    refused: bool | None = None


@dataclass(frozen=True, slots=True)
class Recent:
    """The events of the last minutes, each with its count.

    ``refused``, ``lost``, ``gauges_cut``: by reason; ``uids``: users that were refused, ``names``: theirs, as far as
    they are known; ``rebinds``: by fault; ``overflow``: by nginx and family; ``worker_errors``: by nginx and reason.
    ``accepted``: a worker's datagram was accepted in the last seconds.
    """

    accepted: bool = True
    refused: Counts = field(default_factory=dict)
    uids: Sequence[int] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    lost: Counts = field(default_factory=dict)
    rebinds: Counts = field(default_factory=dict)
    gauges_cut: Counts = field(default_factory=dict)
    overflow: Mapping[tuple[str, str], float] = field(default_factory=dict)
    worker_errors: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A configuration file whose last version was refused.

    ``path``: empty if the problem is in no file; ``web``: it is a web configuration; ``watched``: the collector reads
    it again by itself.
    """

    path: str
    web: bool = False
    watched: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one moment.

    ``full``: for each family at its cap, the number of values of each label, greatest first; ``misconfigured``: files
    whose last version was refused; ``withheld``: nginx and family of each family that is not on the page.
    """

    socket: Socket
    journal: Journal = Journal(None, None)
    sources: Sequence[SourceState] = ()
    nginx: Sequence[NginxFacts] = ()
    recent: Recent = Recent()
    full: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    misconfigured: Sequence[RefusedFile] = ()
    withheld: Sequence[tuple[str, str]] = ()
    pid: int | None = None
