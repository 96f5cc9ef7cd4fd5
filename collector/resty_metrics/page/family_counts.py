"""Metrics of each family of rows: its rows, those that found no room or were forgotten, and the label that fills it.

Rules:
- A custom family may have the name of a built-in one: the two are added up.
- There may be thousands of families, so all of this is made in steps. Counts are of the page's moment; how many values
  a label has is looked up in the step that shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import add

from resty_metrics.exposition.text import MetricFamily, MetricType, sample
from resty_metrics.page import instances
from resty_metrics.process.steps import Steps
from resty_metrics.shapes.shape import FamilyKey
from resty_metrics.table.families import Family
from resty_metrics.table.table import Table

STEP_SAMPLES = 500

_METRICS: tuple[tuple[str, MetricType, str], ...] = (
    ("resty_metrics_rows", "gauge", "Rows in the table, by family."),
    (
        "resty_metrics_overflow_rows_total",
        "counter",
        'Rows that were counted under the label value "other" because their family, or the table, had reached its cap.',
    ),
    (
        "resty_metrics_evicted_rows_total",
        "counter",
        'Rows idle for an hour whose numbers went to "other", to make room in a family or a table at its cap.',
    ),
    (
        "resty_metrics_expired_rows_total",
        "counter",
        "Rows that were forgotten because nothing was added to them for the time of --rows.expire.",
    ),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """A family at one moment: how many rows it has, had no room for, has evicted, and has forgotten."""

    key: FamilyKey
    rows: int
    overflow: int
    evicted: int
    expired: int
    family: Family


def capture(table: Table) -> list[Counts]:
    """Return the counts of all families as they are now."""
    return [
        Counts(key, len(family.rows), family.overflow, family.evicted, family.expired, family)
        for key, family in table.families.items()
    ]


def in_steps(counts: Sequence[Counts]) -> Steps[list[MetricFamily]]:
    """Return the metric families that show these counts."""
    sums: dict[FamilyKey, tuple[int, ...]] = {}
    for number, family_counts in enumerate(counts, 1):
        key = family_counts.key._replace(custom=False)
        counted = (family_counts.rows, family_counts.overflow, family_counts.evicted, family_counts.expired)
        sums[key] = tuple(map(add, counted, sums.get(key, (0,) * len(counted))))
        if number % STEP_SAMPLES == 0:
            yield
    families = []
    for place, (name, kind, text) in enumerate(_METRICS):
        lines: list[bytes] = []
        for key, numbers in sums.items():
            lines.append(sample(name, family_labels(key), numbers[place]))
            if len(lines) % STEP_SAMPLES == 0:
                yield
        families.append(MetricFamily(name, kind, text, lines))
    families.append((yield from _label_values(counts)))
    return families


def _label_values(counts: Sequence[Counts]) -> Steps[MetricFamily]:
    name = "resty_metrics_label_values"
    text = "Values of a label, of families that hold half of their cap of rows or more."
    series: dict[tuple[FamilyKey, str], int] = {}
    for family_counts in counts:
        if family_counts.rows >= family_counts.family.max_rows / 2:
            key = family_counts.key._replace(custom=False)
            for label, count in family_counts.family.values_by_label.items():
                series[key, label] = max(count, series.get((key, label), 0))
            yield
    lines = [sample(name, {**family_labels(key), "label": label}, count) for (key, label), count in series.items()]
    return MetricFamily(name, "gauge", text, lines)


def family_labels(key: FamilyKey) -> dict[str, str]:
    """Return a family as labels; ``nginx`` and ``scope`` only where there is one."""
    scope = {"scope": key.scope} if key.scope else {}
    return {**instances.labels_of(key.instance), "family": key.name, **scope}
