"""A page as families of rows, one family at a time.

Rules:
- A family is everything below a ``# TYPE`` line; its header counts as bytes of the family.
- A row is a label set. The bounds of a histogram (``le``) and of a summary (``quantile``) are no labels of a row, but
  tell its samples apart.
- Everything stays bytes: a label value may contain anything, and sizes are those of the page. A line ends with a
  newline and nothing else.
- Only the rows of one family are held, beside the page.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Context, Decimal

from resty_metrics.commands.client.endpoint import BUILD_INFO, NOT_OURS

Labels = tuple[tuple[bytes, bytes], ...]  # sorted; values as they stand on the page
Sample = tuple[bytes, bytes]  # the name, and the text of the bound; that is empty where the sample has none
Number = int | Decimal
Row = dict[Sample, Number]

_LABEL = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', re.DOTALL)
_BOUNDS = {"histogram": b"le", "summary": b"quantile"}
_NO_BOUND = b""
_TYPE = b"# TYPE "
_INTEGER_DIGITS = 400  # of a double at most
EXACT = Context(prec=60, traps=[])  # adds infinities and what is no number without an error


@dataclass(slots=True)
class Family:
    """A family of a page. ``bytes``: of its lines, those of the ``header`` included."""

    name: str
    type: str
    header: int
    bytes: int
    rows: dict[Labels, Row] = field(default_factory=dict)


def read(body: bytes) -> Iterator[Family]:
    """Yield the families of a page. Raises ValueError where it is not a page of ours."""
    names = set()
    for family in _families(body):
        names.add(family.name)
        yield family
    if BUILD_INFO not in names:
        raise ValueError(NOT_OURS)


def _families(body: bytes) -> Iterator[Family]:
    family, header = None, 0
    samples: dict[Sample, Sample] = {}
    for line in _lines(body):
        if line.startswith(b"#") or not line:
            header += len(line) + 1
            if line.startswith(_TYPE):
                if family is not None:
                    yield family
                name, _, kind = line.removeprefix(_TYPE).decode("utf-8", "replace").partition(" ")
                family, header, samples = Family(name, kind, header, header), 0, {}
        elif family is None:
            raise ValueError(NOT_OURS)
        else:
            _add(family, line, samples)
    if family is not None:
        yield family


def _lines(body: bytes) -> Iterator[bytes]:
    begin = 0
    while begin < len(body):
        end = body.find(b"\n", begin)
        end = len(body) if end < 0 else end
        yield body[begin:end]
        begin = end + 1


def _add(family: Family, line: bytes, samples: dict[Sample, Sample]) -> None:
    """Add a line to its row. ``samples``: each sample of the family once, for all rows that have it."""
    series, _, value = line.rpartition(b" ")
    name, _, rest = series.partition(b"{")
    labels, bound = _LABEL.findall(rest), _NO_BOUND
    reserved = _BOUNDS.get(family.type)
    if reserved is not None and labels:
        bound = b"".join([b'%b="%b"' % label for label in labels if label[0] == reserved])
        labels = [label for label in labels if label[0] != reserved]
    labels.sort()
    sample = (name, bound)
    row = family.rows.setdefault(tuple(labels), {})
    row[samples.setdefault(sample, sample)] = read_number(value)
    family.bytes += len(line) + 1


def read_number(text: bytes) -> Number:
    """Read the value of a sample. Raises ValueError."""
    if text.removeprefix(b"-").isdigit() and len(text) <= _INTEGER_DIGITS:
        return int(text)
    value = EXACT.create_decimal(text.decode("ascii", "replace"))
    if value.is_nan() and text != b"NaN":
        raise ValueError(NOT_OURS)
    return value
