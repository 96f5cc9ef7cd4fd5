"""The heartbeats of one sender, and the bounds on the gauges of all senders together.

Rules:
- A beat of several parts counts once all parts have arrived. A part of a later beat ends the wait for the earlier one.
- A label set appears once in a beat: a row that repeats a label set is refused.
- The rows of the user's gauges are bounded for each sender and over all of them, by number and by bytes. Rows that find
  no room are refused and counted; the rest of the beat is kept.
- The room of a sender is released when it ends, falls silent, or never completes a beat.
- While a beat arrives, the previous one stays valid. A sender is charged for the larger of the two.
- ``now`` is seconds of a monotonic clock.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from operator import itemgetter
from typing import Literal

from resty_metrics.wire.gauge_family import GaugeFamily
from resty_metrics.wire.heartbeat import Dict, Heartbeat, join

BEAT_SECONDS = 5.0
MISSED_BEATS = 3
GAUGES_SECONDS = BEAT_SECONDS * MISSED_BEATS
MAX_INSTANCES = 64  # the same as in the table

_DICT_BYTES = 256  # the objects that hold the entry of one of nginx's shared dictionaries

Refusal = Literal["worker_cap", "total_cap", "duplicate"]
_Keys = dict[tuple[str, tuple[str, ...]], set[bytes]]  # the label sets of a beat, by gauge


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a beat, or a bound of it: the number of gauges, the number of their rows, and the memory in bytes."""

    gauges: int = 0
    rows: int = 0
    bytes: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.gauges + other.gauges, self.rows + other.rows, self.bytes + other.bytes)

    def __sub__(self, other: "Size") -> "Size":
        return Size(self.gauges - other.gauges, self.rows - other.rows, self.bytes - other.bytes)

    def larger(self, size: "Size") -> "Size":
        """Return the larger of the two, number by number."""
        return Size(max(self.gauges, size.gauges), max(self.rows, size.rows), max(self.bytes, size.bytes))


# No worker of ours reaches the bound of a sender: see lua/resty/metrics/gauges.lua.
SENDER = Size(gauges=1_000, rows=10_000, bytes=8 << 20)
TOTAL = Size(gauges=20_000, rows=200_000, bytes=64 << 20)


class Room:
    """The room that the heartbeats of all senders share. ``instances`` counts their whole beats by name of nginx."""

    def __init__(self, sender: Size = SENDER, total: Size = TOTAL, max_instances: int = MAX_INSTANCES) -> None:
        self.sender = sender
        self.total = total
        self.held = Size()
        self.instances: Counter[str] = Counter()
        self._max_instances = max_instances

    def has_room_for(self, instance: str) -> bool:
        """Return True if there is room for a beat of this nginx."""
        return instance in self.instances or len(self.instances) < self._max_instances

    def recount(self, beats: Iterable["Beats"]) -> None:
        """Recompute the room that is taken from the beats of all senders."""
        all_beats = list(beats)
        charges = [entry.charge for entry in all_beats]
        self.held = Size(
            sum([charge.gauges for charge in charges]),
            sum([charge.rows for charge in charges]),
            sum([charge.bytes for charge in charges]),
        )
        self.instances = Counter([entry.whole.instance for entry in all_beats if entry.whole is not None])


@dataclass(frozen=True, slots=True)
class Admission:
    """The outcome of a heartbeat. ``refused``: the number of refused rows of gauges, by reason. ``kept`` False: the
    whole beat is refused because there are too many nginx instances.
    """

    refused: Counter[Refusal] = field(default_factory=Counter)
    kept: bool = True

    @property
    def reason(self) -> Refusal | None:
        """The reason for which most of the refused rows were refused; None if none were."""
        reason, rows = max(self.refused.items(), key=itemgetter(1), default=(None, 0))
        return reason if rows else None


@dataclass(slots=True)
class _Arriving:
    """The parts of a beat that have arrived so far."""

    number: int
    began: float
    parts: dict[int, Heartbeat] = field(default_factory=dict)
    size: Size = Size()
    keys: _Keys = field(default_factory=dict)


class Beats:
    """The newest whole beat of a sender, complete at ``last_seen``, and the beat that is arriving."""

    __slots__ = ("_arriving", "_ended", "_size", "last_seen", "number", "whole")

    def __init__(self) -> None:
        self.number = 0
        self.last_seen = 0.0
        self.whole: Heartbeat | None = None
        self._size = Size()
        self._arriving: _Arriving | None = None
        self._ended = 0

    @property
    def charge(self) -> Size:
        """The part of the room that this sender takes."""
        return self._size if self._arriving is None else self._size.larger(self._arriving.size)

    def hear(self, number: int, part: Heartbeat, now: float, room: Room) -> Admission:
        """Take a beat, or a part of one, unless the same or a newer one is there already."""
        arriving = self._arriving
        if number <= self.number or number <= self._ended or (arriving is not None and number < arriving.number):
            return Admission()
        charged = self.charge
        if arriving is None or number > arriving.number:
            arriving = self._arriving = _Arriving(number, now)
        if part.part in arriving.parts:
            return Admission()
        held_elsewhere = room.held - charged
        part, refused = _admit(part, arriving, room.sender, room.total - held_elsewhere)
        arriving.parts[part.part] = part
        kept = len(arriving.parts) < part.parts or self._complete(arriving, now, room)
        room.held = held_elsewhere + self.charge
        return Admission(refused, kept)

    def _complete(self, arriving: _Arriving, now: float, room: Room) -> bool:
        """Make the beat that has arrived the whole one. Return False if its nginx finds no room; then none is kept."""
        self._arriving = None
        beat = join([arriving.parts[part] for part in sorted(arriving.parts)])
        self._leave(room)
        if not room.has_room_for(beat.instance):
            self.whole, self._size = None, Size()
            return False
        room.instances[beat.instance] += 1
        self.number, self.last_seen, self.whole, self._size = arriving.number, now, beat, arriving.size
        return True

    def _leave(self, room: Room) -> None:
        if self.whole is not None:
            room.instances[self.whole.instance] -= 1
            if not room.instances[self.whole.instance]:
                del room.instances[self.whole.instance]

    def expire(self, now: float, room: Room) -> None:
        """Release a whole beat older than GAUGES_SECONDS, and an arriving one that began longer ago than that."""
        arriving = self._arriving
        if self.whole is not None and now - self.last_seen > GAUGES_SECONDS:
            self._release(room, whole=True)
        if arriving is not None and now - arriving.began > GAUGES_SECONDS:
            self._release(room, arriving=True)

    def end(self, room: Room) -> None:
        """Release everything."""
        self._release(room, whole=True, arriving=True)

    def _release(self, room: Room, whole: bool = False, arriving: bool = False) -> None:
        charged = self.charge
        if whole:
            self._leave(room)
            self.whole, self._size = None, Size()
        if arriving and self._arriving is not None:
            # Refuse the parts of this beat that arrive later: without the released ones it would never be complete.
            self._ended, self._arriving = self._arriving.number, None
        room.held += self.charge - charged


