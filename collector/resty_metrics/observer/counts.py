"""Counters of events over the last minutes: refusals, losses, rebinds, rows counted as ``other``, errors of workers.

Rules:
- Only growth since the collector began to look counts, so nothing from before a restart is a trouble again. What its
  start itself lost is an exception.
- Counts that grow all the time make a sample at most each ``step`` seconds; a window is no more exact than that. 4,096
  families at their cap make samples of 0.5 MB, so a long window has a long step.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Literal

from resty_metrics.endpoint.healing import Fault
from resty_metrics.ingest.intake import Intake
from resty_metrics.table.families import Family

SPAN_SECONDS = 600.0
STEP_SECONDS = 5.0

Kind = Literal["refused", "lost", "overflow", "rebind", "gauge_rows", "worker_errors", "uid"]
Counts = Mapping[tuple[Kind, str, str], float]  # by kind, nginx ("" where it concerns none), and reason or family

_REFUSING = ("held", "dropped", "unanswerable")
_NO_FAULT = "not_ready"  # while a collector starts or ends
_OF_WORKERS: Mapping[str, tuple[Kind, str]] = {  # counters of the workers, and their label
    "resty_metrics_worker_lost_rows_total": ("lost", "reason"),
    "resty_metrics_worker_overflow_total": ("overflow", "family"),
    "resty_metrics_worker_errors_total": ("worker_errors", "reason"),
}


class Growth:
    """The counts of the last ``span`` seconds, with samples ``step`` seconds apart."""

    def __init__(self, span: float = SPAN_SECONDS, step: float = STEP_SECONDS) -> None:
        self._span = span
        self._step = step
        self._samples: deque[tuple[float, Counts]] = deque()
        self._grown: dict[tuple[float, float], dict[Kind, dict[tuple[str, str], float]]] = {}

    def observe(self, counts: Counts, now: float) -> None:
        """Keep a sample; one that is like the last takes no room."""
        samples = self._samples
        self._grown.clear()
        if samples and counts == samples[-1][1]:
            pass
        elif len(samples) > 1 and now - samples[-2][0] < self._step:
            samples[-1] = (now, counts)
        else:
            samples.append((now, counts))
        while len(samples) > 1 and now - samples[1][0] > self._span:
            samples.popleft()

    def over(self, kind: Kind, seconds: float, now: float) -> dict[tuple[str, str], float]:
        """Return the growth of each count of a kind in the last ``seconds``, the greatest first, by nginx and name.

        Counts that did not grow are left out.
        """
        if not self._samples:
            return {}
        if (seconds, now) not in self._grown:
            self._grown[seconds, now] = self._grow(seconds, now)
        return self._grown[seconds, now].get(kind, {})

    def _grow(self, seconds: float, now: float) -> dict[Kind, dict[tuple[str, str], float]]:
        """Return the growth of the counts of all kinds: to look at each count once is enough."""
        before: Counts = self._samples[0][1]
        for at, counts in self._samples:
            if now - at < seconds:
                break
            before = counts
        last = self._samples[-1][1]
        pairs = ((key, count - before.get(key, 0)) for key, count in last.items())
        grown: dict[Kind, dict[tuple[str, str], float]] = {}
        for (kind, nginx, name), by in sorted((pair for pair in pairs if pair[1] > 0), key=lambda pair: -pair[1]):
            grown.setdefault(kind, {})[nginx, name] = by
        return grown


def counts_of(intake: Intake, rebinds: Mapping[Fault, int], oversized: int) -> Counts:
    """Return the counts of the collector's parts so far. Counts of 0 are left out."""
    counts: Counter[tuple[Kind, str, str]] = Counter()
    for (result, reason), count in intake.results.items():
        if result in _REFUSING and reason is not None and reason != _NO_FAULT:
            counts["refused", "", reason] += count
    for uid, count in intake.refused_uids.items():
        counts["uid", "", str(uid)] += count
    for fault, count in rebinds.items():
        counts["rebind", "", fault] += count
    for why, count in intake.refused_gauge_rows.items():
        counts["gauge_rows", "", why] += count
    table = intake.table
    counts["refused", "", "oversized"] += oversized
    counts["lost", "", "dropped"] += intake.lost_rows
    counts["lost", "", "family_cap"] += table.lost_rows
    counts["lost", "", "instance_cap"] += table.refused_rows
    counts["lost", "", "type"] += table.mistyped_rows
    counts["lost", "", "internal"] += table.failed_rows
    for key, family in table.families.items():
        if family.overflow:
            counts["overflow", key.instance, key.name] += family.overflow
        if key.name in _OF_WORKERS and not key.custom:
            kind, label = _OF_WORKERS[key.name]
            for value, count in _by(family, label):
                counts[kind, "" if kind == "lost" else key.instance, value] += count
    return +counts


def _by(family: Family, label: str) -> Iterator[tuple[str, int]]:
    """Return the values of a counter of the workers, by one of its labels."""
    if family.shape.type == "counter" and label in family.shape.labels:
        at = family.shape.labels.index(label)
        for row in family.rows:
            yield row.labels[at], int(row.numbers[0])
