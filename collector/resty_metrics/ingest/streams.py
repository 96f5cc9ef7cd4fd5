"""The marks of every stream: which batches were accepted, which are safe, and what its worker last said of itself.

This is the collector's state chart of docs/wire.md. It decides and remembers; whoever calls it decodes and answers.

Rules:
- ``received`` runs ahead of ``committed``; only ``committed`` is ever told to a worker.
- A stream is unknown, open or ended. An open stream is silent once it has missed three beats.
- The cap is for the living. A new stream at the cap takes the place of an ended one or else of a silent one, the oldest
  first, and is refused only if there is neither. The mark of the stream that gives way is kept (departed.py): if it
  comes back, its batches are neither lost nor counted twice.
- A stream whose commit is under way does not give way.
- Gauges live as long as beats come: three missed beats, a bye or the end of the stream, and they are gone. Those of a
  worker that is leaving, which has no timer any more, live as long as its process is known to be there (leaving.py).
- Births order the streams, and come from a clock that may be set: one in the future counts as now. Where the youngest
  known one lies in the future, the clock was set back since, and a stream that is met now is younger than all of them.
- A batch may say any name of an nginx, also one that the table refuses: only as many names are shown as the table has.
- ``now`` is seconds of a monotonic clock.
"""

import math
from collections import OrderedDict
from itertools import chain

from resty_metrics.ingest.beats import BEAT_SECONDS, GAUGES_SECONDS, MAX_INSTANCES, Heard, Room
from resty_metrics.ingest.departed import Departed, StreamMark
from resty_metrics.ingest.stream import LiveHeartbeat, Placement, Stream
from resty_metrics.wire.datagram import Header
from resty_metrics.wire.heartbeat import Heartbeat

STREAM_CAP = 4_096
DEPARTED_PER_STREAM = 8  # marks that are kept for each stream of the cap
UP_SECONDS = BEAT_SECONDS * 2
ENDED_SECONDS = 10 * 60.0
SILENT_SECONDS = 24 * 3600.0


