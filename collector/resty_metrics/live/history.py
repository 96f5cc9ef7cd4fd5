"""The last minutes by server, in memory: requests, errors and durations of each interval between two samples.

Rules:
- Bounded: POINTS intervals, and of each the MAX_SERVERS servers that were busiest; ``ALL`` is the sum of all of them.
- A server that is not among them takes the place of the quietest as soon as it is twice as busy; one change a sample.
- An interval in which numbers were taken back or moved (a family deleted, rows that expired or were evicted into
  ``other``, an nginx that gave way to others) is left out: no number is better than a wrong one. So are durations
  across a change of buckets.
- A server that is new had no request before: its rate is over the window that its sum has, from the start on.
- ``now`` is seconds of a monotonic clock.
"""

from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from resty_metrics.live.site import LEAST_REQUESTS, MEDIAN, tail
from resty_metrics.live.totals import Totals
from resty_metrics.shapes.quantile import Bounds, Buckets, Quantile, join, quantile

ALL = ""  # no label value is empty
SAMPLE_SECONDS = 5.0
BUSY_SECONDS = 60.0  # over which servers are compared
SPAN_SECONDS = 900.0
POINTS = int(SPAN_SECONDS / SAMPLE_SECONDS)
MAX_SERVERS = 24
QUANTILE_SECONDS = 60.0  # at most, for an interval's quantiles


@dataclass(frozen=True, slots=True)
class Point:
    """An interval of ``seconds`` that ended at ``end``. ``buckets`` None: not known.

    p50 and p99 are those of the last LEAST_REQUESTS requests or more, as far as QUANTILE_SECONDS have them; p99 None:
    they have fewer.
    """

    end: float
    seconds: float
    requests: float
    errors: float
    buckets: tuple[Bounds, "array[float]"] | None
    p50: Quantile | None
    p99: Quantile | None


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of a window's points: requests and errors in ``seconds``. p99 None: they are too few."""

    requests: float
    errors: float
    seconds: float
    p50: Quantile | None
    p99: Quantile | None

    @property
    def rate(self) -> float:
        """Return the requests per second."""
        return self.requests / self.seconds

    @property
    def share(self) -> float | None:
        """Return the share of errors; None without a request."""
        return self.errors / self.requests if self.requests else None


def summarize(points: Iterable[Point], since: float) -> Summary | None:
    """Summarize the points that ended after ``since``; None if there are none."""
    chosen = [point for point in points if point.end > since]
    if not chosen:
        return None
    buckets = join([point.buckets for point in chosen if point.buckets is not None])
    return Summary(
        sum(point.requests for point in chosen),
        sum(point.errors for point in chosen),
        sum(point.seconds for point in chosen),
        quantile(MEDIAN, *buckets),
        tail(buckets),
    )


@dataclass(slots=True)
class Series:
    """One server's points, oldest first."""

    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS))

    def busy(self, since: float) -> float:
        """Count the requests of the points that ended after ``since``."""
        return sum(point.requests for point in self.points if point.end > since)


