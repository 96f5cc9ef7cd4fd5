"""Quantiles of durations from buckets: the only place where they are computed, for the live page and for top.

Rules:
- A quantile is interpolated in its bucket, as Prometheus's histogram_quantile does.
- In the lowest bucket no more is known than that it is at most the bucket's bound, and above the last bound no more
  than that it is at least that bound. Then the quantile is the bound, with a sign.
- Of buckets with different bounds each count goes to the bucket of the common bounds that ends where its own ends: a
  quantile never claims that a request was faster than it was.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import add
from typing import Literal

Bounds = tuple[float, ...]  # seconds, ascending; a bucket more is above the last
Buckets = tuple[Bounds, Sequence[float]]  # the counts are not cumulative
Sign = Literal["", "≤", "≥"]


class Quantile(float):
    """A quantile in seconds. ``sign``: the true one is at most (``≤``) or at least (``≥``) that; empty: about that."""

    __slots__ = ("sign",)
    sign: Sign

    def __new__(cls, seconds: float, sign: Sign = "") -> "Quantile":
        quantile = super().__new__(cls, seconds)
        quantile.sign = sign
        return quantile


def join(parts: Iterable[Buckets]) -> Buckets:
    """Join buckets of several bounds into buckets of all those bounds."""
    known: dict[Bounds, list[float]] = {}
    for bounds, counts in parts:
        before = known.get(bounds)
        known[bounds] = [*counts] if before is None else [*map(add, before, counts)]
    if len(known) == 1:
        return next(iter(known.items()))
    common = tuple(sorted({bound for bounds in known for bound in bounds}))
    joined = [0.0] * (len(common) + 1)
    for bounds, counts in known.items():
        for bound, count in zip(bounds, counts, strict=False):
            joined[bisect_left(common, bound)] += count
        joined[-1] += counts[-1]
    return common, joined


def quantile(share: float, bounds: Bounds, counts: Sequence[float]) -> Quantile | None:
    """Return the time that ``share`` of the requests took at most; None without requests."""
    cumulative = list(accumulate(counts))
    if not bounds or not cumulative or cumulative[-1] <= 0:
        return None
    rank = share * cumulative[-1]
    at = bisect_left(cumulative, rank)
    if at >= len(bounds):
        return Quantile(bounds[-1], "≥")
    if at == 0:
        return Quantile(bounds[0], "≤")
    low, below, inside = bounds[at - 1], cumulative[at - 1], counts[at]
    return Quantile(bounds[at] if inside <= 0 else low + (bounds[at] - low) * (rank - below) / inside)