class Streams:
    """All streams by name. ``last_datagram`` is when any of them last sent something, None before the first; ``room``:
    what their heartbeats take.
    """

    def __init__(self, cap: int = STREAM_CAP) -> None:
        self.room = Room()
        self.last_datagram: float | None = None
        self._cap = cap
        self._streams: dict[bytes, Stream] = {}  # in the order in which they came
        self._by_seen: OrderedDict[bytes, None] = OrderedDict()  # the same names, the least recently seen first
        self._ended: OrderedDict[bytes, None] = OrderedDict()  # those that said bye, the first to do so first
        self._departed = Departed(DEPARTED_PER_STREAM * cap)
        self._youngest_ms = 0

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def instances(self) -> set[str]:
        """The names of the nginx that the streams are of, MAX_INSTANCES at most; "" for one without a name.

        Those that heartbeats hold come first, then those heard of last. A name that has ended and whose master goes on
        under another one, after a reload, is not among them.
        """
        recent = [self._streams[name] for name in reversed(self._by_seen)]
        named = [(stream.instance, stream) for stream in recent if stream.instance is not None]
        masters = {stream.master for _, stream in named if stream.ended is None} - {None}
        names = dict.fromkeys(name for name, one in named if one.ended is None or one.master not in masters)
        return set(sorted(names, key=lambda name: name not in self.room.instances)[:MAX_INSTANCES])

    def states(self, now: float) -> dict[str, int]:
        """Count the streams by state: open, silent, ended, and departed for those of which only the mark is left."""
        silent = sum(stream.ended is None and _is_silent(stream, now) for stream in self._streams.values())
        ended = len(self._ended)
        opened = len(self._streams) - ended - silent
        return {"open": opened, "silent": silent, "ended": ended, "departed": len(self._departed)}

    def committed(self, name: bytes) -> int:
        """Return the number up to which every batch is safe; 0 where nothing is known."""
        known = self._streams.get(name) or self._departed.get(name)
        return 0 if known is None else known.committed

    def believe(self, birth_ms: int) -> None:
        """Somebody was born then, in an earlier life of the collector, who is forgotten by now."""
        self._youngest_ms = max(self._youngest_ms, birth_ms)

    def birth(self, header: Header, wall_ms: int) -> int:
        """When the stream of a datagram was born, as far as that can be believed, at ``wall_ms`` of the wall clock."""
        known = self._streams.get(header.stream) or self._departed.get(header.stream)
        if known is not None:
            return known.birth_ms
        return min(header.birth_ms, wall_ms) if self._youngest_ms <= wall_ms else self._youngest_ms + 1

    def place(self, header: Header, now: float) -> Placement:
        """Where a batch stands. An unknown stream begins; no mark moves."""
        stream = self._meet(header, now)
        if stream is None:
            return Placement.STREAM_CAP
        if header.sequence <= stream.received:
            return Placement.DUPLICATE
        if header.sequence != max(stream.received + 1, header.base):
            return Placement.OUT_OF_ORDER
        return Placement.NEXT_LOST_STATE if header.base > stream.received + 1 else Placement.NEXT

    def advance(self, name: bytes, sequence: int) -> None:
        """A batch that was placed next is accepted, or dropped for good."""
        stream = self._streams[name]
        stream.received = sequence
        stream.ended = None
        self._ended.pop(name, None)

    def call(self, name: bytes, instance: str) -> None:
        """A batch of the stream said which nginx it is of."""
        self._streams[name].instance = instance

    def commit(self, name: bytes, sequence: int) -> None:
        """Every batch of the stream up to ``sequence`` is safe."""
        self._streams[name].committed = sequence

    def beat(self, header: Header, heartbeat: Heartbeat | None, now: float) -> Heard | None:
        """Keep a heartbeat if it is the newest (None: it could not be read). Return None at the stream cap."""
        stream = self._meet(header, now)
        if stream is None:
            return None
        if heartbeat is None or stream.ended is not None:
            return Heard()
        return stream.hear(header.sequence, heartbeat, now, self.room)

    def bye(self, header: Header, now: float) -> bool:
        """The stream ends; whether it had not before. An unknown one is not made."""
        stream = self._streams.get(header.stream)
        if stream is None:
            return False
        self._meet(header, now)
        stream.beats.end(self.room)
        if stream.ended is not None:
            return False
        self._end(header.stream, stream, now)
        return True

    def capture(self) -> list[StreamMark]:
        """Return what is safe of every stream, to be kept beyond this process: the departed, then those still here,
        the least recently seen first.
        """
        return [*self._departed, *(self._streams[name].mark(name) for name in self._by_seen)]

    def restore(self, mark: StreamMark) -> None:
        """Take a stream as an earlier life of the collector left it; its birth stays what it was said to be first.

        Above the cap the stream that was restored least recently departs.
        """
        known = self._streams.get(mark.name) or self._departed.take(mark.name)
        stream = Stream(mark.committed, mark.committed, mark.birth_ms, mark.seen, instance=mark.instance)
        if known is not None:
            stream.birth_ms = known.birth_ms
            stream.instance = known.instance if mark.instance is None else mark.instance
        self.believe(stream.birth_ms)
        self._add(mark.name, stream)
        self._ended.pop(mark.name, None)
        if mark.ended is not None:
            self._end(mark.name, stream, mark.ended)
        if len(self._streams) > self._cap:
            self._depart(next(iter(self._by_seen)))

    def end(self, name: bytes, now: float) -> None:
        """Note that a stream said bye at ``now``, in an earlier life of the collector."""
        stream = self._streams.get(name)
        if stream is not None:
            stream.seen = now
            self._by_seen.move_to_end(name)
            self._end(name, stream, now)

    def heartbeats(self, now: float) -> list[LiveHeartbeat]:
        """What is known of the workers now."""
        return [
            LiveHeartbeat(
                name,
                stream.birth_ms,
                stream.beats.seen,
                stream.beats.whole,
                recent=now - stream.beats.seen < UP_SECONDS,
                held=now - stream.beats.seen > GAUGES_SECONDS,
            )
            for name, stream in self._streams.items()
            if stream.beats.whole is not None and now - max(stream.beats.seen, stream.confirmed) <= GAUGES_SECONDS
        ]

    def is_leaving(self, name: bytes) -> bool:
        """Return whether the worker's newest heartbeat says that it is exiting, and no bye has come."""
        stream = self._streams.get(name)
        return stream is not None and stream.beats.whole is not None and stream.beats.whole.exiting is True

    def confirm(self, name: bytes, now: float | None) -> None:
        """Note that the process of a leaving worker was there at ``now``; None: it is not any more."""
        stream = self._streams[name]
        if now is None:
            stream.confirmed = -math.inf
        else:
            stream.confirmed = stream.seen = now
            self._by_seen.move_to_end(name)

    def prune(self, now: float) -> int:
        """Forget the streams that are over, and return how many. Drop what silent ones said of themselves."""
        for stream in self._streams.values():
            if now - stream.confirmed > GAUGES_SECONDS:
                stream.beats.expire(now, self.room)
        over = [name for name, stream in self._streams.items() if _is_over(stream, now)]
        for name in over:
            self._remove(name)
        self.room.recount(stream.beats for stream in self._streams.values())
        return len(over) + self._departed.prune(now - SILENT_SECONDS)

    def _meet(self, header: Header, now: float) -> Stream | None:
        """Return the stream of a datagram. Begin it if it is unknown, but not where the cap leaves no room: None."""
        stream = self._streams.get(header.stream)
        if stream is None:
            if len(self._streams) >= self._cap and not self._make_room(now):
                return None
            stream = self._begin(header, now)
            self._add(header.stream, stream)
        stream.seen = self.last_datagram = now
        self._by_seen.move_to_end(header.stream)
        return stream

    def _begin(self, header: Header, now: float) -> Stream:
        mark = self._departed.take(header.stream)
        if mark is not None:
            return Stream(mark.committed, mark.committed, mark.birth_ms, now, instance=mark.instance)
        self.believe(header.birth_ms)
        return Stream(header.base - 1, header.base - 1, header.birth_ms, now)

    def _add(self, name: bytes, stream: Stream) -> None:
        self._streams[name] = stream
        self._by_seen[name] = None
        self._by_seen.move_to_end(name)

    def _end(self, name: bytes, stream: Stream, now: float) -> None:
        stream.ended = now
        self._ended[name] = None

    def _make_room(self, now: float) -> bool:
        """Have the oldest stream that is ended, or else silent, give way. Return whether there was one."""
        for name in chain(self._ended, self._by_seen):
            stream = self._streams[name]
            if stream.ended is None and not _is_silent(stream, now):
                return False  # whatever follows was seen later
            if stream.is_settled:
                self._depart(name)
                return True
        return False

    def _depart(self, name: bytes) -> None:
        self._departed.add(self._remove(name).mark(name))

    def _remove(self, name: bytes) -> Stream:
        del self._by_seen[name]
        self._ended.pop(name, None)
        stream = self._streams.pop(name)
        stream.beats.end(self.room)
        return stream


def _is_silent(stream: Stream, now: float) -> bool:
    return now - stream.seen > GAUGES_SECONDS


def _is_over(stream: Stream, now: float) -> bool:
    if not stream.is_settled:
        return False
    if stream.ended is not None and now - stream.ended >= ENDED_SECONDS:
        return True
    return now - stream.seen >= SILENT_SECONDS
