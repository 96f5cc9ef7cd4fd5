"""The running numbers of a row in one object, made for fast addition and little memory.

Numbers that can only grow are nearly always small integers. *Packed*, each of them is a lane of 64 bits in one integer:
twenty numbers are added by one addition, and take 200 bytes instead of 400 (docs/decisions/0024-numbers-in-lanes.md).

Rules:
- A lane of a batch is at most 2^53, a lane of a row below 2^63: so their sum never runs into the next lane, and
  ``guard`` shows which sums may not stay packed.
- Numbers that do not fit a lane (a float, a negative sum, 2^63 and more) are a plain tuple.
- Packing never changes a number: an integer stays an integer, to the last digit. A row that is not packed is not tried
  again.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import add
from struct import Struct
from typing import Any, Literal

MAX_COUNT = 2**53
LANE_BITS = 64

Numbers = Sequence[float]
Sums = int | tuple[float, ...]
Deltas = bytes | Sequence[tuple[float, ...]]  # of many rows: all lanes in sequence, or the numbers of each row

_LANE_BYTES = LANE_BITS // 8
_LANE = "Q"
_ORDER: Literal["little", "big"] = "little" if array(_LANE, [1]).tobytes()[0] else "big"  # the byte order of array


def pack(counts: Sequence[Any]) -> bytes | None:
    """Pack counts as lanes. Return None if any of them is no integer, negative or above 2^53; a bool is no integer."""
    lanes = _lanes(counts)
    return lanes if lanes is None or sum(counts) <= MAX_COUNT or max(counts) <= MAX_COUNT else None


def pack_rows(rows: Sequence[tuple[Any, ...]]) -> Deltas:
    """Pack rows of counts one behind the other.

    Rows that cannot be packed are returned as they are; mostly the first row already shows that.
    """
    lanes = pack([*chain.from_iterable(rows)]) if _are_integers(rows[0] if rows else ()) else None
    return rows if lanes is None else lanes


def rows_of(deltas: Deltas, width: int) -> Sequence[Numbers]:
    """Return the numbers of each row, ``width`` of them."""
    return [*map(reader(width), split(deltas, width))] if isinstance(deltas, bytes) else deltas


def split(lanes: bytes, width: int) -> list[int]:
    """Split lanes into rows of ``width`` counts each. Each row stays packed, as one integer."""
    read, order, size = int.from_bytes, _ORDER, width * _LANE_BYTES
    return [read(lanes[place : place + size], order) for place in range(0, len(lanes), size)]


def sums_of(numbers: Numbers) -> Sums:
    """Pack numbers, if they may be packed."""
    lanes = _lanes(numbers)
    packed = None if lanes is None else int.from_bytes(lanes, _ORDER)
    return tuple(numbers) if packed is None or packed & guard(len(numbers)) else packed


def plus(left: Sums, right: Sums, width: int) -> Sums:
    """Add two rows of ``width`` numbers."""
    if isinstance(left, tuple) and isinstance(right, tuple):
        return tuple(map(add, left, right))
    if isinstance(left, int) and isinstance(right, int) and not (total := left + right) & guard(width):
        return total
    read = reader(width)
    return tuple(map(add, read(left), read(right)))


def total(rows: Iterable[Sums], width: int) -> Sums:
    """Add up all rows, of ``width`` numbers each."""
    result: Sums = 0
    full = guard(width)
    for sums in rows:
        if type(result) is int and type(sums) is int and not (more := result + sums) & full:
            result = more
        else:
            result = plus(result, sums, width)
    return result


@lru_cache(maxsize=256)
def reader(width: int) -> Callable[[Sums], tuple[float, ...]]:
    """Return a function that gives the ``width`` numbers of a row."""
    lanes, order = Struct(f"={width}{_LANE}"), _ORDER
    size, unpack = lanes.size, lanes.unpack

    def read(sums: Sums) -> tuple[float, ...]:
        return sums if isinstance(sums, tuple) else unpack(sums.to_bytes(size, order))

    return read


@lru_cache(maxsize=256)
def guard(width: int) -> int:
    """Return a packed row in which each lane has nothing but its highest bit."""
    return sum(1 << (LANE_BITS * (lane + 1) - 1) for lane in range(width))


def _are_integers(numbers: Sequence[Any]) -> bool:
    return list(map(type, numbers)).count(int) == len(numbers)


def _lanes(numbers: Sequence[Any]) -> bytes | None:
    if not _are_integers(numbers):
        return None
    try:
        return array(_LANE, numbers).tobytes()  # the fastest test for negative numbers
    except OverflowError:
        return None
