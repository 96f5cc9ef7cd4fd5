"""A snapshot: a whole state as a sequence of blobs, each a sealed msgpack array that begins with its kind.

    ["state", now, max_rows, max_families, next_creation, lost_rows, mistyped_rows, max_instances, refused_rows,
     failed_rows, max_table_rows, max_table_bytes, max_table_families, scanned, evicted_instances, evicted_families]
                                                                                        the first one
    ["family", name, type, labels, bounds, columns, scale, scope, custom, help, birth_ms, overflow, evicted, scanned,
     instance, used, expired]
    ["rows", [creation, labels, numbers, used], ...]                      of the family before it, ROWS_PER_PART each
    ["senders", [name, birth_ms, committed, seen, ended, instance], ...]
    ["scrapers", [host, scraper, creation, regular], ...]                  as in records.py
    ["end", parts, checksum]                                              the last one

Rules:
- A snapshot is read whole or not at all: ``end`` has the number of the parts before it, and a CRC-32 of all of their
  checksums. In a damaged file SQLite may read a page twice, or skip one, and each part on it is valid by itself.
- A sum may outgrow 64 bits, which msgpack cannot write: such a number is written as its decimal text.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import msgpack  # type: ignore[import-untyped]

from resty_metrics.ingest.departed import SenderMark
from resty_metrics.ingest.senders import Senders
from resty_metrics.journal.errors import JournalError
from resty_metrics.journal.records import CHECKSUM_BYTES, read_shown, seal, unpack
from resty_metrics.journal.state import Capture, State
from resty_metrics.shapes.shape import Shape
from resty_metrics.shapes.sums import Numbers, reader, sums_of
from resty_metrics.table.families import FamilyState
from resty_metrics.table.scrapers import Scrapers
from resty_metrics.table.table import Table, TableState

ROWS_PER_PART = 500
_MIN_SIGNED, _MAX_UNSIGNED = -(2**63), 2**64 - 1  # of msgpack


def _pack(kind: str, *values: Any) -> bytes:
    return seal(msgpack.packb([kind, *values], unicode_errors="surrogateescape"))


def write(capture: Capture) -> Iterator[bytes]:
    """Yield the parts of a snapshot, in order."""
    count, checksum = 0, 0
    for part in _write(capture):
        count, checksum = count + 1, _add(checksum, part)
        yield part
    yield _pack("end", count, checksum)


def _add(checksum: int, part: bytes) -> int:
    return zlib.crc32(part[:CHECKSUM_BYTES], checksum)


def _write(capture: Capture) -> Iterator[bytes]:
    table = capture.table
    lost = (table.lost_rows, table.mistyped_rows)
    counts = (table.max_instances, table.refused_rows, table.failed_rows)
    of_room = (table.max_table_rows, table.max_table_bytes, table.max_table_families, table.scanned)
    gave_way = (table.evicted_instances, table.evicted_families)
    caps = (table.max_rows, table.max_families)
    yield _pack("state", capture.now, *caps, table.next_creation, *lost, *counts, *of_room, *gave_way)
    for family in table.families:
        yield from _write_family(family)
    marks = [
        (mark.name, mark.birth_ms, mark.committed, mark.last_seen, mark.ended, mark.instance)
        for mark in capture.senders
    ]
    yield _pack("senders", *marks)
    yield _pack("scrapers", *[(*scraper, creation, regular) for scraper, creation, regular in capture.scrapers])


def _write_family(family: FamilyState) -> Iterator[bytes]:
    shape, numbers = family.shape, reader(family.shape.width)
    yield _pack(
        "family",
        *(shape.name, shape.type, shape.labels, shape.bounds, shape.columns),
        *(shape.scale, shape.scope, shape.custom),
        *(family.help, family.birth_ms, family.overflow, family.evicted, family.scanned),
        *(shape.instance, family.used, family.expired),
    )
    for start in range(0, len(family.rows), ROWS_PER_PART):
        part = family.rows[start : start + ROWS_PER_PART]
        rows = [(created, labels, numbers(sums), used) for created, labels, sums, used in part]
        try:
            yield _pack("rows", *rows)
        except OverflowError:
            yield _pack(
                "rows", *[(created, labels, _as_text(numbers), used) for created, labels, numbers, used in rows]
            )


def _as_text(numbers: Numbers) -> list[float | str]:
    return [
        str(number) if isinstance(number, int) and not _MIN_SIGNED <= number <= _MAX_UNSIGNED else number
        for number in numbers
    ]


def read(parts: Sequence[bytes]) -> State:
    """Return the state in a snapshot. Raises JournalError (``corrupt``) if a part is missing or malformed."""
    values = [unpack(part) for part in parts]
    try:
        kinds = [value[0] for value in values]
        if not kinds or kinds[0] != "state" or kinds[-1] != "end":
            raise JournalError("corrupt", "the snapshot is not whole")
        if values[-1] != ("end", len(parts) - 1, reduce(_add, parts[:-1], 0)):
            raise JournalError("corrupt", "parts of the snapshot are missing, or there twice")
        return _read(values)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise JournalError("corrupt", f"the snapshot cannot be read: {error}") from None


def _read(values: Sequence[Any]) -> State:
    _, now, max_rows, max_families, next_creation, lost_rows, mistyped_rows, *counts = values[0]
    families: list[FamilyState] = []
    senders, scrapers = Senders(), Scrapers()
    for kind, *fields in values[1:-1]:
        if kind == "family":
            families.append(_read_family(*fields))
        elif kind == "rows":
            families[-1].rows.extend(_read_row(*row) for row in fields)  # type: ignore[attr-defined]
        elif kind == "senders":
            for mark in fields:
                senders.restore(SenderMark(*mark))
        elif kind == "scrapers":
            scrapers.restore([read_shown(*shown) for shown in fields], now)
        else:
            raise ValueError(f"part {kind!r}")
    caps = (max_rows, max_families, next_creation)
    table = TableState(*caps, lost_rows, mistyped_rows, families, *counts)
    return State(Table.restore(table), senders, scrapers, now)


def _read_family(*fields: Any) -> FamilyState:
    text, birth_ms, overflow, evicted, scanned, instance, used, *expired = fields[8:]
    shape = replace(Shape(*fields[:8]), instance=instance)
    return FamilyState(shape, text, birth_ms, overflow, evicted, scanned, [], used, *expired)


def _read_row(created: int, labels: Any, numbers: Any, used: float) -> tuple[int, Any, Any, float]:
    if str in map(type, numbers):
        numbers = [int(number) if type(number) is str else number for number in numbers]
    return created, labels, sums_of(numbers), used
