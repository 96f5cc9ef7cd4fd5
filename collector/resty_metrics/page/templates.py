"""The text of a row: its lines, made by one ``%`` on a template that all rows of a shape share.

Rules:
- Numbers that were scaled on the wire (milliseconds to seconds) are divided here, and buckets become cumulative here.
- ``le`` and numbers are written the same in every format, as prometheus-client writes them.
- Buckets and counts are written as whole numbers, whatever was sent: OpenMetrics allows no others. Fractions add up in
  the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import isfinite
from typing import Any

from prometheus_client.utils import floatToGoString

from resty_metrics.exposition.text import escape_label, number
from resty_metrics.page import instances
from resty_metrics.shapes.shape import FamilyType, Labels, Shape
from resty_metrics.shapes.sums import Numbers

RESPONSES = "nginx_http_responses_total"
REQUEST_BYTES = "nginx_http_request_bytes_total"
RESPONSE_BYTES = "nginx_http_response_bytes_total"

# The place of the labels in a line; no metric and no label name contains it.
_LABELS = b"\x01"
_MARK = _LABELS.decode()

Lines = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """The lines of a row of one shape, one chunk for each metric its family feeds.

    A chunk is the text between the copies of the labels; ``%a`` is a number (bytes have no other conversion that suits
    int and float). ``samples``: the number of lines of each metric.
    """

    labels: str
    chunks: tuple[tuple[bytes, ...], ...]
    samples: tuple[int, ...]
    scale: int
    fill: Callable[["Template", bytes, Labels, Numbers], Lines]

    def render(self, labels: Labels, numbers: Numbers) -> Lines:
        """Return the lines of a row with these labels and numbers."""
        return self.fill(self, self._label_block(labels), labels, numbers)

    def _label_block(self, labels: Labels) -> bytes:
        """Return the labels of a row as they stand in a line, with ``%`` doubled for the formatting that follows."""
        joined = "".join(labels)
        if '"' in joined or "\\" in joined or "\n" in joined or "%" in joined:
            labels = tuple([escape_label(label).replace("%", "%%") for label in labels])
        return (self.labels % labels).encode()


def _fill_counter(template: Template, block: bytes, labels: Labels, numbers: Numbers) -> Lines:
    return (block.join(template.chunks[0]) % tuple(numbers),)


class _NotFinite:
    """A sum that ``%a`` would write in another way than the page does."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __repr__(self) -> str:
        return number(self._value)


def _cumulative(buckets: Numbers) -> list[Any]:
    cumulative = [*accumulate(buckets)]
    return [*accumulate(map(int, buckets))] if isinstance(cumulative[-1], float) else cumulative


def _fill_histogram(template: Template, block: bytes, labels: Labels, numbers: Numbers) -> Lines:
    cumulative = _cumulative(numbers[:-1])
    total = numbers[-1] / template.scale
    cumulative += (total if isfinite(total) else _NotFinite(total), cumulative[-1])
    return (block.join(template.chunks[0]) % tuple(cumulative),)


def by_sample(lines: bytes, buckets: int) -> tuple[bytes, ...]:
    """Sort the lines of whole rows of a histogram by sample: all buckets, then all sums, then all counts.

    Each row has ``buckets`` buckets.
    """
    rest = lines.splitlines(keepends=True)
    sums, counts = rest[buckets :: buckets + 2], rest[buckets + 1 :: buckets + 2]
    del rest[buckets + 1 :: buckets + 2]
    del rest[buckets :: buckets + 1]
    return tuple(map(b"".join, (rest, sums, counts)))


def _fill_requests(template: Template, block: bytes, labels: Labels, numbers: Numbers) -> Lines:
    count, request_bytes, response_bytes = numbers
    responses, received, sent = template.chunks
    return (
        block.join(responses) % int(count),
        block.join(received) % request_bytes,
        block.join(sent) % response_bytes,
    )


_FILL: dict[FamilyType, Callable[[Template, bytes, Labels, Numbers], Lines]] = {
    "counter": _fill_counter,
    "histogram": _fill_histogram,
    "requests": _fill_requests,
}


def _le(bound: float) -> str:
    text: str = floatToGoString(bound + 0.0)  # type: ignore[no-untyped-call]  # + 0.0 turns -0 into 0
    return text


def _single(name: str, shape: Shape) -> str:
    return f"{name}{{{_MARK}}} %a\n" if shape.labels or shape.instance else f"{name} %a\n"


def _histogram(name: str, shape: Shape) -> str:
    mark = f"{_MARK}," if shape.labels or shape.instance else ""
    bounds = [*(_le(bound / shape.scale) for bound in shape.bounds or ()), "+Inf"]
    lines = [f'{name}_bucket{{{mark}le="{bound}"}} %a\n' for bound in bounds]
    return "".join([*lines, _single(f"{name}_sum", shape), _single(f"{name}_count", shape)])


def _chunks(shape: Shape) -> list[str]:
    if shape.type == "requests":
        return [_single(name, shape) for name in (RESPONSES, REQUEST_BYTES, RESPONSE_BYTES)]
    return [_histogram(shape.name, shape) if shape.type == "histogram" else _single(shape.name, shape)]


def _labels(shape: Shape) -> str:
    """Return the label block: our label, which needs no escape, then those of the rows."""
    own_labels = [f'{name}="{value}"' for name, value in instances.labels_of(shape.instance).items()]
    return ",".join([*own_labels, *(f'{name}="%s"' for name in instances.label_names(shape.labels, shape.instance))])


@lru_cache(maxsize=4096)
def template(shape: Shape) -> Template:
    labels = _labels(shape)
    lines = _chunks(shape)
    chunks = tuple([tuple(chunk.encode().split(_LABELS)) for chunk in lines])
    samples = tuple([chunk.count("\n") for chunk in lines])
    return Template(labels, chunks, samples, shape.scale, _FILL[shape.type])


def count_samples(shape: Shape, rows: int) -> list[int]:
    """Return the number of samples of each metric that so many rows feed."""
    return [count * rows for count in template(shape).samples]
