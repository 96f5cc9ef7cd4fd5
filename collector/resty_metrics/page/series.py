"""The metric that says how many series the page has, by family.

Rules:
- The sum over all families is the number of samples on the page, those of this metric included.
- A series of this metric has its cost too. So the families that nobody chooses have one value together: those of
  ``stub_status``, of ``vts``, and of what the collector and the workers report of themselves (``resty_metrics``).
- The families of rows and gauges know their number of samples; only the lines of others are counted.
- The metric holds its place while conflicts are resolved, before its lines are known.
"""

from collections.abc import Sequence
from dataclasses import replace

from resty_metrics.exposition.text import MetricFamily, sample
from resty_metrics.page.instances import labels_of
from resty_metrics.process.steps import Steps
from resty_metrics.sources import stub_status

SERIES = "resty_metrics_series"
_OWN, _VTS, _STUB_STATUS = "resty_metrics", "vts", "stub_status"
_PREFIXES = {"resty_metrics_": _OWN, "process_": _OWN, "nginx_vts_": _VTS}
_TEXT = 'Samples of each metric on this page; "vts", "stub_status" and "resty_metrics" stand for all of theirs.'
STEP_CHUNKS = 2_000

PLACE = MetricFamily(SERIES, "gauge", _TEXT, [sample(SERIES, {"family": _OWN}, 0)])

_Key = tuple[str, str]  # the nginx, and the family


def in_steps(page: Sequence[MetricFamily]) -> Steps[list[MetricFamily]]:
    """Return the page with the metric in its place, if it has that place."""
    if not any(family is PLACE for family in page):
        return list(page)
    counts: dict[_Key, int] = {}
    work = 0
    for family in (family for family in page if family is not PLACE):
        samples, chunks = _samples(family)
        if samples:
            key = _key(family)
            counts[key] = counts.get(key, 0) + samples
        work += chunks
        if work >= STEP_CHUNKS:
            yield
            work = 0
    own = ("", _OWN)
    counts[own] = counts.get(own, 0) + len(counts.keys() | {own})
    lines = yield from _lines(counts)
    shown = replace(PLACE, lines=lines, samples=len(lines))
    return [shown if family is PLACE else family for family in page]


def _samples(family: MetricFamily) -> tuple[int, int]:
    """Return the number of samples of a family, and the number of chunks that were looked at for it."""
    if family.samples is not None:
        return family.samples, 1
    return sum(chunk.count(b"\n") for chunk in family.lines), len(family.lines)


def _lines(counts: dict[_Key, int]) -> Steps[list[bytes]]:
    lines = []
    for (instance, name), count in counts.items():
        lines.append(sample(SERIES, {**labels_of(instance), "family": name}, count))
        if len(lines) % STEP_CHUNKS == 0:
            yield
    return lines


def _key(family: MetricFamily) -> _Key:
    instance = family.instance or ""
    if family.custom:
        return instance, family.name
    if family.name in stub_status.NAMES:
        return instance, _STUB_STATUS
    groups = (group for prefix, group in _PREFIXES.items() if family.name.startswith(prefix))
    return instance, next(groups, family.name)
