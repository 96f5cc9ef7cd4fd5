"""The requests that nginx finished, beside those that its log hook counted, over the last minutes.

Rules:
- Requests in flight are no finished ones: a site of long polls has nothing to count.
- A window has samples of one master, and of one origin (heartbeats, or a fetched stub_status): counters of another one
  begin at 0. Counters that fell begin a new window too.
- ``now`` is seconds of a monotonic clock.
"""

import math
from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 120.0
LEAST_SECONDS = 25.0  # between the first and the last sample
STEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of one moment.

    ``begun``: of nginx itself, ``in_flight`` of them; ``counted``: of the log hook, also where it makes no row;
    ``arrived``: when a row of requests last arrived.
    """

    origin: str
    at: float
    begun: float
    in_flight: float
    counted: float
    arrived: float = -math.inf

    @property
    def finished(self) -> float:
        return self.begun - self.in_flight


@dataclass(frozen=True, slots=True)
class Arriving:
    """Requests per second of a window of ``seconds``: finished by nginx, counted by the log hook.

    ``rows``: a row of them arrived.
    """

    served: float
    counted: float
    seconds: float
    rows: bool = False


class Arrivals:
    """The window of one nginx."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def keep(self, sample: Sample) -> None:
        """Keep a sample; it replaces a last one that is younger than a step."""
        samples = self._samples
        last = samples[-1] if samples else None
        if last is not None and (
            sample.origin != last.origin or sample.begun < last.begun or sample.counted < last.counted
        ):
            samples.clear()
        if len(samples) > 1 and sample.at - samples[-2].at < STEP_SECONDS:
            samples.pop()
        samples.append(sample)
        while len(samples) > 1 and sample.at - samples[0].at > WINDOW_SECONDS:
            samples.popleft()

    def rates(self, now: float) -> Arriving | None:
        """Return the rates; None where the window is too short, or its last sample too old."""
        if not self._samples:
            return None
        first, last = self._samples[0], self._samples[-1]
        seconds = last.at - first.at
        if seconds < LEAST_SECONDS or now - last.at > WINDOW_SECONDS:
            return None
        served, counted = last.finished - first.finished, last.counted - first.counted
        return Arriving(served / seconds, counted / seconds, seconds, last.arrived >= first.at)