def _admit(part: Heartbeat, arriving: _Arriving, sender: Size, total: Size) -> tuple[Heartbeat, Counter[Refusal]]:
    """Return as much of the part as there is room for, and the number of refused rows by reason.

    The size and the label sets of the admitted rows are added to the arriving beat. ``total`` is the room that the
    other senders leave. Of parts behind the first only the families count.
    """
    refused: Counter[Refusal] = Counter()
    if part.part > 1:
        part = Heartbeat(families=part.families, part=part.part, parts=part.parts)
    if part.families or part.dicts:
        before = arriving.size
        taking = _Taking(_Remaining(sender - before), _Remaining(total - before), arriving.keys, refused)
        dicts = taking.dicts(part.dicts)
        families = filter(None, map(taking.gauge, part.families))
        part = replace(part, dicts=dicts, families=tuple(families))
        arriving.size = sender - taking.of_sender.size
    return part, refused


class _Remaining:
    """The part of a bound that is left."""

    __slots__ = ("bytes", "gauges", "rows")

    def __init__(self, size: Size) -> None:
        self.gauges, self.rows, self.bytes = size.gauges, size.rows, size.bytes

    @property
    def size(self) -> Size:
        return Size(self.gauges, self.rows, self.bytes)

    def fit(self, gauges: int, head: int, rows: Sequence[int]) -> int:
        """Return the number of rows that fit. ``rows``: their cumulated sizes; ``gauges`` and ``head``: the number of
        new gauges and the bytes of the family's head, which need room too.
        """
        return max(0, min(self.rows, bisect_right(rows, self.bytes - head))) if self.gauges >= gauges else 0

    def take(self, gauges: int, rows: int, size: int) -> None:
        self.gauges -= gauges
        self.rows -= rows
        self.bytes -= size


class _Taking:
    """The admission of one part of a beat: it takes room for as much as fits."""

    __slots__ = ("_keys", "_refused", "of_sender", "of_total")

    def __init__(self, of_sender: _Remaining, of_total: _Remaining, keys: _Keys, refused: Counter[Refusal]) -> None:
        self.of_sender = of_sender
        self.of_total = of_total
        self._keys = keys
        self._refused = refused

    def gauge(self, family: GaugeFamily) -> GaugeFamily | None:
        """Return as much of the family as there is room for; None if not even its head fits, or none of its rows."""
        known = self._keys.get(family.identity)
        new, head = int(known is None), family.head_bytes()
        unique = family
        if len(set(family.keys)) < len(family.keys) or not (known is None or known.isdisjoint(family.keys)):
            unique = family.without(known or ())
            self._refused["duplicate"] += len(family.keys) - len(unique.keys)
        sizes = list(accumulate(unique.row_bytes()))
        count = self._fit(new, head, sizes)
        if count == 0 and (sizes or self._fit(new, head, [0]) == 0):
            return None
        kept = unique if count == len(sizes) else unique.first(count)
        self._take(new, count, head + (sizes[count - 1] if count else 0))
        if known is None:
            self._keys[family.identity] = set(kept.keys)
        else:
            known.update(kept.keys)
        return kept

    def dicts(self, dicts: tuple[Dict, ...] | None) -> tuple[Dict, ...] | None:
        """Return the dictionaries if there is room for all of them. They take memory, but no rows."""
        size = sum(_DICT_BYTES + len(name) for name, _, _ in dicts or ())
        if dicts and size > min(self.of_sender.bytes, self.of_total.bytes):
            self._refused["worker_cap" if size > self.of_sender.bytes else "total_cap"] += len(dicts)
            return None
        self._take(0, 0, size)
        return dicts

    def _fit(self, gauges: int, head: int, rows: Sequence[int]) -> int:
        """Return the number of rows that fit, and count the others as refused. Arguments as in ``_Remaining.fit``."""
        for_sender, for_total = self.of_sender.fit(gauges, head, rows), self.of_total.fit(gauges, head, rows)
        if for_sender < len(rows):
            self._refused["worker_cap"] += len(rows) - for_sender
        if for_total < for_sender:
            self._refused["total_cap"] += for_sender - for_total
        return min(for_sender, for_total)

    def _take(self, gauges: int, rows: int, size: int) -> None:
        self.of_sender.take(gauges, rows, size)
        self.of_total.take(gauges, rows, size)
