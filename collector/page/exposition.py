"""Metric families as text: the one place that knows the exposition formats.

Sources: Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats) and OpenMetrics 1.0
(github.com/prometheus/OpenMetrics). Sample lines are the same bytes in both, so whoever makes a family renders its
lines once; only the headers differ and are written here.

Rules:
- A family's lines are contiguous: families of one name, from several sources, are joined under the first one's header.
- An OpenMetrics counter is named without ``_total`` in its header; a counter whose name lacks the suffix (as
  nginx-prometheus-exporter's), or which would then have another family's name or that of one of its samples (as vts's
  ``..._seconds_total`` beside ``..._seconds``), is ``unknown`` there, its name unchanged.
- ``le`` is written as prometheus-client writes it (``1.0``).
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from collector.page.steps import Steps, finish

MetricType = Literal["counter", "gauge", "histogram", "unknown"]
PIECE_BYTES = 4_096  # chunks of this size are pieces of their own
STEP_CHUNKS = 2_000  # so many headers and chunks are put together in a step


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """One metric family, its sample lines already rendered.

    ``name`` is the name in the text format (a counter's with ``_total``). Each chunk of ``lines`` holds whole sample
    lines, UTF-8, each ended by a newline; or nothing. ``custom``: made by the user's Lua code. ``instance``: the nginx
    that all lines are of, "" for one without a name; None: the collector itself.
    """

    name: str
    type: MetricType
    help: str
    lines: Sequence[bytes]
    custom: bool = False
    instance: str | None = None


_HISTOGRAM_SAMPLES = ("_bucket", "_sum", "_count", "_created")


def claims(family: MetricFamily) -> set[str]:
    """The names that no other family on the page may have."""
    samples = _HISTOGRAM_SAMPLES if family.type == "histogram" else ()
    return {family.name, *(family.name + suffix for suffix in samples)}


def escape_label(value: str) -> str:
    """Escape a label value: backslash, double quote and newline."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _escape_help(text: str, openmetrics: bool) -> str:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return escaped.replace('"', r"\"") if openmetrics else escaped


def label_block(labels: Mapping[str, str]) -> str:
    """``{a="1",b="2"}``, or the empty string without labels."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{escape_label(value)}"' for name, value in labels.items()) + "}"


def number(value: float) -> str:
    """A sample value: integers without a fraction, floats as the shortest text that reads back the same."""
    if isinstance(value, int):
        return str(value)
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def sample(name: str, labels: Mapping[str, str], value: float) -> bytes:
    """One sample line."""
    return f"{name}{label_block(labels)} {number(value)}\n".encode()


def join(families: Iterable[MetricFamily]) -> list[MetricFamily]:
    """Families of one name become one, in the order of first appearance; the first one's type and help hold."""
    by_name: dict[str, list[MetricFamily]] = {}
    for family in families:
        by_name.setdefault(family.name, []).append(family)
    return [_join(some) for some in by_name.values()]


def _join(some: Sequence[MetricFamily]) -> MetricFamily:
    first = some[0]
    if len(some) == 1:
        return first
    return MetricFamily(first.name, first.type, first.help, list(chain.from_iterable(one.lines for one in some)))


def _header(family: MetricFamily, openmetrics: bool, names: Container[str]) -> bytes:
    """``names``: what all families on the page claim."""
    name, kind = family.name, str(family.type)
    if openmetrics and kind == "counter":
        stem = name.removesuffix("_total")
        if stem in names or f"{stem}_created" in names:
            kind = "unknown"
        else:
            name = stem
    if not openmetrics and kind == "unknown":
        kind = "untyped"
    return f"# HELP {name} {_escape_help(family.help, openmetrics)}\n# TYPE {name} {kind}\n".encode()


def in_steps(families: Iterable[MetricFamily], *, openmetrics: bool) -> Steps[list[bytes]]:
    """Return the page: every family that has lines, with its header; OpenMetrics ends with ``# EOF``.

    In pieces, none of them empty: a page of 100,000 rows has hundreds of megabytes, and joining them would hold the
    loop longer than rendering does. What is small is joined, what is large is not copied.
    """
    shown = [family for family in join(families) if any(family.lines)]
    yield
    names: set[str] = set()
    for number, family in enumerate(shown, 1):
        names |= claims(family)
        if number % STEP_CHUNKS == 0:
            yield
    found: list[bytes] = []
    small: list[bytes] = []
    for number, chunk in enumerate(_chunks(shown, openmetrics, names), 1):
        if len(chunk) < PIECE_BYTES:
            small.append(chunk)
        else:
            found += [b"".join(small), chunk]
            small = []
        if number % STEP_CHUNKS == 0:
            found.append(b"".join(small))
            small = []
            yield
    return [piece for piece in (*found, b"".join(small)) if piece]


def _chunks(families: Iterable[MetricFamily], openmetrics: bool, names: Container[str]) -> Iterator[bytes]:
    for family in families:
        yield _header(family, openmetrics, names)
        yield from family.lines
    if openmetrics:
        yield b"# EOF\n"


def pieces(families: Iterable[MetricFamily], *, openmetrics: bool) -> list[bytes]:
    """Do all of ``in_steps`` at once."""
    return finish(in_steps(families, openmetrics=openmetrics))


def render(families: Iterable[MetricFamily], *, openmetrics: bool) -> bytes:
    """Return the page, whole."""
    return b"".join(pieces(families, openmetrics=openmetrics))
