"""The user's gauges: the last values from the living workers, combined to one value.

Rules:
- A gauge lives as long as a worker that sends it; nothing of it is kept.
- During a reload workers send one gauge in two ways: the worker born last decides about labels, help and combination. A
  label that it lacks is dropped, a label that a row lacks is ``_``; rows that become equal are combined.
- ``max`` and ``min`` leave out values that are not a number, as long as there is one that is. ``last`` is the value
  that was set last.
- Every worker sends all of a ``shared`` gauge, which is in a shared dictionary. So only the newest beat counts: rows
  that it lacks were deleted.
- A value that expired, because its worker set it before ``oldest_ms``, is left out before values are combined: a sum
  lacks it, and a row of which all values expired is not shown. Values of a ``shared`` gauge do not expire: the
  dictionary holds no times.
- Label sets are bounded: those above the cap are combined under ``other``.
- Each instance of nginx has gauges of its own.
- Gauges are combined and rendered in steps, as everything on a page (docs/decisions/0018-a-page-in-steps.md). Beats are
  never changed, so all steps show the moment at which the list of beats was made.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from resty_metrics.exposition.text import MetricFamily, escape_label, label_block, number
from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.page import instances
from resty_metrics.process.steps import Steps
from resty_metrics.shapes.labels import ABSENT, OTHER
from resty_metrics.table.families import MAX_ROWS
from resty_metrics.wire.gauge_family import Combine, GaugeFamily, key_of, values_of

STEP_ROWS = 1_000  # rows that one step combines or renders: some milliseconds
_FAMILY_COST, _PIECE_COST = 10, 5  # in rows
_LABELS_PER_ROW = 4  # further labels that cost as much as one more row
_ESCAPED = (b"\\", b'"', b"\n")
_MAX_EXACT = 2**53

_Value = tuple[float, int, float]  # the time when it was set, the birth of the worker, and the value


@dataclass(frozen=True, slots=True)
class Gauge:
    """A gauge as it stands on the page. ``birth_ms``: the birth of the youngest worker that sends it."""

    birth_ms: int
    family: MetricFamily


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of a gauge from one worker. ``began``: the time when its beat was begun."""

    birth_ms: int
    began: float
    family: GaugeFamily


def _sum(old: _Value, new: _Value) -> _Value:
    return (*new[:2], old[2] + new[2])


def _max(old: _Value, new: _Value) -> _Value:
    return new if new[2] > old[2] or old[2] != old[2] else old


def _min(old: _Value, new: _Value) -> _Value:
    return new if new[2] < old[2] or old[2] != old[2] else old


def _last(old: _Value, new: _Value) -> _Value:
    return new if new[:2] > old[:2] else old


def _newer(_: _Value, new: _Value) -> _Value:
    return new


_COMBINE: dict[Combine, Callable[[_Value, _Value], _Value]] = {
    "sum": _sum,
    "max": _max,
    "min": _min,
    "last": _last,
    "shared": _newer,
}


def in_steps(beats: Iterable[LiveHeartbeat], oldest_ms: float = -math.inf) -> Steps[list[Gauge]]:
    """Return all gauges of the workers that are alive, in the order of their instances, then of their names.

    Values that were set before ``oldest_ms``, in Unix milliseconds, have expired.
    """
    gauges: list[Gauge] = []
    cost = 0
    for rows, gauge in _work(beats, oldest_ms):
        cost += rows
        if gauge is not None and gauge.family.lines:
            gauges.append(gauge)
        if cost >= STEP_ROWS:
            yield
            cost = 0
    return gauges


def _work(beats: Iterable[LiveHeartbeat], oldest_ms: float) -> Iterator[tuple[int, Gauge | None]]:
    """Yield the cost of the work since the last time, in rows, and a gauge when it is finished."""
    by_name: dict[tuple[str, str], list[_Piece]] = {}
    for beat in beats:
        for family in beat.heartbeat.families:
            piece = _Piece(beat.birth_ms, beat.heartbeat.began, family)
            by_name.setdefault((beat.heartbeat.instance, family.name), []).append(piece)
            yield 1, None
    for (instance, _), pieces in sorted(by_name.items(), key=lambda item: item[0]):
        yield from _combine(instance, pieces, oldest_ms)


