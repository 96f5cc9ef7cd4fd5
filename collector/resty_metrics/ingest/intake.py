"""The intake: the way of a datagram from bytes to the table and to an answer, without a socket.

The shell passes every datagram of a drain to ``receive``, ends the drain with ``take``, makes it safe, and passes it to
``settle``. Accepted batches wait between the last two, so the table holds committed batches only. Several drains may be
under way if they are settled in order.

Rules:
- The marks are checked before decoding: a duplicate costs no msgpack.
- Each sender gets one answer per drain, for its last datagram. A drop takes precedence over any other answer, since the
  worker must learn of its loss.
- A sender with a batch in the drain is answered once that is safe, every other one at once: a slow journal must not
  make a worker, or a probe, believe that nobody is there.
- Every refusal is counted by result and reason. A refused uid is remembered, so that it is logged once.
- An unexpected error (a bug) costs the datagram, or the rows, in which it occurred and nothing else. It is counted with
  the reason ``internal`` and returned to the shell, which logs it. The marks pass such a batch, or its sender would be
  stuck.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from resty_metrics.ingest.beats import Refusal
from resty_metrics.ingest.drain import (
    INSTANCE_CAP,
    INTERNAL,
    Accepted,
    Drain,
    Ended,
    Outcome,
    Reply,
    Result,
    Settled,
)
from resty_metrics.ingest.sender import Placement
from resty_metrics.ingest.senders import Senders
from resty_metrics.process.steps import Steps, finish
from resty_metrics.shapes.shape import FamilyBatch
from resty_metrics.table.table import Failure, Table
from resty_metrics.wire.batch import read_batch
from resty_metrics.wire.datagram import (
    HEADER_BYTES,
    VERSION,
    Header,
    Kind,
    Reason,
    Verdict,
    WireError,
    read_header,
    write_answer,
)
from resty_metrics.wire.heartbeat import Heartbeat, read_heartbeat

MAX_REFUSED_UIDS = 64


class Intake:
    """The intake: datagrams in, a table and answers out.

    Counters for the page: ``results`` by (result, reason), ``bytes``, ``applied_rows``, ``lost_rows``,
    ``lost_states``, ``refused_uids`` (of the first 64 uids; ``results`` counts all refusals), ``refused_gauge_rows`` by
    reason. ``ready`` False: everything but probes is held.
    """

    def __init__(self, table: Table, senders: Senders, allow_uid: Callable[[int], bool]) -> None:
        self.table = table
        self.senders = senders
        self.ready = True
        self.results: Counter[tuple[Result, str | None]] = Counter()
        self.refused_uids: Counter[int] = Counter()
        self.refused_gauge_rows: Counter[Refusal] = Counter()
        self.bytes = 0
        self.applied_rows = 0
        self.lost_rows = 0
        self.lost_states = 0
        self._allow_uid = allow_uid
        for family in table.families.values():
            senders.believe(family.birth_ms)
        self._accepted: list[Accepted] = []
        self._under_way: deque[Drain] = deque()  # drains with batches that are not merged yet
        self._ended: list[Ended] = []
        self._replies: dict[bytes, Reply] = {}

    def allow(self, allow_uid: Callable[[int], bool]) -> None:
        """Replace the rule that decides which uids may send."""
        self._allow_uid = allow_uid

    def receive(self, datagram: bytes, uid: int, now: float, wall_ms: int | None = None) -> Outcome:
        """Take one datagram from a sender with this kernel-verified uid, at ``now`` (monotonic seconds).

        ``wall_ms``: the wall clock in Unix milliseconds; None: the birth in the datagram is not checked against it.
        """
        try:
            outcome = self._receive(datagram, uid, now, wall_ms)
        except Exception as error:
            outcome = Outcome("unanswerable", INTERNAL, error=error)
        self.results[outcome.result, outcome.reason] += 1
        self.bytes += len(datagram)
        self.lost_states += outcome.lost_state
        if outcome.result == "applied":
            self.applied_rows += outcome.rows
        else:
            self.lost_rows += outcome.rows
        return outcome

    def take(self) -> Drain:
        """End the drain and return it. The caller passes it to ``settle`` once it is safe."""
        unsafe = {batch.sender for batch in self._accepted}
        prompt = [reply for sender, reply in self._replies.items() if sender not in unsafe]
        later = [reply for sender, reply in self._replies.items() if sender in unsafe]
        drain = Drain(tuple(self._accepted), tuple(self._ended), self._answers(prompt), tuple(later))
        self._accepted, self._ended, self._replies = [], [], {}
        if drain.accepted:
            self._under_way.append(drain)
        return drain

    def settle_in_steps(self, drain: Drain) -> Steps[Settled]:
        """Merge the batches of a drain that is safe, and return its answers. A step merges the rows of one family."""
        failures: list[Failure] = []
        try:
            for batch in drain.accepted:
                failures += yield from self.table.merge_in_steps(batch.families, batch.birth_ms, batch.now)
                self.senders.commit(batch.sender, batch.sequence)
        finally:
            with suppress(ValueError):  # a drain without batches
                self._under_way.remove(drain)
        return Settled(self._answers(drain.replies), tuple(failures))

    def merged_until(self, now: float) -> float:
        """Return the time before which every batch arrived that is in the table as a whole; at most ``now``."""
        waiting = self._under_way[0].accepted if self._under_way else self._accepted
        return min(now, waiting[0].now) if waiting else now

    def settle(self, drain: Drain) -> Settled:
        """Do the work of ``settle_in_steps`` in one go."""
        return finish(self.settle_in_steps(drain))

    def commit(self) -> list[tuple[bytes, bytes]]:
        """End a drain that needs no journal, settle it, and return all of its answers."""
        drain = self.take()
        return [*drain.prompt, *self.settle(drain).answers]

    def _answers(self, replies: Iterable[Reply]) -> tuple[tuple[bytes, bytes], ...]:
        return tuple([(reply.header.sender, self._answer(reply)) for reply in replies])

    def _receive(self, datagram: bytes, uid: int, now: float, wall_ms: int | None) -> Outcome:
        try:
            header = read_header(datagram)
        except WireError as error:
            return Outcome("unanswerable", error.reason)
        refusal = self._refusal(header, uid)
        if refusal is not None:
            self.senders.refuse(header.sender, now)
            return self._hold(header, refusal)
        if wall_ms is not None:
            header = replace(header, birth_ms=self.senders.birth(header, wall_ms))
        match header.kind:
            case Kind.PROBE:
                return self._ack(header, "probe")
            case Kind.BYE:
                if self.senders.bye(header, now):
                    self._ended.append(Ended(header.sender, now))
                return self._ack(header, "bye")
            case Kind.HEARTBEAT:
                return self._heartbeat(header, datagram, now)
            case _:
                return self._batch(header, datagram, now)

    def _refusal(self, header: Header, uid: int) -> Reason | None:
        if header.version != VERSION or header.kind not in _KINDS:
            return Reason.VERSION
        if header.kind == Kind.PROBE:
            return None
        if not self._allow_uid(uid):
            if uid in self.refused_uids or len(self.refused_uids) < MAX_REFUSED_UIDS:
                self.refused_uids[uid] += 1
            return Reason.UID
        return None if self.ready else Reason.NOT_READY

    def _heartbeat(self, header: Header, datagram: bytes, now: float) -> Outcome:
        """Keep a heartbeat. An unreadable one still shows that its worker is alive, so it is acked too."""
        if header.base < 1:
            return self._ack(header, "dropped", "invalid")
        heartbeat: Heartbeat | None = None
        reason: str | None = None
        bug: Exception | None = None
        try:
            heartbeat = read_heartbeat(datagram[HEADER_BYTES:])
        except WireError as error:
            reason = error.reason
        except Exception as error:
            reason, bug = INTERNAL, error
        admission = self.senders.beat(header, heartbeat, now)
        if admission is None:
            return self._hold(header, Reason.SENDER_CAP)
        self.refused_gauge_rows.update(admission.refused)
        if not admission.kept:
            return self._ack(header, "dropped", INSTANCE_CAP)
        if reason is not None:
            return replace(self._ack(header, "dropped", reason), error=bug)
        return self._ack(header, "heartbeat", admission.reason)

    def _batch(self, header: Header, datagram: bytes, now: float) -> Outcome:
        if header.base < 1 or header.sequence < 1:
            return self._drop(header, WireError("invalid", "batches are numbered from 1"))
        place = self.senders.place(header, now)
        match place:
            case Placement.SENDER_CAP:
                return self._hold(header, Reason.SENDER_CAP)
            case Placement.DUPLICATE:
                return self._ack(header, "duplicate")
            case Placement.OUT_OF_ORDER:
                return self._ack(header, "out_of_order")
        lost_state = place is Placement.NEXT_LOST_STATE
        self.senders.advance(header.sender, header.sequence)
        try:
            body = datagram[HEADER_BYTES:]
            families = read_batch(body)
        except WireError as error:
            self._accept(header, b"", (), now)
            return self._drop(header, error, lost_state)
        except Exception as error:
            self._accept(header, b"", (), now)
            dropped = self._drop(header, WireError("invalid", repr(error)), lost_state)
            return replace(dropped, reason=INTERNAL, error=error)
        self._accept(header, body, families, now)
        if families:
            self.senders.call(header.sender, families[0].shape.instance)
        self._reply(Verdict.ACK, Reason.NONE, header)
        return Outcome("applied", None, header.sender, sum(len(family.labels) for family in families), lost_state)

    def _accept(self, header: Header, body: bytes, families: tuple[FamilyBatch, ...], now: float) -> None:
        self._accepted.append(Accepted(header.sender, header.birth_ms, header.sequence, body, families, now))

    def _ack(self, header: Header, result: Result, reason: str | None = None) -> Outcome:
        self._reply(Verdict.ACK, Reason.NONE, header)
        return Outcome(result, reason, header.sender)

    def _hold(self, header: Header, reason: Reason) -> Outcome:
        self._reply(Verdict.HOLD, reason, header)
        return Outcome("held", reason.name.lower(), header.sender)

    def _drop(self, header: Header, error: WireError, lost_state: bool = False) -> Outcome:
        self._reply(Verdict.DROP, Reason[error.reason.upper()], header)
        return Outcome("dropped", error.reason, header.sender, error.rows, lost_state)

    def _reply(self, verdict: Verdict, reason: Reason, header: Header) -> None:
        earlier = self._replies.get(header.sender)
        if earlier is None or earlier.verdict != Verdict.DROP or verdict == Verdict.DROP:
            self._replies[header.sender] = Reply(verdict, reason, header)

    def _answer(self, reply: Reply) -> bytes:
        committed = 0 if reply.header.kind == Kind.PROBE else self.senders.committed(reply.header.sender)
        return write_answer(reply.verdict, reply.reason, reply.header, committed)


_KINDS = frozenset(Kind)
