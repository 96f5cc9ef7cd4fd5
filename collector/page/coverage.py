"""Coverage: of the requests that nginx began and finished, how many our hook saw.

A location whose own ``log_by_lua`` replaces ours makes no error anywhere; here it shows. Two counters of one master are
compared over a window: main requests whose hook ran, and nginx's own requests less those still in flight.

Rules:
- Of one master only: another master's counters begin anew.
- Absent while the window is shorter than WINDOW_SECONDS or has fewer than LEAST_REQUESTS.
- ``now`` is seconds of a monotonic clock.
"""

from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 300.0
SAMPLE_SECONDS = 10.0
LEAST_REQUESTS = 100
_SAMPLES = int(2 * WINDOW_SECONDS / SAMPLE_SECONDS)


@dataclass(frozen=True, slots=True)
class Sample:
    """``ended``: the hook's counter; ``requests``: nginx's; ``in_flight``: reading + writing."""

    now: float
    ended: float
    requests: float
    in_flight: float


class Coverage:
    """A window of samples of the newest master."""

    def __init__(self) -> None:
        self._master: str | None = None
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES)

    def observe(self, master: str, sample: Sample) -> None:
        """Keep a sample if it is time for one."""
        if master != self._master:
            self._master = master
            self._samples.clear()
        if not self._samples or sample.now - self._samples[-1].now >= SAMPLE_SECONDS:
            self._samples.append(sample)

    def ratio(self) -> float | None:
        """Ended over begun and finished, across the youngest window that is long enough; None where it is not known."""
        if not self._samples:
            return None
        last = self._samples[-1]
        first = next((one for one in reversed(self._samples) if last.now - one.now >= WINDOW_SECONDS), None)
        if first is None:
            return None
        begun = last.requests - first.requests
        finished = begun - (last.in_flight - first.in_flight)
        if begun < LEAST_REQUESTS or finished <= 0:
            return None
        return (last.ended - first.ended) / finished