def _standing(pieces: Sequence[_Piece], youngest: GaugeFamily) -> Sequence[_Piece]:
    """Return the pieces that count: of a shared gauge those of one beat, which may be several parts."""
    if youngest.combine != "shared":
        return pieces
    alike = [piece for piece in pieces if piece.family.combine == "shared" and piece.family.labels == youngest.labels]
    latest = max(piece.began for piece in alike)
    return [piece for piece in alike if piece.began == latest]


def _combine(instance: str, pieces: Sequence[_Piece], oldest_ms: float) -> Iterator[tuple[int, Gauge | None]]:
    youngest = max(pieces, key=lambda piece: piece.birth_ms)
    values: dict[bytes, _Value] = {}
    if youngest.family.combine == "shared":
        oldest_ms = -math.inf
    for piece in _standing(pieces, youngest.family):
        yield from ((rows, None) for rows in _add(values, piece, youngest.family, oldest_ms))
    lines: list[bytes] = []
    for rows in _render(lines, values, youngest.family, instance):
        yield rows, None
    name = youngest.family.name
    text = youngest.family.help or f"Gauge {name} of the nginx configuration."
    label_set = instances.label_set(youngest.family.labels, instance)
    family = MetricFamily(
        name, "gauge", text, lines, custom=True, instance=instance, labels=label_set, samples=len(values)
    )
    yield _FAMILY_COST, Gauge(youngest.birth_ms, family)


def _add(values: dict[bytes, _Value], piece: _Piece, shape: GaugeFamily, oldest_ms: float) -> Iterator[int]:
    """Combine the rows of a piece with what is there, in the labels of the shape; yield how many rows that cost."""
    family, birth_ms, combine = piece.family, piece.birth_ms, _COMBINE[shape.combine]
    overflow_key = key_of((OTHER,) * len(shape.labels))
    for run in _runs(len(family.keys), shape):
        keys = family.keys[run]
        if family.labels != shape.labels:
            keys = _reshape(keys, family.labels, shape.labels)
        for key, value, set_ms in zip(keys, family.values[run], family.set_ms[run], strict=True):
            if set_ms < oldest_ms:
                continue
            old = values.get(key)
            if old is None and len(values) >= MAX_ROWS:
                key = overflow_key
                old = values.get(key)
            new = (set_ms, birth_ms, value)
            values[key] = new if old is None else combine(old, new)
        yield _PIECE_COST + len(keys) * _row_cost(shape)


def _reshape(keys: Iterable[bytes], old: Sequence[str], new: Sequence[str]) -> list[bytes]:
    places = [old.index(name) if name in old else None for name in new]
    rows = [values_of(key, old) for key in keys]
    return [key_of([ABSENT if place is None else row[place] for place in places]) for row in rows]


def _render(lines: list[bytes], values: dict[bytes, _Value], shape: GaugeFamily, instance: str) -> Iterator[int]:
    """Append the lines of a gauge; yield how many rows that cost."""
    names = instances.label_names(shape.labels, instance)
    template = shape.name + label_block({**instances.labels_of(instance), **dict.fromkeys(names, "%s")})
    rows = list(values.items())
    for run in _runs(len(rows), shape):
        text = [f"{template % _shown(key, shape.labels)} {_number(value)}\n" for key, (_, _, value) in rows[run]]
        lines.append("".join(text).encode())
        yield len(text) * _row_cost(shape)


def _shown(key: bytes, labels: Sequence[str]) -> tuple[str, ...]:
    values = values_of(key, labels)
    return tuple(map(escape_label, values) if any(byte in key for byte in _ESCAPED) else values)


def _number(value: float) -> str:
    return number(int(value) if value.is_integer() and abs(value) <= _MAX_EXACT else value)


def _row_cost(shape: GaugeFamily) -> int:
    return 1 + len(shape.labels) // _LABELS_PER_ROW


def _runs(rows: int, shape: GaugeFamily) -> Iterator[slice]:
    """Yield runs of rows, each of which is at most one step's work."""
    length = STEP_ROWS // _row_cost(shape)
    return (slice(first, first + length) for first in range(0, rows, length))
