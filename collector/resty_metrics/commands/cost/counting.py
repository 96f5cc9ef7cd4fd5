"""The size of a family, and the size that it would have without one of its labels.

Without a label, rows that differ in it alone are one row, and their values are added up. The bytes are those of the
lines that the collector would write then.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from resty_metrics.commands.cost.reading import EXACT, Family, Labels, Number, Row, Sample
from resty_metrics.exposition import text as exposition

_VALUE_AND_END = 2  # a blank before the value, a newline behind it
_BRACES, _QUOTES, _COMMA = 2, 3, 1  # {}, =""


@dataclass(frozen=True, slots=True)
class Size:
    """Rows, series and bytes of text."""

    rows: int
    series: int
    bytes: int

    def __sub__(self, other: "Size") -> "Size":
        return Size(self.rows - other.rows, self.series - other.series, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class LabelCost:
    """A label of a family: how many ``values`` it has, the family's size ``without`` it, and what that ``saves``."""

    name: str
    values: int
    without: Size
    saves: Size


@dataclass(frozen=True, slots=True)
class FamilyCost:
    """A family's size, and its labels: first those that would save most."""

    name: str
    type: str
    size: Size
    labels: tuple[LabelCost, ...]

    @property
    def most(self) -> int:
        """Return the series that the family's most expensive label would save."""
        return self.labels[0].saves.series if self.labels else 0


def count(families: Iterable[Family]) -> list[FamilyCost]:
    """Return the cost of each family that has rows, first those in which a label would save most."""
    costs = [_count(family) for family in families if family.rows]
    return sorted(costs, key=lambda cost: (-cost.most, -cost.size.series, cost.name))


def total(costs: Iterable[FamilyCost]) -> Size:
    """Return the size of all families together."""
    sizes = [cost.size for cost in costs]
    return Size(*(sum(getattr(size, name) for size in sizes) for name in ("rows", "series", "bytes")))


def _count(family: Family) -> FamilyCost:
    size = Size(len(family.rows), sum(map(len, family.rows.values())), family.bytes)
    values: dict[bytes, set[bytes]] = {}
    for labels in family.rows:
        for name, value in labels:
            values.setdefault(name, set()).add(value)
    costs = [_label(family, size, name, len(distinct)) for name, distinct in values.items()]
    costs.sort(key=lambda cost: (-cost.saves.series, -cost.saves.bytes, cost.name))
    return FamilyCost(family.name, family.type, size, tuple(costs))


def _label(family: Family, size: Size, name: bytes, values: int) -> LabelCost:
    without = _measure(_merge(family.rows, name), family.header)
    return LabelCost(name.decode(), values, without, size - without)


def _merge(rows: dict[Labels, Row], name: bytes) -> dict[Labels, Row]:
    """Return the rows as they are without a label."""
    merged: dict[Labels, Row] = {}
    for labels, row in rows.items():
        rest = tuple([label for label in labels if label[0] != name])
        present = merged.get(rest)
        merged[rest] = row if present is None else _sum(present, row)
    return merged


def _sum(row: Row, more: Row) -> Row:
    result = row.copy()
    for sample, value in more.items():
        present = result.get(sample)
        result[sample] = value if present is None else _add(present, value)
    return result


def _add(value: Number, more: Number) -> Number:
    return value + more if isinstance(value, int) and isinstance(more, int) else EXACT.add(value, more)


def _measure(rows: dict[Labels, Row], header: int) -> Size:
    series, size = 0, header
    for labels, row in rows.items():
        own = _labels_length(labels)
        series += len(row)
        size += sum([_frame_length(sample, own) + _number_length(value) for sample, value in row.items()])
    return Size(len(rows), series, size)


def _labels_length(labels: Labels) -> int:
    return sum([len(name) + len(value) + _QUOTES + _COMMA for name, value in labels])


def _frame_length(sample: Sample, labels: int) -> int:
    """Return the length of a line without its value. ``labels``: the length of the row's, each with a comma."""
    name, bound = sample
    inside = labels + (len(bound) + _COMMA if bound else 0)
    return len(name) + (inside - _COMMA + _BRACES if inside else 0) + _VALUE_AND_END


def _number_length(value: Number) -> int:
    return len(exposition.number(value if isinstance(value, int) else float(value)))
