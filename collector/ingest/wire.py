"""The bytes between a worker and the collector, as docs/wire.md fixes them: datagrams in, answers out.

Whatever comes in is hostile until read: any bytes at all give either a value or a ``WireError``.

Rules:
- The header is read without msgpack, so that a refusal can name stream and sequence.
- A batch is validated whole before anything of it is used. The checks run over all its numbers at once in C; only a
  batch with floats in it is looked at number by number.
- A bool is not a number. Keys that are not known are ignored.
"""

import re
import struct
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from itertools import chain, pairwise
from typing import Any, Final, Literal, TypeVar

import msgpack  # type: ignore[import-untyped]

from collector.ingest.heartbeat import Heartbeat, Master, NginxCounters, WorkerGauges
from collector.table.shapes import (
    COUNTER_COLUMNS,
    REQUEST_COLUMNS,
    REQUEST_LABELS,
    REQUESTS,
    FamilyBatch,
    RawRow,
    Shape,
)

VERSION = 1
MAX_DATAGRAM = 61_440
MAX_NUMBER = 2**53
MAX_LABELS = 32
MAX_BOUNDS = 256
MAX_HELP_CHARACTERS = 1_024
MAX_MODULE_CHARACTERS = 64
# A row with one label takes at least 4 bytes: more elements than this in one array are a claim, not data.
_MAX_ELEMENTS = 16_384

_HEADER = struct.Struct(">4sBBH16sQQQ")
_ANSWER = struct.Struct(">4sBBBB16sQQ")
_DATAGRAM_MAGIC = b"RSTM"
_ANSWER_MAGIC = b"RSTA"
HEADER_BYTES: Final = _HEADER.size
ANSWER_BYTES: Final = _ANSWER.size

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)

_Part = TypeVar("_Part", Master, NginxCounters, WorkerGauges)
WireReason = Literal["truncated", "magic", "undecodable", "invalid"]


class Kind(IntEnum):
    BATCH = 1
    HEARTBEAT = 2
    BYE = 3
    PROBE = 4


class Verdict(IntEnum):
    ACK = 1
    HOLD = 2
    DROP = 3


class Reason(IntEnum):
    NONE = 0
    VERSION = 1
    NOT_READY = 2
    STREAM_CAP = 3
    UID = 4
    UNDECODABLE = 16
    INVALID = 17


class WireError(ValueError):
    """Bytes that are not what docs/wire.md says. ``rows`` is how many rows they claimed to hold, where known."""

    def __init__(self, reason: WireReason, detail: str, rows: int = 0) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: WireReason = reason
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed front of a datagram. ``kind`` may be one that this version does not know."""

    version: int
    kind: int
    stream: bytes
    birth_ms: int
    sequence: int
    base: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the collector says about a datagram; ``kind``, ``stream`` and ``sequence`` are the datagram's."""

    verdict: Verdict
    reason: Reason
    kind: int
    stream: bytes
    sequence: int
    committed: int


def read_header(datagram: bytes) -> Header:
    """The header of a datagram, of any version. Raises WireError ``truncated`` or ``magic``."""
    if len(datagram) < HEADER_BYTES:
        raise WireError("truncated", f"{len(datagram)} bytes")
    magic, version, kind, _, stream, birth_ms, sequence, base = _HEADER.unpack_from(datagram)
    if magic != _DATAGRAM_MAGIC:
        raise WireError("magic", repr(magic))
    return Header(version, kind, stream, birth_ms, sequence, base)


def write_datagram(header: Header, body: Mapping[str, Any]) -> bytes:
    """A datagram: for the collector's own probe, ``doctor`` and tests."""
    front = _HEADER.pack(
        _DATAGRAM_MAGIC, header.version, header.kind, 0, header.stream, header.birth_ms, header.sequence, header.base
    )
    packed: bytes = msgpack.packb(body, unicode_errors="surrogateescape")
    return front + packed


def write_answer(verdict: Verdict, reason: Reason, header: Header, committed: int) -> bytes:
    """The 40 bytes that answer the datagram with this header."""
    return _ANSWER.pack(_ANSWER_MAGIC, VERSION, verdict, reason, header.kind, header.stream, header.sequence, committed)


def read_answer(answer: bytes) -> Answer:
    """An answer, read as a worker reads it: for ``doctor`` and tests. Raises WireError."""
    if len(answer) != ANSWER_BYTES:
        raise WireError("truncated", f"{len(answer)} bytes")
    magic, version, verdict, reason, kind, stream, sequence, committed = _ANSWER.unpack(answer)
    if magic != _ANSWER_MAGIC:
        raise WireError("magic", repr(magic))
    try:
        return Answer(Verdict(verdict), Reason(reason), kind, stream, sequence, committed)
    except ValueError as error:
        raise WireError("invalid", f"version {version}: {error}") from None


def read_map(body: bytes) -> dict[str, Any]:
    """The msgpack map behind a header. Raises WireError ``undecodable`` or ``invalid``."""
    if len(body) > MAX_DATAGRAM - HEADER_BYTES:
        raise WireError("invalid", f"{len(body)} bytes of body")
    try:
        value = msgpack.unpackb(
            body,
            use_list=False,
            raw=False,
            unicode_errors="backslashreplace",
            strict_map_key=True,
            max_array_len=_MAX_ELEMENTS,
            max_map_len=_MAX_ELEMENTS,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError, msgpack.UnpackException) as error:
        raise WireError("undecodable", f"{type(error).__name__}: {error}") from None
    if type(value) is not dict:
        raise WireError("invalid", "the body is not a map")
    return value


