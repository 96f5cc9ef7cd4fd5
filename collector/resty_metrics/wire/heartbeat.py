"""Values in a heartbeat: those of a worker and of its nginx, which are absolute, and the user's gauges.

Rules:
- A value that a worker did not send is None, at every level; an unknown number is absent from the page, never 0.
- A beat of several parts is complete when all of them have come; ``join`` joins them.
- Every field is bounded here; ``beats`` bounds the total size of beats.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, Final, TypeVar

from resty_metrics.shapes.labels import clean
from resty_metrics.wire.checks import (
    MAX_NUMBER,
    check_help,
    check_instance,
    check_labels,
    check_name,
    check_strings,
    require,
)
from resty_metrics.wire.datagram import read_map
from resty_metrics.wire.gauge_family import Combine, GaugeFamily, gauge_family

MAX_TEXT_CHARACTERS = 64
MAX_DICTS = 256
MAX_PARTS = 64
MAX_FAMILIES = 1_000  # in a part; a worker makes no more metrics

_COMBINE: Final[dict[Any, Combine]] = {"sum": "sum", "max": "max", "min": "min", "last": "last", "shared": "shared"}
_NUMBERS = frozenset((int, float))

Dict = tuple[str, float, float]  # a shared dictionary of nginx: name, capacity and free bytes


@dataclass(frozen=True, slots=True)
class Master:
    """The nginx master a worker belongs to; ``birth`` in clock ticks since boot."""

    pid: int | None = None
    birth: int | None = None


@dataclass(frozen=True, slots=True)
class NginxCounters:
    """nginx's own ``ngx_stat_*``, per master."""

    accepted: int | None = None
    handled: int | None = None
    requests: int | None = None
    active: int | None = None
    reading: int | None = None
    writing: int | None = None
    waiting: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerGauges:
    """The values that a worker reports about itself."""

    lua_memory_bytes: float | None = None
    unacked_batches: float | None = None
    unacked_bytes: float | None = None
    timers_pending: float | None = None
    timers_running: float | None = None
    rows: float | None = None
    uptime_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker's absolute values; a value that it did not send is None.

    ``configured`` in Unix milliseconds; ``dicts``: shared dictionaries by name, (capacity, free) in bytes; ``part`` of
    ``parts``, from 1; ``instance``: the name of its nginx, "" if it has none; ``began``: the time when the worker began
    to make the beat, in seconds of its kernel's monotonic clock.
    """

    module: str | None = None
    worker: int | None = None
    workers: int | None = None
    pid: int | None = None
    exiting: bool | None = None
    master: Master | None = None
    nginx: NginxCounters | None = None
    gauges: WorkerGauges | None = None
    generation: int | None = None
    configured: int | None = None
    dicts: tuple[Dict, ...] | None = None
    families: tuple[GaugeFamily, ...] = ()
    part: int = 1
    parts: int = 1
    instance: str = ""
    began: float = 0.0


_Part = TypeVar("_Part", Master, NginxCounters, WorkerGauges)


def join(parts: Sequence[Heartbeat]) -> Heartbeat:
    """Join the parts of a beat: it has the gauges of all parts, and everything else from the first."""
    if len(parts) == 1:
        return parts[0]
    return replace(parts[0], families=tuple(chain.from_iterable(part.families for part in parts)), part=1, parts=1)


def read_heartbeat(body: bytes) -> Heartbeat:
    """Read the values of a heartbeat, or of a part of one. Raises WireError ``undecodable`` or ``invalid``."""
    value = read_map(body)
    part, parts = value.get("part", 1), value.get("parts", 1)
    require(type(part) is int and type(parts) is int and 1 <= part <= parts <= MAX_PARTS, "heartbeat: part")
    return Heartbeat(
        module=_optional(value, "module", str),
        worker=_optional(value, "worker", int),
        workers=_optional(value, "workers", int),
        pid=_optional(value, "pid", int),
        exiting=_optional(value, "exiting", bool),
        master=_part(value, "master", Master, int),
        nginx=_part(value, "nginx", NginxCounters, int),
        gauges=_part(value, "gauges", WorkerGauges, int, float),
        generation=_optional(value, "generation", int),
        configured=_optional(value, "configured", int),
        dicts=_dicts(_optional(value, "dicts", dict)),
        families=_families(value.get("families", ())),
        part=part,
        parts=parts,
        instance=check_instance(value.get("instance", "")),
        began=_began(value.get("made", 0)),
    )


def _optional(value: dict[str, Any], name: str, *types: type) -> Any:
    entry = value.get(name)
    require(entry is None or type(entry) in types, f"heartbeat: {name}")
    require(type(entry) is not int or entry >= 0, f"heartbeat: {name} is negative")
    require(type(entry) is not str or len(entry) <= MAX_TEXT_CHARACTERS, f"heartbeat: {name} is long")
    return entry


def _began(value: Any) -> float:
    require(type(value) in _NUMBERS and 0 <= value <= MAX_NUMBER, "heartbeat: made")
    return float(value)


def _part(value: dict[str, Any], name: str, part: type[_Part], *types: type) -> _Part | None:
    entry = _optional(value, name, dict)
    if entry is None:
        return None
    return part(**{field.name: _optional(entry, field.name, *types) for field in fields(part)})


def _dicts(dicts: dict[str, Any] | None) -> tuple[Dict, ...] | None:
    if dicts is None:
        return None
    require(len(dicts) <= MAX_DICTS, "heartbeat: dicts")
    for name, sizes in dicts.items():
        require(type(name) is str and type(sizes) is tuple and len(sizes) == 2, "heartbeat: a dict")
        require(_NUMBERS.issuperset(map(type, sizes)), "heartbeat: size of a dict")
        require(all(0 <= size <= MAX_NUMBER for size in sizes), "heartbeat: size of a dict")
    return tuple([(clean(name), *sizes) for name, sizes in dicts.items()])


def _families(families: Any) -> tuple[GaugeFamily, ...]:
    require(type(families) is tuple and len(families) <= MAX_FAMILIES, "heartbeat: families")
    # A shared gauge without rows is kept: it means that all of its rows were deleted.
    return tuple([gauge for gauge in map(_gauge, families) if gauge.keys or gauge.combine == "shared"])


def _gauge(family: Any) -> GaugeFamily:
    require(type(family) is dict, "heartbeat: a family is not a map")
    name, labels, combine, rows = map(family.get, ("name", "labels", "combine", "rows"))
    check_name(name)
    check_labels(labels)
    require(type(combine) is str and combine in _COMBINE, "heartbeat: combine")
    require(type(rows) is tuple and {tuple}.issuperset(map(type, rows)), "heartbeat: rows of a gauge")
    require({len(labels) + 2}.issuperset(map(len, rows)), "heartbeat: length of a gauge's row")
    columns = list(zip(*rows, strict=True))
    for column in columns[:-2]:
        check_strings(column, "heartbeat: a label value is not a string")
    for column in columns[-2:]:
        require(_NUMBERS.issuperset(map(type, column)), "heartbeat: value of a gauge")
    for column in columns[-1:]:
        require(all(0 <= when <= MAX_NUMBER for when in column), "heartbeat: when a gauge was set")
    return gauge_family(name, check_help(family.get("help", "")), labels, _COMBINE[combine], rows)
