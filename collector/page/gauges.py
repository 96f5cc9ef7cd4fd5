"""The user's gauges: what the living workers last said, combined to one value.

Rules:
- A gauge lives as long as a worker that says it; nothing of it is kept.
- During a reload workers say one gauge in two ways: labels, help and how it combines are those of the worker born last.
  A label that it lacks is dropped, one that a row lacks is ``_``; what becomes equal is combined.
- ``max`` and ``min`` leave out what is not a number, as long as there is one that is. ``last`` is what was set last.
- Of a ``shared`` gauge every worker says all that stands in a shared dictionary, so the beat that was made last stands
  alone: what it lacks was deleted.
- Label sets are bounded: those above the cap are combined under ``other``.
- Each instance of nginx has gauges of its own.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from collector.ingest.heartbeat import Combine, GaugeFamily
from collector.ingest.streams import LiveHeartbeat
from collector.page import instances
from collector.page.exposition import MetricFamily, sample
from collector.table.families import MAX_ROWS
from collector.table.labels import ABSENT, OTHER, clean

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Said:
    """One worker's value: when it was set, and by a worker born when."""

    set_ms: float
    birth_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class Gauge:
    """A gauge as it stands on the page. ``birth_ms``: of the youngest worker that says it."""

    birth_ms: int
    family: MetricFamily


@dataclass(frozen=True, slots=True)
class _Statement:
    """What one worker says of a gauge: the worker's birth, when the beat was made, and the gauge."""

    birth_ms: int
    made: float
    family: GaugeFamily


def _numbers(said: Sequence[_Said]) -> list[float]:
    values = [one.value for one in said]
    return [value for value in values if not math.isnan(value)] or values


_COMBINE: dict[Combine, Callable[[Sequence[_Said]], float]] = {
    "sum": lambda said: sum(one.value for one in said),
    "max": lambda said: max(_numbers(said)),
    "min": lambda said: min(_numbers(said)),
    "last": lambda said: max(said, key=lambda one: (one.set_ms, one.birth_ms)).value,
    "shared": lambda said: said[-1].value,
}


def gauges(beats: Iterable[LiveHeartbeat]) -> list[Gauge]:
    """All gauges of the workers that are alive, in the order of their instances, then of their names."""
    by_name: dict[tuple[str, str], list[_Statement]] = {}
    for beat in beats:
        for family in beat.heartbeat.families:
            statement = _Statement(beat.birth_ms, beat.heartbeat.made, family)
            by_name.setdefault((beat.heartbeat.instance, family.name), []).append(statement)
    combined = [_combine(instance, statements) for (instance, _), statements in sorted(by_name.items())]
    return [gauge for gauge in combined if gauge.family.lines]


def _standing(statements: Sequence[_Statement], youngest: GaugeFamily) -> Sequence[_Statement]:
    """Return the statements that count: of a shared gauge those of one beat, which may be several parts."""
    if youngest.combine != "shared":
        return statements
    alike = [one for one in statements if one.family.combine == "shared" and one.family.labels == youngest.labels]
    made = max(one.made for one in alike)
    return [one for one in alike if one.made == made]


def _combine(instance: str, statements: Sequence[_Statement]) -> Gauge:
    birth_ms, youngest = max(((one.birth_ms, one.family) for one in statements), key=lambda one: one[0])
    values: dict[Labels, list[_Said]] = {}
    for statement in _standing(statements, youngest):
        family = statement.family
        places = [family.labels.index(name) if name in family.labels else None for name in youngest.labels]
        for row in family.rows:
            labels = _labels(row, places)
            if labels not in values and len(values) >= MAX_ROWS:
                labels = (OTHER,) * len(labels)
            values.setdefault(labels, []).append(_Said(row[-1], statement.birth_ms, row[-2]))
    combine, name, ours = _COMBINE[youngest.combine], youngest.name, instances.labels_of(instance)
    names = instances.shown(youngest.labels, instance)
    lines = [sample(name, {**ours, **dict(zip(names, key, strict=True))}, combine(one)) for key, one in values.items()]
    text = youngest.help or f"Gauge {name} of the nginx configuration."
    label_set = instances.label_set(youngest.labels, instance)
    return Gauge(birth_ms, MetricFamily(name, "gauge", text, lines, True, instance, labels=label_set))


def _labels(row: tuple[Any, ...], places: Iterable[int | None]) -> Labels:
    return tuple([ABSENT if place is None else clean(row[place]) for place in places])