def read_batch(body: bytes) -> tuple[FamilyBatch, ...]:
    """The families of a batch, all of them valid. Raises WireError ``undecodable`` or ``invalid``."""
    families = read_map(body).get("families")
    if type(families) is not tuple:
        raise WireError("invalid", "families is not an array")
    try:
        return tuple([_read_family(family) for family in families])
    except WireError as error:
        error.rows = _claimed_rows(families)
        raise


def _claimed_rows(families: tuple[Any, ...]) -> int:
    rows = [family.get("rows") for family in families if type(family) is dict]
    return sum(len(some) for some in rows if type(some) is tuple)


def _require(condition: bool, detail: str) -> None:
    if not condition:
        raise WireError("invalid", detail)


def _read_family(family: Any) -> FamilyBatch:
    _require(type(family) is dict, "a family is not a map")
    shape = _read_shape(family)
    text = family.get("help", "")
    _require(type(text) is str, "help is not a string")
    rows = _read_rows(family.get("rows"), len(shape.labels), shape.width)
    return FamilyBatch(shape, text[:MAX_HELP_CHARACTERS], family.get("inherited") is True, rows)


def _read_shape(family: dict[str, Any]) -> Shape:
    value: Callable[[str], Any] = family.get
    name, kind, labels, bounds, columns = map(value, ("name", "type", "labels", "bounds", "columns"))
    _require(type(name) is str and _METRIC_NAME.fullmatch(name) is not None, "name")
    _check_labels(labels)
    if kind == "requests":
        _check_bounds(bounds)
        _require(name == REQUESTS, "requests under another name")
        _require(labels[: len(REQUEST_LABELS)] == REQUEST_LABELS and "le" not in labels, "labels of requests")
        _require(columns == REQUEST_COLUMNS, "columns of requests")
    else:
        _require(kind == "counter", "type")
        _require(name != REQUESTS, "a counter under the name of requests")
        _require(bounds is None and columns == COUNTER_COLUMNS, "columns of a counter")
    return Shape(name, kind, labels, bounds, columns)


def _check_labels(labels: Any) -> None:
    _require(type(labels) is tuple and len(labels) <= MAX_LABELS, "labels")
    names = [name for name in labels if type(name) is str and _LABEL_NAME.fullmatch(name)]
    _require(len(names) == len(labels) == len(set(names)), "label names")


def _check_bounds(bounds: Any) -> None:
    _require(type(bounds) is tuple and len(bounds) <= MAX_BOUNDS, "bounds")
    _require({int}.issuperset(map(type, bounds)), "a bound is not an integer")
    _require(all(0 <= bound <= MAX_NUMBER for bound in bounds), "a bound is out of range")
    _require(all(low < high for low, high in pairwise(bounds)), "bounds do not increase")


def _read_rows(rows: Any, labels: int, width: int) -> tuple[RawRow, ...]:
    _require(type(rows) is tuple and {tuple}.issuperset(map(type, rows)), "rows")
    _require({labels + width}.issuperset(map(len, rows)), "length of a row")
    columns = list(zip(*rows, strict=True))
    try:
        for column in columns[:labels]:
            "".join(column)
    except TypeError:
        raise WireError("invalid", "a label value is not a string") from None
    _check_numbers(list(chain.from_iterable(columns[labels:])))
    checked: tuple[RawRow, ...] = rows
    return checked


def _check_numbers(numbers: list[Any]) -> None:
    if list(map(type, numbers)).count(int) == len(numbers):
        try:
            array("Q", numbers)  # the quickest way to meet a negative one
        except OverflowError:
            raise WireError("invalid", "a negative number") from None
        _require(sum(numbers) <= MAX_NUMBER or max(numbers) <= MAX_NUMBER, "a number above 2^53")
    else:
        _require({int, float}.issuperset(map(type, numbers)), "not a number")
        # False for NaN too.
        _require(all(0 <= number <= MAX_NUMBER for number in numbers), "a number out of range")


def read_heartbeat(body: bytes) -> Heartbeat:
    """The gauges of a heartbeat. Raises WireError ``undecodable`` or ``invalid``."""
    value = read_map(body)
    return Heartbeat(
        module=_optional(value, "module", str),
        worker=_optional(value, "worker", int),
        workers=_optional(value, "workers", int),
        pid=_optional(value, "pid", int),
        exiting=_optional(value, "exiting", bool),
        master=_part(value, "master", Master, int),
        nginx=_part(value, "nginx", NginxCounters, int),
        gauges=_part(value, "gauges", WorkerGauges, int, float),
    )


def _optional(value: dict[str, Any], name: str, *types: type) -> Any:
    found = value.get(name)
    _require(found is None or type(found) in types, f"heartbeat: {name}")
    _require(type(found) is not int or found >= 0, f"heartbeat: {name} is negative")
    _require(type(found) is not str or len(found) <= MAX_MODULE_CHARACTERS, f"heartbeat: {name} is long")
    return found


def _part(value: dict[str, Any], name: str, part: type[_Part], *types: type) -> _Part | None:
    found = _optional(value, name, dict)
    if found is None:
        return None
    return part(**{field.name: _optional(found, field.name, *types) for field in fields(part)})
