"""The marks of every stream: which batches were accepted, which are safe, and what its worker last said of itself.

This is the collector's state chart of docs/wire.md. It decides and remembers; whoever calls it decodes and answers.

Rules:
- ``received`` runs ahead of ``committed``; only ``committed`` is ever told to a worker.
- A stream is unknown, open or ended. At the cap a new one is refused; none is forgotten to make room.
- Gauges live as long as beats come: three missed beats, a bye or the end of the stream, and they are gone.
- Births order the streams, and come from a clock that may be set: one in the future counts as now. Where the youngest
  known one lies in the future, the clock was set back since, and a stream that is met now is younger than all of them.
- ``now`` is seconds of a monotonic clock.
"""

from dataclasses import dataclass, field
from enum import Enum

from collector.ingest.beats import GAUGES_SECONDS, Beats, Heard, Room
from collector.ingest.heartbeat import Heartbeat, Master
from collector.ingest.wire import Header

STREAM_CAP = 4_096
ENDED_SECONDS = 10 * 60.0
SILENT_SECONDS = 24 * 3600.0
_PRUNE_AT_CAP_SECONDS = 1.0


class Placement(Enum):
    """Where a batch stands to the marks of its stream."""

    NEXT = "next"
    NEXT_LOST_STATE = "next_lost_state"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    STREAM_CAP = "stream_cap"


@dataclass(slots=True)
class Stream:
    """One worker process's life. ``ended`` is when its bye came, None while it is open; ``instance`` is the name of its
    nginx, "" if it has none, None as long as it did not say; ``master``, too, is what it last said.
    """

    received: int
    committed: int
    birth_ms: int
    seen: float
    ended: float | None = None
    beats: Beats = field(default_factory=Beats)
    instance: str | None = None
    master: Master | None = None

    def hear(self, number: int, heartbeat: Heartbeat, now: float, room: Room) -> Heard:
        """Keep a beat, or a part of one, if it is newer than what there is."""
        heard = self.beats.hear(number, heartbeat, now, room)
        if self.beats.whole is not None:
            self.instance, self.master = self.beats.whole.instance, self.beats.whole.master
        return heard


@dataclass(frozen=True, slots=True)
class StreamMark:
    """What a journal keeps of a stream."""

    name: bytes
    birth_ms: int
    committed: int
    seen: float
    ended: float | None
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class LiveHeartbeat:
    """The newest heartbeat of a stream whose gauges have not expired."""

    stream: bytes
    birth_ms: int
    seen: float
    heartbeat: Heartbeat


class Streams:
    """All streams by name. ``last_datagram`` is when any of them last sent something, None before the first; ``room``:
    what their heartbeats take.
    """

    def __init__(self, cap: int = STREAM_CAP) -> None:
        self.room = Room()
        self.last_datagram: float | None = None
        self._cap = cap
        self._streams: dict[bytes, Stream] = {}
        self._prune_again = 0.0
        self._youngest_ms = 0

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def instances(self) -> set[str]:
        """The names of all nginx that the streams are of; "" for one without a name. A name that has ended and whose
        master goes on under another one, after a reload, is not among them.
        """
        named = [stream for stream in self._streams.values() if stream.instance is not None]
        masters = {stream.master for stream in named if stream.ended is None} - {None}
        return {stream.instance or "" for stream in named if stream.ended is None or stream.master not in masters}

    @property
    def open(self) -> int:
        """How many streams have not said bye."""
        return sum(stream.ended is None for stream in self._streams.values())

    def committed(self, name: bytes) -> int:
        """Every batch up to this number is safe; 0 where nothing is known."""
        stream = self._streams.get(name)
        return 0 if stream is None else stream.committed

    def believe(self, birth_ms: int) -> None:
        """Somebody was born then, in an earlier life of the collector, who is forgotten by now."""
        self._youngest_ms = max(self._youngest_ms, birth_ms)

    def birth(self, header: Header, wall_ms: int) -> int:
        """When the stream of a datagram was born, as far as that can be believed, at ``wall_ms`` of the wall clock."""
        stream = self._streams.get(header.stream)
        if stream is not None:
            return stream.birth_ms
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
        stream.ended = now
        return True

    def capture(self) -> list[StreamMark]:
        """What is safe of every stream, to be kept beyond this process."""
        return [
            StreamMark(name, stream.birth_ms, stream.committed, stream.seen, stream.ended, stream.instance)
            for name, stream in self._streams.items()
        ]

    def restore(self, mark: StreamMark) -> None:
        """A stream as it was; its birth stays what it was said to be first."""
        known = self._streams.get(mark.name)
        stream = Stream(mark.committed, mark.committed, mark.birth_ms, mark.seen, mark.ended, instance=mark.instance)
        if known is not None:
            stream.birth_ms = known.birth_ms
            stream.instance = known.instance if mark.instance is None else mark.instance
        self.believe(stream.birth_ms)
        self._streams[mark.name] = stream

    def end(self, name: bytes, now: float) -> None:
        """A stream said bye at ``now``, in an earlier life of the collector."""
        stream = self._streams.get(name)
        if stream is not None:
            stream.seen = stream.ended = now

    def heartbeats(self, now: float) -> list[LiveHeartbeat]:
        """What is known of the workers now."""
        return [
            LiveHeartbeat(name, stream.birth_ms, stream.beats.seen, stream.beats.whole)
            for name, stream in self._streams.items()
            if stream.beats.whole is not None and now - stream.beats.seen <= GAUGES_SECONDS
        ]

    def prune(self, now: float) -> int:
        """Forget the streams that are over; how many. And what those said of themselves that have fallen silent."""
        for stream in self._streams.values():
            stream.beats.expire(now, self.room)
        over = [name for name, stream in self._streams.items() if _is_over(stream, now)]
        for name in over:
            del self._streams[name]
        self.room.recount(stream.beats for stream in self._streams.values())
        return len(over)

    def _meet(self, header: Header, now: float) -> Stream | None:
        """The stream of a datagram, begun if it is unknown; None at the cap."""
        stream = self._streams.get(header.stream)
        if stream is None:
            if len(self._streams) >= self._cap and now >= self._prune_again:
                self._prune_again = now + _PRUNE_AT_CAP_SECONDS
                self.prune(now)
            if len(self._streams) >= self._cap:
                return None
            begin = header.base - 1
            self.believe(header.birth_ms)
            stream = self._streams[header.stream] = Stream(begin, begin, header.birth_ms, now)
        stream.seen = self.last_datagram = now
        return stream


def _is_over(stream: Stream, now: float) -> bool:
    if stream.committed != stream.received:
        return False  # a commit of it is under way
    if stream.ended is not None and now - stream.ended >= ENDED_SECONDS:
        return True
    return now - stream.seen >= SILENT_SECONDS
