"""Growth between two pages, and the distributions in it.

Rules:
- A counter that fell began again at 0, as in Prometheus; a series that did not exist before was 0.
- Series that did not grow are absent, so that the work depends on the traffic, not on the page.
"""

import math
from collections.abc import Iterable, Mapping

from resty_metrics.commands.top.page import Page, Series, bucket

# By name, then by the text of the labels: increases, all above 0.
Change = Mapping[str, Series]
# Observations by the upper bound of their bucket; not cumulative.
Distribution = dict[float, float]

_COUNTERS = ("_total", "_bucket")


def between(before: Page, after: Page) -> Change:
    """Return the increases of all counters and buckets."""
    found = {}
    for name, series in after.samples.items():
        if name.endswith(_COUNTERS):
            grown = _grown(before.series(name), series)
            if grown:
                found[name] = grown
    return found


def _grown(before: Series, after: Series) -> Series:
    grown = {}
    for text, value in after.items():
        old = before.get(text, 0.0)
        if value > old:
            grown[text] = value - old
        elif 0 < value < old:
            grown[text] = value
    return grown


def distributions(grown: Series) -> dict[str, Distribution]:
    """Return distributions by the labels of a row without ``le``. ``grown``: increases of cumulative buckets."""
    cumulative: dict[str, list[tuple[float, float]]] = {}
    for text, value in grown.items():
        row, bound = bucket(text)
        cumulative.setdefault(row, []).append((bound, value))
    return {row: _apart(sorted(pairs)) for row, pairs in cumulative.items()}


def _apart(pairs: Iterable[tuple[float, float]]) -> Distribution:
    found, below = {}, 0.0
    for bound, value in pairs:
        if value > below:
            found[bound] = value - below
            below = value
    return found


def add(total: Distribution, more: Mapping[float, float]) -> None:
    """Add observations of a row.

    Rows may have buckets of their own: an observation stays below the bound it was counted under.
    """
    for bound, count in more.items():
        total[bound] = total.get(bound, 0.0) + count


def quantile(wanted: float, found: Mapping[float, float], bounds: Iterable[float]) -> float | None:
    """Return a quantile as Prometheus's histogram_quantile does; None without observations.

    It is linear within a bucket, and the last finite bound above that. ``wanted``: 0 to 1; ``bounds``: those of all
    buckets, also of empty ones.
    """
    rank, below, seen = wanted * sum(found.values()), 0.0, 0.0
    if not found:
        return None
    for bound in sorted({*bounds, *found}):
        count = found.get(bound, 0.0)
        if count and seen + count >= rank:
            return below if math.isinf(bound) else below + (bound - below) * (rank - seen) / count
        seen += count
        below = below if math.isinf(bound) else bound
    return below
