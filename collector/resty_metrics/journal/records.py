"""Log records: the additions of one drain of the socket, or of one scrape, to the state. Written and read as bytes.

A record is a msgpack array of entries, framed by ``seal``. An entry is an array that begins with its kind:

    [0, sender, birth_ms, sequence, now, body]   a batch that both marks passed; body: msgpack as in docs/wire.md,
                                                 empty if the batch was dropped
    [1, sender, now]                             a sender said bye
    [2, host, scraper, creation, regular]        a scraper was shown every row up to this creation number; the first two
                                                 are hashes (table/scrapers.py)
    [3, now, period, moment, creation, instance, name, scope, custom]
                                                 the rows of a family that these numbers cover were forgotten
                                                 (table/expiry.py)

Rules:
- ``replay`` of the same records on the same snapshot makes the same state: merging decides on overflow and eviction
  only by the existing rows, the times of their last use, and ``now``, the running time at which the batch arrived. An
  expiry depends on these, and on the numbers in its entry.
- An entry that cannot be applied costs no other entry. Its sender's mark moves all the same: its numbers may have been
  added in part and must not be counted again, and its worker was told that the batch is safe.
- The mark of a sender never goes back, in whatever order the records of a damaged file are read.
- SQLite has no checksums of its own: each blob carries a CRC-32, so a torn or altered one is detected, not counted.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgpack  # type: ignore[import-untyped]

from resty_metrics.ingest.departed import SenderMark
from resty_metrics.ingest.drain import Drain
from resty_metrics.journal.errors import JournalError
from resty_metrics.journal.state import State
from resty_metrics.shapes.shape import FamilyBatch, FamilyKey
from resty_metrics.table.expiry import Expiry
from resty_metrics.table.scrapers import Shown
from resty_metrics.wire.batch import read_batch
from resty_metrics.wire.datagram import WireError

BATCH, BYE, SCRAPE, EXPIRE = 0, 1, 2, 3
_CHECKSUM = struct.Struct(">I")
CHECKSUM_BYTES = _CHECKSUM.size


def seal(payload: bytes) -> bytes:
    """Return the bytes with their CRC-32 in front, 4 bytes in network order."""
    return _CHECKSUM.pack(zlib.crc32(payload)) + payload


def unseal(blob: bytes) -> bytes:
    """Check the CRC-32 of a sealed blob, and return its payload. Raises JournalError (``corrupt``)."""
    payload = blob[_CHECKSUM.size :]
    if len(blob) < _CHECKSUM.size or _CHECKSUM.unpack_from(blob)[0] != zlib.crc32(payload):
        raise JournalError("corrupt", "a record does not match its checksum")
    return payload


def unpack(blob: bytes) -> Any:
    """Return the value of a sealed msgpack blob. Raises JournalError (``corrupt``)."""
    try:
        return msgpack.unpackb(unseal(blob), use_list=False, unicode_errors="surrogateescape")
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise JournalError("corrupt", f"a record cannot be decoded: {error}") from None


def of_drain(drain: Drain) -> bytes | None:
    """Return the record of a drain; None if there is nothing to write."""
    batches = [[BATCH, batch.sender, batch.birth_ms, batch.sequence, batch.now, batch.body] for batch in drain.accepted]
    entries = [*batches, *([BYE, bye.sender, bye.now] for bye in drain.ended)]
    return seal(msgpack.packb(entries)) if entries else None


def of_page(shown: Sequence[Shown]) -> bytes:
    """Return the record of a page that was shown to these scrapers."""
    return seal(msgpack.packb([[SCRAPE, *scraper, creation, regular] for scraper, creation, regular in shown]))


def of_expiry(keys: Iterable[FamilyKey], expiry: Expiry) -> bytes:
    """Return the record of an expiry in these families, an entry for each of them."""
    numbers = (expiry.now, expiry.period, expiry.moment, expiry.creation)
    entries = [[EXPIRE, *numbers, key.instance, key.name, key.scope, key.custom] for key in keys]
    return seal(msgpack.packb(entries))


def read_shown(host: bytes, name: bytes, creation: int, regular: bool) -> Shown:
    """Return the scraper and the page of an entry. Raises ValueError if its types are wrong."""
    if type(creation) is not int or type(regular) is not bool:
        raise ValueError("a scraper was shown a number, and is regular or not")
    if type(host) is not bytes or type(name) is not bytes:
        raise ValueError("a scraper is two hashes")
    return (host, name), creation, regular


@dataclass(slots=True)
class Replayed:
    """The outcome of replayed records. ``rows``: number of applied rows. ``error``: that of the first lost entry."""

    rows: int = 0
    lost_rows: int = 0
    lost_entries: int = 0
    error: Exception | None = None


def replay(state: State, record: bytes, replayed: Replayed | None = None) -> Replayed:
    """Apply as much of a record as possible to the state for which it was written. Return the outcome, added to
    ``replayed`` if it is given.

    Raises JournalError (``corrupt``) if the record cannot be read at all; then nothing of it is applied.
    """
    replayed = Replayed() if replayed is None else replayed
    entries = unpack(record)
    if type(entries) is not tuple:
        raise JournalError("corrupt", "a record is not an array")
    for entry in entries:
        try:
            kind, *fields = entry
            _APPLY[kind](state, replayed, *fields)
        except Exception as error:  # even a bug must cost no more than the entry in which it occurs
            replayed.lost_entries += 1
            replayed.error = replayed.error or error
    return replayed


def _apply_batch(
    state: State, replayed: Replayed, sender: bytes, birth_ms: int, sequence: int, now: float, body: bytes
) -> None:
    mark = SenderMark(sender, birth_ms, max(sequence, state.senders.committed(sender)), now, None)
    rows = 0
    families: Sequence[FamilyBatch] = ()
    try:
        families = read_batch(body) if body else ()
        rows = sum(len(family.labels) for family in families)
        failures = state.table.merge(families, birth_ms, now)
        failed = sum(failure.rows for failure in failures)
        replayed.rows += rows - failed
        replayed.lost_rows += failed
        replayed.lost_entries += bool(failures)
        replayed.error = replayed.error or (failures[0].error if failures else None)
    except Exception as error:
        replayed.lost_rows += error.rows if isinstance(error, WireError) else rows
        raise
    finally:
        instance = families[0].shape.instance if families else None
        state.senders.restore(replace(mark, instance=instance))
        state.now = max(state.now, now)


def _apply_bye(state: State, _: Replayed, sender: bytes, now: float) -> None:
    state.senders.end(sender, now)
    state.now = max(state.now, now)


def _apply_scrape(state: State, _: Replayed, *fields: Any) -> None:
    state.scrapers.restore([read_shown(*fields)], state.now)


def _apply_expiry(
    state: State,
    _: Replayed,
    now: float,
    period: float,
    moment: float,
    creation: int,
    instance: str,
    name: str,
    scope: str,
    custom: bool,
) -> None:
    state.table.expire(FamilyKey(name, custom, scope, instance), Expiry(now, period, moment, creation))
    state.now = max(state.now, now)


_APPLY: dict[int, Callable[..., None]] = {
    BATCH: _apply_batch,
    BYE: _apply_bye,
    SCRAPE: _apply_scrape,
    EXPIRE: _apply_expiry,
}
