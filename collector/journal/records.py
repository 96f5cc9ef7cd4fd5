"""Log records: what one drain of the socket, or one scrape, adds to the state. Bytes out, bytes in.

A record is a msgpack array of entries, framed by ``seal``. An entry is an array that begins with its kind:

    [0, stream, birth_ms, sequence, now, body]   a batch both marks passed; body: msgpack as docs/wire.md has it,
                                                 empty where the batch was dropped
    [1, stream, now]                             a stream said bye
    [2, host, agent, creation]                   a scraper was shown every row up to this creation number

Rules:
- ``replay`` of the same records on the same snapshot makes the same state: merging decides on overflow and eviction by
  nothing but the rows that are there, when they were used, and ``now``, the running time of when the batch came.
- SQLite has no checksum of its own: each blob carries a CRC-32, so a torn or flipped one is found, not counted.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]

from collector.ingest.batch import read_batch
from collector.ingest.departed import StreamMark
from collector.ingest.intake import Drain
from collector.ingest.wire import WireError
from collector.journal.errors import JournalError
from collector.journal.state import State
from collector.table.scrapers import Scraper

BATCH, BYE, SCRAPE = 0, 1, 2
_CHECKSUM = struct.Struct(">I")


def seal(payload: bytes) -> bytes:
    """Bytes with their checksum in front."""
    return _CHECKSUM.pack(zlib.crc32(payload)) + payload


def unseal(blob: bytes) -> bytes:
    """The bytes that were sealed. Raises JournalError (``corrupt``)."""
    payload = blob[_CHECKSUM.size :]
    if len(blob) < _CHECKSUM.size or _CHECKSUM.unpack_from(blob)[0] != zlib.crc32(payload):
        raise JournalError("corrupt", "a record does not match its checksum")
    return payload


def unpack(blob: bytes) -> Any:
    """The value of a sealed msgpack blob. Raises JournalError (``corrupt``)."""
    try:
        return msgpack.unpackb(unseal(blob), use_list=False, unicode_errors="surrogateescape")
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise JournalError("corrupt", f"a record cannot be decoded: {error}") from None


def of_drain(drain: Drain) -> bytes | None:
    """The record of a drain; None if there is nothing to keep."""
    batches = [[BATCH, one.stream, one.birth_ms, one.sequence, one.now, one.body] for one in drain.accepted]
    entries = [*batches, *([BYE, one.stream, one.now] for one in drain.ended)]
    return seal(msgpack.packb(entries)) if entries else None


def of_scrape(scraper: Scraper, creation: int) -> bytes:
    """The record of a page that a scraper was given. Its user agent may be any bytes at all."""
    return seal(msgpack.packb([[SCRAPE, *scraper, creation]], unicode_errors="surrogateescape"))


def replay(state: State, record: bytes) -> None:
    """Apply a record to the state it was written for. Raises JournalError (``corrupt``)."""
    try:
        for kind, *fields in unpack(record):
            _APPLY[kind](state, *fields)
    except (WireError, ValueError, TypeError, KeyError) as error:
        raise JournalError("corrupt", f"an entry cannot be applied: {error}") from None


def _apply_batch(state: State, stream: bytes, birth_ms: int, sequence: int, now: float, body: bytes) -> None:
    families = read_batch(body) if body else ()
    state.table.merge(families, birth_ms, now)
    instance = families[0].shape.instance if families else None
    state.streams.restore(StreamMark(stream, birth_ms, sequence, now, None, instance))
    state.now = max(state.now, now)


def _apply_bye(state: State, stream: bytes, now: float) -> None:
    state.streams.end(stream, now)
    state.now = max(state.now, now)


def _apply_scrape(state: State, host: str, agent: str, creation: int) -> None:
    state.scrapers.note((host, agent), creation)


_APPLY: dict[int, Callable[..., None]] = {BATCH: _apply_batch, BYE: _apply_bye, SCRAPE: _apply_scrape}
