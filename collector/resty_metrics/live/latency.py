"""Quantiles of durations from buckets, as Prometheus's histogram_quantile makes them.

Rule: of buckets with different bounds each count goes to the bucket of the common bounds that ends where its own ends:
a quantile never claims that a request was faster than it was.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from resty_metrics.live.totals import Bounds
from resty_metrics.live.words import duration


def join(parts: Iterable[tuple[Bounds, Sequence[float]]]) -> tuple[Bounds, Sequence[float]]:
    """Join buckets of several bounds into buckets of all those bounds."""
    known: dict[Bounds, list[float]] = {}
    for bounds, counts in parts:
        before = known.get(bounds)
        known[bounds] = (
            [*counts] if before is None else [one + other for one, other in zip(before, counts, strict=True)]
        )
    if len(known) == 1:
        return next(iter(known.items()))
    common = tuple(sorted({bound for bounds in known for bound in bounds}))
    joined = [0.0] * (len(common) + 1)
    for bounds, counts in known.items():
        for bound, count in zip(bounds, counts, strict=False):
            joined[bisect_left(common, bound)] += count
        joined[-1] += counts[-1]
    return common, joined


def in_words(seconds: float | None, bounds: Bounds) -> str:
    """Write a quantile as exactly as the bounds allow: only "≤" or "≥" is known outside of the first and the last."""
    if seconds is not None and bounds and seconds <= bounds[0]:
        return f"≤ {duration(bounds[0])}"
    if seconds is not None and bounds and seconds >= bounds[-1]:
        return f"≥ {duration(bounds[-1])}"
    return duration(seconds)


def quantile(share: float, bounds: Bounds, counts: Sequence[float]) -> float | None:
    """Return the seconds that ``share`` of the requests took at most, interpolated in a bucket; None without requests.

    Above the last bound it is that bound: more is not known.
    """
    cumulative = list(accumulate(counts))
    if not bounds or not cumulative or cumulative[-1] <= 0:
        return None
    rank = share * cumulative[-1]
    at = bisect_left(cumulative, rank)
    if at >= len(bounds):
        return bounds[-1]
    low = bounds[at - 1] if at else 0.0
    below = cumulative[at - 1] if at else 0.0
    inside = counts[at]
    return bounds[at] if inside <= 0 else low + (bounds[at] - low) * (rank - below) / inside
