"""Growth between two pages, and the buckets of durations in it.

Rules:
- A counter that fell began again at 0, as in Prometheus; a series that did not exist before was 0.
- Series that did not grow are absent, so that the work depends on the traffic, not on the page.
"""

import math
from collections.abc import Iterable, Mapping

from resty_metrics.commands.top.page import Page, Series, bucket
from resty_metrics.shapes.quantile import Buckets

# By name, then by the text of the labels: increases, all above 0.
Change = Mapping[str, Series]

_COUNTERS = ("_total", "_bucket")


def between(before: Page, after: Page) -> Change:
    """Return the increases of all counters and buckets."""
    increases = {}
    for name, series in after.samples.items():
        if name.endswith(_COUNTERS):
            grown = _grown(before.series(name), series)
            if grown:
                increases[name] = grown
    return increases


def _grown(before: Series, after: Series) -> Series:
    grown = {}
    for text, value in after.items():
        old = before.get(text, 0.0)
        if value > old:
            grown[text] = value - old
        elif 0 < value < old:
            grown[text] = value
    return grown


def distributions(grown: Series, labels: Iterable[str]) -> dict[str, Buckets]:
    """Return the buckets of the rows that grew, by the labels of a row without ``le``.

    ``grown``: increases of cumulative buckets; ``labels``: those of all buckets, also of those that did not grow.
    """
    increases: dict[str, dict[float, float]] = {}
    for text, value in grown.items():
        row, bound = bucket(text)
        increases.setdefault(row, {})[bound] = value
    bounds: dict[str, list[float]] = {row: [] for row in increases}
    for text in labels:
        row, bound = bucket(text)
        if row in bounds:
            bounds[row].append(bound)
    return {row: _apart(sorted(bounds[row]), increases[row]) for row in bounds}


def _apart(bounds: Iterable[float], increases: Mapping[float, float]) -> Buckets:
    """Return buckets that are not cumulative. A bucket that grew less than one below it began anew."""
    finite, counts, below = [], [], 0.0
    for bound in bounds:
        value = max(below, increases.get(bound, 0.0))
        counts.append(value - below)
        below = value
        if not math.isinf(bound):
            finite.append(bound)
    return tuple(finite), counts
