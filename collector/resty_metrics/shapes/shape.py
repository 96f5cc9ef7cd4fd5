"""The shape of a family: the meaning of the labels and numbers of its rows, and the conversion between shapes.

During a reload workers of the old and of the new configuration send the same family with two shapes; no count may be
lost over that (docs/wire.md, "Body of a batch").

Rules:
- Counts in an old bucket go to the smallest new bound that is not below the old one: a bucket never claims that a
  request was faster than it was.
- A label that the new shape lacks is dropped; a label that the old row lacks is ``_``.
- Columns have the same names in every shape of one type.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from resty_metrics.shapes.labels import ABSENT
from resty_metrics.shapes.sums import Deltas, Numbers, pack_rows, rows_of

FamilyType = Literal["requests", "counter", "histogram"]
Labels = tuple[str, ...]
RawRow = tuple[Any, ...]

REQUESTS = "http_requests"
REQUEST_LABELS: Labels = ("server", "method", "status")
REQUEST_COLUMNS = ("count", "request_bytes", "response_bytes")
DURATIONS = "nginx_http_request_duration_seconds"
DURATION_LABELS: Labels = ("server", "method", "status", "status_class", "scheme")
DURATION_SCALE = 1000
SCOPE_LABEL = "scope"
PEER_LABEL = "peer"
_KEPT = {  # the user's labels stand behind them; `scheme` is one of those in requests
    REQUESTS: frozenset({*REQUEST_LABELS, SCOPE_LABEL}),
    DURATIONS: frozenset({*DURATION_LABELS, SCOPE_LABEL}),
}
COUNTER_COLUMNS = ("value",)
HISTOGRAM_COLUMNS = ("sum",)


class FamilyKey(NamedTuple):
    """The key of a family.

    ``custom``: made by the user's Lua code; ``instance``: the name of the nginx that it belongs to.
    """

    name: str
    custom: bool = False
    scope: str = ""
    instance: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of a family's rows.

    ``bounds`` None means no buckets. The page divides the bounds, and the first column behind the buckets, by
    ``scale``. ``instance``: the nginx that counted, "" if it has no name.
    """

    name: str
    type: FamilyType
    labels: Labels
    bounds: tuple[float, ...] | None
    columns: tuple[str, ...]
    scale: int = 1
    scope: str = ""
    custom: bool = False
    instance: str = ""

    @property
    def key(self) -> FamilyKey:
        return FamilyKey(self.name, self.custom, self.scope, self.instance)

    @property
    def buckets(self) -> int:
        return 0 if self.bounds is None else len(self.bounds) + 1

    @property
    def width(self) -> int:
        """Return how many numbers a row has."""
        return self.buckets + len(self.columns)

    @property
    def given_up(self) -> tuple[int, int]:
        """Return the first of the labels that a row gives up at the cap, and the place behind the last.

        These are the user's labels, or the peer; else the first label, which is never the scope.
        """
        if self.custom:
            return 0, len(self.labels)
        kept = _KEPT.get(self.name)
        if kept is None:
            peer = self.labels.index(PEER_LABEL) if PEER_LABEL in self.labels else 0
            return peer, min(peer + 1, len(self.labels))
        users = (index for index, name in enumerate(self.labels) if name not in kept)
        if (first := next(users, None)) is not None:
            return first, len(self.labels)
        return 0, int(self.labels[:1] not in ((), (SCOPE_LABEL,)))


@dataclass(frozen=True, slots=True)
class FamilyBatch:
    """The rows of one family in one batch: the label values of each as they were sent, and the deltas of all.

    ``inherited``: the rows were taken over from a worker that has ended, and so was their shape. ``reset``: all rows
    that the family has go before these are added; ``deleted``: those with these label values do.
    """

    shape: Shape
    help: str
    inherited: bool
    labels: Sequence[Labels]
    deltas: Deltas
    reset: bool = False
    deleted: Sequence[Labels] = ()

    @property
    def rows(self) -> tuple[RawRow, ...]:
        """Return each row as it was sent."""
        numbers = rows_of(self.deltas, self.shape.width)
        return tuple([(*labels, *deltas) for labels, deltas in zip(self.labels, numbers, strict=True)])


def family_batch(
    shape: Shape,
    text: str,
    inherited: bool,
    rows: Sequence[RawRow],
    reset: bool = False,
    deleted: Sequence[Labels] = (),
) -> FamilyBatch:
    """Build a batch from rows as they are sent: label values, then deltas."""
    labels = len(shape.labels)
    deltas = pack_rows([row[labels:] for row in rows])
    return FamilyBatch(shape, text, inherited, [row[:labels] for row in rows], deltas, reset, deleted)


class Conversion:
    """Rows of one shape in the terms of another shape of the same family."""

    __slots__ = ("_buckets", "_labels", "_places", "_scales", "keeps_labels", "keeps_numbers")

    def __init__(self, old: Shape, new: Shape) -> None:
        self._labels = [old.labels.index(name) if name in old.labels else None for name in new.labels]
        self._buckets = new.buckets
        self._places = _bucket_places(old, new)
        self._scales = (new.scale, old.scale)
        self.keeps_labels = old.labels == new.labels
        self.keeps_numbers = (old.bounds, old.scale) == (new.bounds, new.scale)

    def labels(self, labels: Labels) -> Labels:
        """Return the label values of a row in the new shape."""
        return (
            labels
            if self.keeps_labels
            else tuple([ABSENT if index is None else labels[index] for index in self._labels])
        )

    def numbers(self, numbers: Numbers) -> tuple[float, ...]:
        """Return the numbers of a row in the new shape."""
        buckets: list[float] = [0] * self._buckets
        for place, count in zip(self._places, numbers, strict=False):
            buckets[place] += count
        columns = numbers[len(self._places) :]
        new, old = self._scales
        if new != old:
            columns = [_divide(number * new, old) for number in columns]
        return (*buckets, *columns)


def _divide(number: float, by: int) -> float:
    """Divide exactly where possible."""
    return number // by if isinstance(number, int) and number % by == 0 else number / by


def _bucket_places(old: Shape, new: Shape) -> list[int]:
    """Return for each old bucket the index of the new one; shapes of one type have both buckets or both none."""
    if old.bounds is None or new.bounds is None:
        return []
    bounds = [bound * old.scale for bound in new.bounds]
    return [*(bisect_left(bounds, bound * new.scale) for bound in old.bounds), len(new.bounds)]
