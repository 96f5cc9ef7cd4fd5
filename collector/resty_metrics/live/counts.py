"""Counters of trouble over the last minutes: refusals, losses, rebinds, and rows counted as ``other``.

Rule: only growth since the collector began to look counts, so nothing from before a restart raises a warning again.
"""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Literal

from resty_metrics.endpoint.healing import Fault
from resty_metrics.ingest.intake import Intake
from resty_metrics.table.families import Family

SPAN_SECONDS = 900.0
_KEPT = 200  # samples; only those that differ are kept

Kind = Literal["refused", "lost", "overflow", "rebind", "gauge_rows"]
Counts = Mapping[tuple[Kind, str], float]

_REFUSING = ("held", "dropped", "unanswerable")
_NO_FAULT = "not_ready"  # while a collector starts or ends
LOST_BY_WORKERS = "resty_metrics_worker_lost_rows_total"
OVERFLOW_OF_WORKERS = "resty_metrics_worker_overflow_total"


class Growth:
    """The counts of the last minutes."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Counts]] = deque(maxlen=_KEPT)

    def observe(self, counts: Counts, now: float) -> None:
        """Keep a sample; one that is like the last takes no room."""
        if not self._samples or counts != self._samples[-1][1]:
            self._samples.append((now, counts))
        while len(self._samples) > 1 and now - self._samples[1][0] > SPAN_SECONDS:
            self._samples.popleft()

    def over(self, kind: Kind, seconds: float, now: float) -> dict[str, float]:
        """Return the growth of each count of a kind in the last ``seconds``, the greatest first.

        Counts that did not grow are left out.
        """
        if not self._samples:
            return {}
        before: Counts = self._samples[0][1]
        for at, counts in self._samples:
            if now - at < seconds:
                break
            before = counts
        last = self._samples[-1][1]
        grown = {name: last[one, name] - before.get((one, name), 0) for one, name in last if one == kind}
        return {name: by for name, by in sorted(grown.items(), key=lambda item: -item[1]) if by > 0}


def counts_of(intake: Intake, rebinds: Mapping[Fault, int], oversized: int) -> Counts:
    """Return the counts of the collector's parts so far."""
    found: Counter[tuple[Kind, str]] = Counter()
    for (result, reason), count in intake.results.items():
        if result in _REFUSING and reason is not None and reason != _NO_FAULT:
            found["refused", reason] += count
    found["refused", "oversized"] += oversized
    for fault, count in rebinds.items():
        found["rebind", fault] += count
    table = intake.table
    found["lost", "dropped"] += intake.lost_rows
    found["lost", "family_cap"] += table.lost_rows
    found["lost", "instance_cap"] += table.refused_rows
    found["lost", "type"] += table.mistyped_rows
    for why, count in intake.refused_gauge_rows.items():
        found["gauge_rows", why] += count
    for key, family in table.families.items():
        if family.overflow:
            found["overflow", key.name] += family.overflow
        if key.name == LOST_BY_WORKERS and not key.custom:
            found.update({("lost", reason): value for reason, value in _by(family, "reason").items()})
        if key.name == OVERFLOW_OF_WORKERS and not key.custom:
            found.update({("overflow", name): value for name, value in _by(family, "family").items()})
    return found


def _by(family: Family, label: str) -> Counter[str]:
    """Return the values of a counter of the workers, by one of its labels."""
    found: Counter[str] = Counter()
    if family.shape.type == "counter" and label in family.shape.labels:
        at = family.shape.labels.index(label)
        for row in family.rows:
            found[row.labels[at]] += int(row.numbers[0])
    return found
