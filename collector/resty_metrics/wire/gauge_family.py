"""A gauge of the user's as one worker sends it: compact, so that many rows cost little more than their bytes.

Rules:
- Label values are cleaned and cut when they arrive: nothing raw is kept.
- A row is its key (the clean label values, joined by NUL, which no clean value contains), its value and the time at
  which it was set. Keys are bytes and numbers are in arrays: a row takes about 60 bytes more than its label values.
"""

from array import array
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Literal

from resty_metrics.shapes.labels import clean

Combine = Literal["sum", "max", "min", "last", "shared"]
SEPARATOR = "\0"

_ROW_BYTES = 64  # per row: the objects that hold it; on the page its value and punctuation
_FAMILY_BYTES = 512  # per family: the objects that hold it
_LABEL_BYTES = 64  # per name of a label: the object that holds it


@dataclass(frozen=True, slots=True)
class GaugeFamily:
    """Rows of one gauge. Row number i is ``keys[i]``, ``values[i]`` (any double) and ``set_ms[i]`` (Unix ms)."""

    name: str
    help: str
    labels: tuple[str, ...]
    combine: Combine
    keys: Sequence[bytes]
    values: "array[float]"
    set_ms: "array[float]"

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """Return the name and labels within which a label set occurs once in a beat."""
        return self.name, self.labels

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows as they were sent, but with clean label values."""
        rows = zip(self.keys, self.values, self.set_ms, strict=True)
        return [(*values_of(key, self.labels), value, set_ms) for key, value, set_ms in rows]

    def head_bytes(self) -> int:
        """Return the memory for the family without its rows, estimated."""
        return (
            _FAMILY_BYTES + len(self.name) + 4 * len(self.help) + sum(_LABEL_BYTES + len(name) for name in self.labels)
        )

    def row_bytes(self) -> list[int]:
        """Return the memory for each row, estimated: the larger of the row as it is held and its line on the page."""
        line = _ROW_BYTES + len(self.name) + sum(len(name) + 4 for name in self.labels)
        return [line + len(key) for key in self.keys]

    def first(self, count: int) -> "GaugeFamily":
        """Return the first rows."""
        return self._with(self.keys[:count], self.values[:count], self.set_ms[:count])

    def without(self, known: Container[bytes]) -> "GaugeFamily":
        """Return the rows whose key is not in ``known``; of rows with equal keys only the first."""
        visited: set[bytes] = set()
        selectors = []
        for key in self.keys:
            selectors.append(key not in visited and key not in known)
            visited.add(key)
        numbers = (array("d", compress(column, selectors)) for column in (self.values, self.set_ms))
        return self._with(tuple(compress(self.keys, selectors)), *numbers)

    def _with(self, keys: Sequence[bytes], values: "array[float]", set_ms: "array[float]") -> "GaugeFamily":
        return GaugeFamily(self.name, self.help, self.labels, self.combine, keys, values, set_ms)


def gauge_family(
    name: str, text: str, labels: tuple[str, ...], combine: Combine, rows: Iterable[tuple[Any, ...]]
) -> GaugeFamily:
    """Return a family of rows as they are sent: label values (str), then the value, then when it was set."""
    columns = list(zip(*rows, strict=True)) or [()] * (len(labels) + 2)
    *values, numbers, set_ms = columns
    return GaugeFamily(
        name, text, labels, combine, _keys(values, len(numbers)), array("d", numbers), array("d", set_ms)
    )


def _keys(columns: Sequence[Sequence[str]], count: int) -> tuple[bytes, ...]:
    if not columns:
        return (b"",) * count
    cleaned = [map({value: clean(value) for value in set(column)}.__getitem__, column) for column in columns]
    return tuple([key.encode() for key in map(SEPARATOR.join, zip(*cleaned, strict=True))])


def key_of(values: Iterable[str]) -> bytes:
    """Return the key of clean label values."""
    return SEPARATOR.join(values).encode()


def values_of(key: bytes, labels: Sequence[str]) -> list[str]:
    """Return the label values of a key of a family with these labels."""
    return key.decode().split(SEPARATOR) if labels else []
