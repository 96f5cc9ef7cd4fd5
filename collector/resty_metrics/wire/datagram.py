"""The bytes between a worker and the collector, as docs/wire.md fixes them: datagrams in, answers out.

Whatever comes in is hostile until read: any bytes at all give either a value or a ``WireError``.

Rules:
- The header is read without msgpack, so that a refusal can name sender and sequence.
- Bodies are read where their kind is: ``batch`` and ``heartbeat`` beside this module.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Any, Final, Literal

import msgpack  # type: ignore[import-untyped]

VERSION = 2
MAX_DATAGRAM = 61_440
# A row with one label takes at least 4 bytes: an array that claims more elements than this is not genuine.
_MAX_ELEMENTS = 16_384

_HEADER = struct.Struct(">4sBBH16sQQQ")
_ANSWER = struct.Struct(">4sBBBB16sQQ")
_DATAGRAM_MAGIC = b"RSTM"
_ANSWER_MAGIC = b"RSTA"
HEADER_BYTES: Final = _HEADER.size
ANSWER_BYTES: Final = _ANSWER.size

WireReason = Literal["truncated", "magic", "undecodable", "invalid"]


@unique
class Kind(IntEnum):
    BATCH = 1
    HEARTBEAT = 2
    BYE = 3
    PROBE = 4


@unique
class Verdict(IntEnum):
    ACK = 1
    HOLD = 2
    DROP = 3


@unique
class Reason(IntEnum):
    NONE = 0
    VERSION = 1
    NOT_READY = 2
    SENDER_CAP = 3
    UID = 4
    UNDECODABLE = 16
    INVALID = 17


class WireError(ValueError):
    """Bytes that docs/wire.md does not allow. ``rows`` is the number of rows that they claimed to hold, where known."""

    def __init__(self, reason: WireReason, detail: str, rows: int = 0) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: WireReason = reason
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed front of a datagram. ``kind`` may be one that this version does not know."""

    version: int
    kind: int
    sender: bytes
    birth_ms: int
    sequence: int
    base: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The collector's reply to a datagram; ``kind``, ``sender`` and ``sequence`` are the datagram's."""

    verdict: Verdict
    reason: Reason
    kind: int
    sender: bytes
    sequence: int
    committed: int


def read_header(datagram: bytes) -> Header:
    """Read the header of a datagram, of any version. Raises WireError ``truncated`` or ``magic``."""
    if len(datagram) < HEADER_BYTES:
        raise WireError("truncated", f"{len(datagram)} bytes")
    magic, version, kind, _, sender, birth_ms, sequence, base = _HEADER.unpack_from(datagram)
    if magic != _DATAGRAM_MAGIC:
        raise WireError("magic", repr(magic))
    return Header(version, kind, sender, birth_ms, sequence, base)


def write_datagram(header: Header, body: Mapping[str, Any]) -> bytes:
    """Write a datagram: for the collector's own probe, ``doctor`` and tests."""
    front = _HEADER.pack(
        _DATAGRAM_MAGIC, header.version, header.kind, 0, header.sender, header.birth_ms, header.sequence, header.base
    )
    packed: bytes = msgpack.packb(body, unicode_errors="surrogateescape")
    return front + packed


def write_answer(verdict: Verdict, reason: Reason, header: Header, committed: int) -> bytes:
    """Write the 40 bytes that answer the datagram with this header."""
    return _ANSWER.pack(_ANSWER_MAGIC, VERSION, verdict, reason, header.kind, header.sender, header.sequence, committed)


def read_answer(answer: bytes) -> Answer:
    """Read an answer as a worker does: for ``doctor`` and tests. Raises WireError.

    An answer of another version comes from a collector that does not know ours, so it means hold, whatever else it
    contains.
    """
    if len(answer) != ANSWER_BYTES:
        raise WireError("truncated", f"{len(answer)} bytes")
    magic, version, verdict, reason, kind, sender, sequence, committed = _ANSWER.unpack(answer)
    if magic != _ANSWER_MAGIC:
        raise WireError("magic", repr(magic))
    if version != VERSION:
        return Answer(Verdict.HOLD, Reason.VERSION, kind, sender, sequence, 0)
    try:
        return Answer(Verdict(verdict), Reason(reason), kind, sender, sequence, committed)
    except ValueError as error:
        raise WireError("invalid", str(error)) from None


def read_map(body: bytes) -> dict[str, Any]:
    """Read the msgpack map behind a header. Raises WireError ``undecodable`` or ``invalid``."""
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