class History:
    """The series of the busiest servers. ``servers`` is the number of all servers, those without a series too."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.servers = 0
        self.last: float | None = None
        self._totals: Mapping[str, Totals] = {}
        self._moved: object = None

    def observe(self, totals: Mapping[str, Totals], moved: object, now: float) -> None:
        """Take a sample. ``moved`` differs from that of the sample before if rows were moved between servers."""
        totals = {**totals, ALL: _sum(totals.values())}
        if self.last is not None and now > self.last:
            if moved == self._moved:
                self._extend(totals, now, now - self.last)
            self._forget(now)
        self.servers = len(totals) - 1
        self.last, self._totals, self._moved = now, totals, moved

    def _extend(self, totals: Mapping[str, Totals], now: float, seconds: float) -> None:
        nothing = Totals()
        grown = {name: total.requests - self._totals.get(name, nothing).requests for name, total in totals.items()}
        self._choose(grown, now)
        for name, series in self.series.items():
            before, after = self._totals.get(name, nothing), totals.get(name, nothing)
            point = _point(before, after, now, seconds, reversed(series.points))
            if point is not None:
                series.points.append(point)

    def _choose(self, grown: Mapping[str, float], now: float) -> None:
        """Give series to the busiest."""
        self.series.setdefault(ALL, Series())
        waiting = sorted((name for name in grown if name not in self.series), key=lambda name: -grown[name])
        room = MAX_SERVERS + 1 - len(self.series)
        for name in waiting[:room]:
            self.series[name] = self._new(name)
        for name in waiting[room : room + 1]:
            since = now - BUSY_SECONDS
            quietest = min(
                (server for server in self.series if server != ALL), key=lambda server: self.series[server].busy(since)
            )
            minute = self.series[quietest]
            if grown[name] > 2 * max(minute.busy(since) * SAMPLE_SECONDS / BUSY_SECONDS, grown.get(quietest, 0)):
                del self.series[quietest]
                self.series[name] = self._new(name)

    def _new(self, name: str) -> Series:
        """Start a series of a server.

        A server that has no row yet had no request in the earlier intervals, so it gets points of 0 there.
        """
        if name in self._totals:
            return Series()
        before = self.series[ALL].points
        return Series(
            deque((Point(point.end, point.seconds, 0, 0, None, None, None) for point in before), maxlen=POINTS)
        )

    def _forget(self, now: float) -> None:
        for series in self.series.values():
            while series.points and now - series.points[0].end > SPAN_SECONDS:
                series.points.popleft()


def _sum(all_totals: Iterable[Totals]) -> Totals:
    total = Totals()
    parts: dict[Bounds, list[Sequence[float]]] = {}
    for totals in all_totals:
        total.requests += totals.requests
        total.errors += totals.errors
        for bounds, counts in totals.buckets.items():
            parts.setdefault(bounds, []).append(counts)
    total.buckets = {bounds: [*map(sum, zip(*counts, strict=True))] for bounds, counts in parts.items()}
    return total


def _point(before: Totals, after: Totals, now: float, seconds: float, earlier: Iterable[Point]) -> Point | None:
    """Return the point of an interval; None if numbers were taken back. ``earlier``: points before, newest first."""
    requests, errors = after.requests - before.requests, after.errors - before.errors
    if requests < 0 or errors < 0:
        return None
    buckets = _grown(before, after)
    if buckets is None:
        return Point(now, seconds, requests, errors, None, None, None)
    bounds, counts = _enough(buckets, earlier, now)
    p50 = quantile(MEDIAN, bounds, counts)
    p99 = tail((bounds, counts))
    return Point(now, seconds, requests, errors, (buckets[0], array("d", buckets[1])), p50, p99)


def _enough(newest: Buckets, earlier: Iterable[Point], now: float) -> Buckets:
    """Return the durations of LEAST_REQUESTS requests, or of all those of the last QUANTILE_SECONDS if they are fewer.

    Durations before an interval in which they are not known do not count.
    """
    parts, count = [newest], sum(newest[1])
    for point in earlier:
        unknown = point.buckets is None and point.requests > 0
        if count >= LEAST_REQUESTS or now - point.end >= QUANTILE_SECONDS or unknown:
            break
        if point.buckets is not None:
            parts.append(point.buckets)
            count += sum(point.buckets[1])
    return join(parts)


def _grown(before: Totals, after: Totals) -> Buckets | None:
    """Return the durations of an interval; None where buckets were changed or taken back, or there were none."""
    if not before.buckets.keys() <= after.buckets.keys():
        return None
    parts: list[Buckets] = []
    for bounds, counts in after.buckets.items():
        old = before.buckets.get(bounds)
        grown = counts if old is None else [new - was for new, was in zip(counts, old, strict=True)]
        if min(grown) < 0:
            return None
        if any(grown):
            parts.append((bounds, grown))
    return join(parts) if parts else None
