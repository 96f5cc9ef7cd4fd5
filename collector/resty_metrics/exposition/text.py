"""Metric families as text: the one place that knows the exposition formats.

Sources: Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats) and OpenMetrics 1.0
(github.com/prometheus/OpenMetrics). Sample lines are the same bytes in both, so the maker of a family renders its lines
once; only the headers differ and are written here.

Rules:
- A family's lines are contiguous: families of one name, from several sources, are joined under the first one's header.
- An OpenMetrics counter is named without ``_total`` in its header. A counter is ``unknown`` there, with its name
  unchanged, if it lacks the suffix (as nginx-prometheus-exporter's), or if without the suffix it had the name of
  another family or of a sample of one (as vts's ``..._seconds_total`` beside ``..._seconds``).
- An OpenMetrics histogram has no sum below 0, and no sum at all beside buckets below 0. A histogram with such samples
  becomes three families of type ``unknown`` there: buckets, sums and counts. It loses its type but no number.
- ``le`` is written as prometheus-client writes it (``1.0``).
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from resty_metrics.process.steps import Steps, finish

MetricType = Literal["counter", "gauge", "histogram", "unknown"]
PIECE_BYTES = 4_096  # chunks of this size and more are pieces of their own
STEP_CHUNKS = 2_000  # headers and chunks that one step puts together


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """One metric family, its sample lines already rendered.

    ``name`` is the name in the text format (a counter's with ``_total``). Each chunk of ``lines`` holds whole sample
    lines, UTF-8, each ended by a newline; or nothing. ``custom``: made by the user's Lua code. ``instance``: the nginx
    that all lines are of, "" for one without a name; None: the collector itself. ``sent``: built in, and its rows were
    sent under its own name. ``labels``: the names of the labels that all lines have, and the value of one that is the
    same on all; None: not known. ``parts``: the lines of a histogram that may have sums below 0, by sample: buckets,
    sums, counts. ``samples``: the number of sample lines; None: the maker does not know it, and they are counted.
    """

    name: str
    type: MetricType
    help: str
    lines: Sequence[bytes]
    custom: bool = False
    instance: str | None = None
    sent: bool = False
    labels: frozenset[str] | None = None
    parts: tuple[Sequence[bytes], ...] = ()
    samples: int | None = None


PARTS = ("_bucket", "_sum", "_count")  # of a histogram
_CREATED = "_created"
_TOTAL = "_total"


def claims(family: MetricFamily) -> set[str]:
    """Return the names that no other family on the page may have."""
    samples = (*PARTS, _CREATED) if family.type == "histogram" else ()
    return {family.name, *(family.name + suffix for suffix in samples)}


def escape_label(value: str) -> str:
    """Escape a label value: backslash, double quote and newline."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _escape_help(text: str, openmetrics: bool) -> str:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return escaped.replace('"', r"\"") if openmetrics else escaped


def label_block(labels: Mapping[str, str]) -> str:
    """Return ``{a="1",b="2"}``, or the empty string without labels."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{escape_label(value)}"' for name, value in labels.items()) + "}"


def number(value: float) -> str:
    """Format a sample value: integers without a fraction, floats as the shortest text that reads back the same."""
    if isinstance(value, int):
        return str(value)
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def sample(name: str, labels: Mapping[str, str], value: float) -> bytes:
    """Render one sample line."""
    return f"{name}{label_block(labels)} {number(value)}\n".encode()


def join(families: Iterable[MetricFamily]) -> list[MetricFamily]:
    """Join families of one name, in the order of first appearance; the first family's type and help hold."""
    by_name: dict[str, list[MetricFamily]] = {}
    for family in families:
        by_name.setdefault(family.name, []).append(family)
    return [_join(group) for group in by_name.values()]


def _join(group: Sequence[MetricFamily]) -> MetricFamily:
    first = group[0]
    if len(group) == 1:
        return first
    lines = list(chain.from_iterable(family.lines for family in group))
    parts = [list(chain.from_iterable(part)) for part in zip(*[family.parts for family in group], strict=True)]
    return MetricFamily(first.name, first.type, first.help, lines, parts=tuple(parts))


def _header(name: str, kind: str, text: str, openmetrics: bool) -> bytes:
    return f"# HELP {name} {_escape_help(text, openmetrics)}\n# TYPE {name} {kind}\n".encode()


def _text(family: MetricFamily) -> Iterator[bytes]:
    # A counter named just _total has an empty name for parsers that strip the suffix.
    kind = "untyped" if family.type == "unknown" or family.name == _TOTAL else family.type
    yield _header(family.name, kind, family.help, openmetrics=False)
    yield from family.lines


def _openmetrics(family: MetricFamily, names: Container[str]) -> Iterator[bytes]:
    """Yield a family's header and lines in OpenMetrics. ``names``: the names that all families on the page claim."""
    if family.parts:
        for suffix, lines in zip(PARTS, family.parts, strict=True):
            yield _header(family.name + suffix, "unknown", family.help, openmetrics=True)
            yield from lines
        return
    name, kind = family.name, str(family.type)
    if kind == "counter":
        name, kind = _counter(name, names)
    yield _header(name, kind, family.help, openmetrics=True)
    yield from family.lines


def _counter(name: str, names: Container[str]) -> tuple[str, str]:
    """Name and type of a counter in OpenMetrics. One of the stem ``x`` claims ``x_created`` too, as histograms do."""
    stem = name.removesuffix(_TOTAL)
    elder = stem.removesuffix(_CREATED) + _TOTAL if stem.endswith(_CREATED) else None
    if not stem or stem in names or stem + _CREATED in names or elder in names:
        return name, "unknown"
    return stem, "counter"


def in_steps(families: Iterable[MetricFamily], *, openmetrics: bool) -> Steps[list[bytes]]:
    """Return the page: every family that has lines, with its header; OpenMetrics ends with ``# EOF``.

    The page comes in pieces, none of them empty. A page of 100,000 rows has hundreds of megabytes, and joining them
    would hold the loop longer than rendering does. Small chunks are joined, large chunks are not copied.
    """
    shown = join(family for family in families if any(family.lines))
    yield
    names: set[str] = set()
    for number, family in enumerate(shown, 1):
        names |= claims(family)
        if number % STEP_CHUNKS == 0:
            yield
    joined: list[bytes] = []
    small: list[bytes] = []
    for number, chunk in enumerate(_chunks(shown, openmetrics, names), 1):
        if len(chunk) < PIECE_BYTES:
            small.append(chunk)
        else:
            joined += [b"".join(small), chunk]
            small = []
        if number % STEP_CHUNKS == 0:
            joined.append(b"".join(small))
            small = []
            yield
    return [piece for piece in (*joined, b"".join(small)) if piece]


def _chunks(families: Iterable[MetricFamily], openmetrics: bool, names: Container[str]) -> Iterator[bytes]:
    for family in families:
        yield from _openmetrics(family, names) if openmetrics else _text(family)
    if openmetrics:
        yield b"# EOF\n"


def pieces(families: Iterable[MetricFamily], *, openmetrics: bool) -> list[bytes]:
    """Run all steps of ``in_steps`` at once."""
    return finish(in_steps(families, openmetrics=openmetrics))


def render(families: Iterable[MetricFamily], *, openmetrics: bool) -> bytes:
    """Return the page, whole."""
    return b"".join(pieces(families, openmetrics=openmetrics))
