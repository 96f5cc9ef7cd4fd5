"""Coverage: the share of the requests that nginx began and finished for which our hook ran.

A location whose own ``log_by_lua`` replaces ours causes no error anywhere; here it shows. Two counters of one master
are compared over a window: main requests whose hook ran, and nginx's own requests less those still in flight.

Rules:
- A window has samples of one master only: another master's counters begin at 0. Each instance of nginx has a window of
  its own, for as long as its workers are heard of.
- While a master's workers have two names (a reload changed the name, and the old workers are about to end) there is no
  sample: nginx counts for both, the hook for each.
- Both counters of a sample are of the same second. nginx's counter comes with a heartbeat, which may be seconds old;
  the hook's comes with the rows of each second. An old heartbeat makes no sample.
- The ratio is absent while the window is shorter than WINDOW_SECONDS or has fewer than LEAST_REQUESTS.
- ``now`` is seconds of a monotonic clock.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.page import instances, workers
from resty_metrics.shapes.shape import FamilyKey
from resty_metrics.table.table import Table

ENDED = "resty_metrics_requests_ended_total"
FRESH_SECONDS = 1.1  # a little more than a tick
WINDOW_SECONDS = 300.0
SAMPLE_SECONDS = 10.0
LEAST_REQUESTS = 100
_SAMPLES = int(2 * WINDOW_SECONDS / SAMPLE_SECONDS)


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of one moment. ``ended``: the hook's; ``requests``: nginx's; ``in_flight``: reading + writing."""

    now: float
    ended: float
    requests: float
    in_flight: float


class Window:
    """A window of samples of the newest master of one instance."""

    def __init__(self) -> None:
        self._master: str | None = None
        self._created: int | None = None
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES)

    def clear(self) -> None:
        """Begin anew: the hook's counter has gone."""
        self._samples.clear()

    def keep(self, master: str, sample: Sample, created: int | None = None) -> None:
        """Keep a sample of a master if it is time for one.

        ``created`` is the creation number of the hook's counter, None while it has none: after its family has given way
        the counter begins at 0, and may have passed its old value before the next sample.
        """
        if master != self._master or (created is not None and self._created not in (None, created)):
            self._master = master
            self._samples.clear()
        self._created = created
        last = self._samples[-1] if self._samples else None
        if last is not None and sample.now - last.now < SAMPLE_SECONDS:
            return
        if last is not None and sample.ended < last.ended:
            self._samples.clear()
        self._samples.append(sample)

    def ratio(self) -> float | None:
        """Return ended requests over begun and finished ones; None where the ratio is not known.

        The window is the youngest that is long enough.
        """
        if not self._samples:
            return None
        last = self._samples[-1]
        first = next((sample for sample in reversed(self._samples) if last.now - sample.now >= WINDOW_SECONDS), None)
        if first is None:
            return None
        begun = last.requests - first.requests
        finished = begun - (last.in_flight - first.in_flight)
        if begun < LEAST_REQUESTS or finished <= 0:
            return None
        return (last.ended - first.ended) / finished


class Coverage:
    """A window for each instance of nginx, by name."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def observe(self, beats: Iterable[LiveHeartbeat], table: Table, now: float) -> None:
        """Keep a sample of each instance, if it is time for one and its workers report both counters."""
        living = instances.by_instance(beat for beat in beats if not beat.held)
        self._windows = {name: self._windows.get(name) or Window() for name in living}
        masters = Counter(master for own_beats in living.values() for master in _masters(own_beats))
        for name, own_beats in living.items():
            if all(masters[master] == 1 for master in _masters(own_beats)):
                _observe(
                    self._windows[name],
                    [beat for beat in own_beats if now - beat.last_seen <= FRESH_SECONDS],
                    table,
                    now,
                )

    def ratios(self) -> dict[str, float]:
        """Return the ratio of each instance for which it is known."""
        ratios = ((name, window.ratio()) for name, window in self._windows.items())
        return {name: ratio for name, ratio in ratios if ratio is not None}


def _masters(beats: Iterable[LiveHeartbeat]) -> set[str]:
    return {workers.master_label(beat.heartbeat.master) for beat in beats if beat.heartbeat.master is not None}


def _observe(window: Window, fresh: list[LiveHeartbeat], table: Table, now: float) -> None:
    master, status = workers.newest_master(fresh), workers.stub_status(fresh)
    if master is None or status is None:
        return
    family = table.families.get(FamilyKey(ENDED, instance=fresh[0].heartbeat.instance))
    if family is None:
        window.clear()
        return
    row = next((row for row in family.rows if row.labels == (master,)), None)
    ended, created = (0, None) if row is None else (row.numbers[0], row.created)
    window.keep(master, Sample(now, ended, status.requests, status.reading + status.writing), created)
