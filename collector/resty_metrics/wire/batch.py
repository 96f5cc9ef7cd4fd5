"""The body of a batch: families with their shape, and their rows.

Rules:
- A batch is validated whole before any of it is used. The numbers of all rows of a family are packed at once in C,
  which fails if any of them is not a count. Only then are they checked one by one: a float may be valid all the same.
- A bool is not a number. Unknown keys are ignored.
- Values that the page could not show are invalid too: a label ``le`` beside buckets, two bounds that look the same.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from resty_metrics.shapes.labels import clean
from resty_metrics.shapes.shape import (
    COUNTER_COLUMNS,
    DURATION_LABELS,
    DURATION_SCALE,
    DURATIONS,
    HISTOGRAM_COLUMNS,
    REQUEST_COLUMNS,
    REQUEST_LABELS,
    REQUESTS,
    SCOPE_LABEL,
    FamilyBatch,
    FamilyType,
    Labels,
    RawRow,
    Shape,
)
from resty_metrics.shapes.sums import Deltas, Numbers, pack_rows
from resty_metrics.wire.checks import (
    MAX_NUMBER,
    check_bounds,
    check_counts,
    check_finite,
    check_help,
    check_instance,
    check_labels,
    check_name,
    check_strings,
    require,
)
from resty_metrics.wire.datagram import WireError, read_map

MAX_SCOPE_CHARACTERS = 64
_TYPES: Final[dict[Any, FamilyType]] = {"requests": "requests", "counter": "counter", "histogram": "histogram"}


def read_batch(body: bytes) -> tuple[FamilyBatch, ...]:
    """Read the families of a batch, all of them valid. Raises WireError ``undecodable`` or ``invalid``."""
    value = read_map(body)
    families = value.get("families")
    if type(families) is not tuple:
        raise WireError("invalid", "families is not an array")
    try:
        instance = check_instance(value.get("instance", ""))
        values = _read_values(value.get("values", ()))
        return tuple([_read_family(family, instance, values) for family in families])
    except WireError as error:
        error.rows = _claimed_rows(families)
        raise


def _claimed_rows(families: tuple[Any, ...]) -> int:
    rows = [family.get("rows") for family in families if type(family) is dict]
    return sum(len(entry) for entry in rows if type(entry) is tuple)


def _read_values(values: Any) -> Mapping[Any, str]:
    """Read the label values of a batch, by their place."""
    require(type(values) is tuple, "values")
    check_strings(values, "a value is not a string")
    return dict(enumerate(values))


def _read_family(family: Any, instance: str, values: Mapping[Any, str]) -> FamilyBatch:
    require(type(family) is dict, "a family is not a map")
    shape = _read_shape(family, instance)
    text = check_help(family.get("help", ""))
    deleted = _read_deleted(family.get("del", ()), len(shape.labels))
    labels, deltas = _read_rows(family.get("rows"), shape, values)
    return FamilyBatch(
        shape, text, family.get("inherited") is True, labels, deltas, family.get("reset") is True, deleted
    )


def _read_shape(family: dict[str, Any], instance: str) -> Shape:
    value: Callable[[str], Any] = family.get
    name, labels, bounds, columns = map(value, ("name", "labels", "bounds", "columns"))
    kind, scope = value("type"), family.get("scope", "")
    require(type(kind) is str and kind in _TYPES, "type")
    custom = family.get("custom") is True
    check_name(name)
    check_labels(labels)
    scale = _read_scale(family, _TYPES[kind])
    if bounds is not None:
        check_bounds(bounds, scale)
        require("le" not in labels, "le is a label of what has buckets")
    shape = Shape(name, _TYPES[kind], labels, bounds, columns, scale, scope, custom, instance)
    _CHECKS[shape.type](shape)
    require("schema" not in family, "exponential buckets are not supported")
    return shape


def _read_scale(family: dict[str, Any], kind: FamilyType) -> int:
    """Read the scale. It is 1 for a family that has nothing to divide, whatever was sent."""
    scale = family.get("scale", 1)
    require(type(scale) is int and 1 <= scale <= MAX_NUMBER, "scale")
    checked: int = scale
    return checked if kind == "histogram" else 1


def _check_requests(shape: Shape) -> None:
    require(shape.name == REQUESTS and not shape.custom, "requests under another name")
    require(shape.bounds is None and shape.columns == REQUEST_COLUMNS, "columns of requests")
    require(shape.labels[: len(REQUEST_LABELS)] == REQUEST_LABELS, "labels of requests")
    _check_scope(shape, len(REQUEST_LABELS))


def _check_durations(shape: Shape) -> None:
    bounds = shape.bounds or ()
    require(shape.scale == DURATION_SCALE, "scale of durations")
    require({int}.issuperset(map(type, bounds)), "a bound of durations is not an integer")
    require(all(0 <= bound <= MAX_NUMBER for bound in bounds), "a bound is out of range")
    ours = [name for name in DURATION_LABELS if name in shape.labels]
    require(shape.labels[: len(ours)] == tuple(ours), "labels of durations")
    _check_scope(shape, len(ours))


def _check_scope(shape: Shape, place: int) -> None:
    """Check the scope of requests or durations. Scopes share one name on the page: the label ``scope``, at this place,
    keeps their series apart.
    """
    scope: Any = shape.scope
    require(type(scope) is str and len(scope) <= MAX_SCOPE_CHARACTERS, "scope")
    if scope == "":
        require(SCOPE_LABEL not in shape.labels, "a label scope without a scope")
    else:
        require(clean(scope) == scope, "scope")
        require(shape.labels[place : place + 1] == (SCOPE_LABEL,), "no label scope behind the labels of ours")


def _check_counter(shape: Shape) -> None:
    require(shape.custom or shape.name not in (REQUESTS, DURATIONS), "a counter under the name of another type")
    require(shape.bounds is None and shape.columns == COUNTER_COLUMNS, "columns of a counter")
    require(shape.scope == "", "a scope of a counter")


def _check_histogram(shape: Shape) -> None:
    require(shape.custom or shape.name != REQUESTS, "a histogram under the name of requests")
    require(shape.bounds is not None and shape.columns == HISTOGRAM_COLUMNS, "columns of a histogram")
    if shape.name == DURATIONS and not shape.custom:
        _check_durations(shape)
    else:
        require(shape.scope == "", "a scope of what is not requests")


_CHECKS: Final[dict[FamilyType, Callable[[Shape], None]]] = {
    "requests": _check_requests,
    "counter": _check_counter,
    "histogram": _check_histogram,
}


def _read_deleted(deleted: Any, labels: int) -> tuple[Labels, ...]:
    require(type(deleted) is tuple and {tuple}.issuperset(map(type, deleted)), "del")
    require({labels}.issuperset(map(len, deleted)), "length of a label set to be deleted")
    check_strings(chain.from_iterable(deleted), "a label value to be deleted is not a string")
    checked: tuple[Labels, ...] = deleted
    return checked


def _read_rows(rows: Any, shape: Shape, values: Mapping[Any, str]) -> tuple[list[Labels], Deltas]:
    """Read the labels of each row, and the numbers of all rows."""
    width = len(shape.labels)
    require(type(rows) is tuple and {tuple}.issuperset(map(type, rows)), "rows")
    require({width + shape.width}.issuperset(map(len, rows)), "length of a row")
    labels = _label_values([row[:width] for row in rows], values)
    if shape.scope != "":
        place = shape.labels.index(SCOPE_LABEL)
        require({shape.scope}.issuperset([row[place] for row in labels]), "a row of another scope")
    deltas = pack_rows([row[width:] for row in rows])
    if not isinstance(deltas, bytes):
        _check_numbers(deltas, shape)
    return labels, deltas


def _label_values(labels: Sequence[RawRow], values: Mapping[Any, str]) -> list[Labels]:
    value = values.get
    fault = "a label value is neither a string nor the place of one"
    try:
        named = [tuple([value(label, label) for label in row]) for row in labels]
    except TypeError:  # a map cannot be a place
        raise WireError("invalid", fault) from None
    check_strings(chain.from_iterable(named), fault)
    return named


def _check_numbers(rows: Sequence[Numbers], shape: Shape) -> None:
    """Check numbers that could not be packed: they may be valid all the same."""
    if shape.type == "histogram":
        check_finite([row[-1] for row in rows], "a sum is not finite")
        rows = [row[:-1] for row in rows]
    check_counts([*chain.from_iterable(rows)])
