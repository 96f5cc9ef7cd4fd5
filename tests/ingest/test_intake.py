"""From datagrams to outcomes, answers and the table."""

import random
from typing import Any

import pytest
from resty_metrics.ingest.drain import Result
from resty_metrics.ingest.intake import MAX_REFUSED_UIDS, Intake
from resty_metrics.ingest.senders import Senders
from resty_metrics.shapes.shape import FamilyBatch, FamilyKey
from resty_metrics.table.families import Family
from resty_metrics.table.room import Room
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import VERSION, Answer, Header, Kind, Reason, Verdict, read_answer, write_datagram

A, B = b"a" * 16, b"b" * 16
ALLOWED, FOREIGN = 33, 666


def make(cap: int = 10) -> Intake:
    return Intake(Table(), Senders(cap), lambda uid: uid == ALLOWED)


def batch(sequence: int, base: int = 1, sender: bytes = A, value: Any = 1, version: int = VERSION) -> bytes:
    rows = [["x", value], ["y", 1]]
    family = {"name": "c_total", "type": "counter", "labels": ["l"], "columns": ["value"], "rows": rows}
    return write_datagram(Header(version, Kind.BATCH, sender, 1000, sequence, base), {"families": [family]})


def bare(kind: int, sequence: int = 1, base: int = 1, sender: bytes = A, body: Any = None) -> bytes:
    return write_datagram(Header(VERSION, kind, sender, 1000, sequence, base), body or {})


def undecodable(sequence: int) -> bytes:
    return bare(Kind.BATCH, sequence)[:48] + b"\xc1"


def values(intake: Intake) -> dict[tuple[str, ...], float]:
    families = intake.table.families.values()
    return {row.labels: row.numbers[0] for family in families for row in family.rows}


def answers(intake: Intake) -> dict[bytes, Answer]:
    committed = intake.commit()
    read = {sender: read_answer(answer) for sender, answer in committed}
    assert len(read) == len(committed)
    assert all(answer.sender == sender for sender, answer in read.items())
    return read


def test_a_batch_is_in_the_table_when_it_is_committed() -> None:
    intake = make()
    outcome = intake.receive(batch(1), ALLOWED, 0.0)
    assert (outcome.result, outcome.sender, outcome.rows, outcome.answer) == ("applied", A, 2, True)
    assert values(intake) == {}
    assert answers(intake) == {A: Answer(Verdict.ACK, Reason.NONE, Kind.BATCH, A, 1, 1)}
    assert values(intake) == {("x",): 1, ("y",): 1}
    assert intake.commit() == []


def test_one_ack_per_sender_and_drain() -> None:
    intake = make()
    for sequence in (1, 2, 3):
        intake.receive(batch(sequence), ALLOWED, 0.0)
    intake.receive(batch(1, sender=B), ALLOWED, 0.0)
    answered = answers(intake)
    assert (answered[A].sequence, answered[A].committed) == (3, 3)
    assert (answered[B].sequence, answered[B].committed) == (1, 1)
    assert values(intake) == {("x",): 4, ("y",): 4}


def test_a_stalled_commit_acks_nothing_new() -> None:
    """With a journal drains overlap; a duplicate that comes meanwhile is acked with what is safe."""
    intake = make()
    intake.receive(batch(1), ALLOWED, 0.0)
    first = intake.take()
    assert intake.receive(batch(1), ALLOWED, 0.0).result == "duplicate"
    intake.receive(batch(2), ALLOWED, 0.0)
    second = intake.take()
    assert values(intake) == {}
    assert [read_answer(answer).committed for _, answer in intake.settle(first).answers] == [1]
    assert values(intake) == {("x",): 1, ("y",): 1}
    assert [read_answer(answer).committed for _, answer in intake.settle(second).answers] == [2]


def test_lost_state_is_counted() -> None:
    intake = make()
    intake.receive(batch(1), ALLOWED, 0.0)
    outcome = intake.receive(batch(5, base=5), ALLOWED, 0.0)
    assert (outcome.result, outcome.lost_state, intake.lost_states) == ("applied", True, 1)
    assert answers(intake)[A].committed == 5


REFUSED: list[tuple[str, bytes, int, Result, str, Verdict, Reason]] = [
    ("version", batch(1, version=VERSION + 1), ALLOWED, "held", "version", Verdict.HOLD, Reason.VERSION),
    ("kind", bare(9), ALLOWED, "held", "version", Verdict.HOLD, Reason.VERSION),
    ("uid", batch(1), FOREIGN, "held", "uid", Verdict.HOLD, Reason.UID),
    ("heartbeat's uid", bare(Kind.HEARTBEAT), FOREIGN, "held", "uid", Verdict.HOLD, Reason.UID),
    ("bye's uid", bare(Kind.BYE), FOREIGN, "held", "uid", Verdict.HOLD, Reason.UID),
    ("undecodable", undecodable(1), ALLOWED, "dropped", "undecodable", Verdict.DROP, Reason.UNDECODABLE),
    ("invalid", batch(1, value=-1), ALLOWED, "dropped", "invalid", Verdict.DROP, Reason.INVALID),
    ("sequence 0", batch(0), ALLOWED, "dropped", "invalid", Verdict.DROP, Reason.INVALID),
    ("base 0", batch(1, base=0), ALLOWED, "dropped", "invalid", Verdict.DROP, Reason.INVALID),
    ("heartbeat", bare(2, body={"pid": "x"}), ALLOWED, "dropped", "invalid", Verdict.ACK, Reason.NONE),
    ("heartbeat's base 0", bare(2, base=0), ALLOWED, "dropped", "invalid", Verdict.ACK, Reason.NONE),
]


@pytest.mark.parametrize(
    ("name", "datagram", "uid", "result", "reason", "verdict", "code"), REFUSED, ids=[case[0] for case in REFUSED]
)
def test_refusals(
    name: str, datagram: bytes, uid: int, result: Result, reason: str, verdict: Verdict, code: Reason
) -> None:
    intake = make()
    outcome = intake.receive(datagram, uid, 0.0)
    assert (outcome.result, outcome.reason, outcome.answer) == (result, reason, True)
    assert intake.results == {(result, reason): 1}
    answer = answers(intake)[A]
    assert (answer.verdict, answer.reason) == (verdict, code)
    # Good batches count whatever came before; bad ones took no more than their own number.
    next_sequence = answer.committed + 1
    assert intake.receive(batch(next_sequence), ALLOWED, 0.0).result == "applied"
    assert answers(intake)[A].committed == next_sequence
    assert values(intake) == {("x",): 1, ("y",): 1}


@pytest.mark.parametrize(
    ("name", "datagram", "reason"), [("short", b"RSTM", "truncated"), ("foreign", b"x" * 60, "magic")]
)
def test_unanswerable(name: str, datagram: bytes, reason: str) -> None:
    intake = make()
    outcome = intake.receive(datagram, ALLOWED, 0.0)
    assert (outcome.result, outcome.reason, outcome.sender, outcome.answer) == ("unanswerable", reason, None, False)
    assert intake.commit() == []
    assert intake.results["unanswerable", reason] == 1


@pytest.mark.parametrize(("bad", "lost"), [(undecodable(2), 0), (batch(2, value=-1), 2)])
def test_a_bad_batch_does_not_block_its_sender(bad: bytes, lost: int) -> None:
    intake = make()
    intake.receive(batch(1), ALLOWED, 0.0)
    intake.commit()
    assert intake.receive(bad, ALLOWED, 0.0).rows == lost
    assert intake.lost_rows == lost
    answer = answers(intake)[A]
    assert (answer.verdict, answer.sequence, answer.committed) == (Verdict.DROP, 2, 2)
    assert intake.receive(bad, ALLOWED, 0.0).result == "duplicate"
    assert intake.receive(batch(3), ALLOWED, 0.0).result == "applied"
    intake.commit()
    assert values(intake) == {("x",): 2, ("y",): 2}
    assert intake.lost_rows == lost


def test_a_drop_is_told_before_the_ack_of_the_same_drain() -> None:
    intake = make()
    for datagram in (batch(1), batch(2, value=-1), batch(3)):
        intake.receive(datagram, ALLOWED, 0.0)
    assert answers(intake)[A] == Answer(Verdict.DROP, Reason.INVALID, Kind.BATCH, A, 2, 3)


def test_marks_come_before_decoding() -> None:
    intake = make()
    intake.receive(batch(1), ALLOWED, 0.0)
    assert intake.receive(undecodable(1), ALLOWED, 0.0).result == "duplicate"
    assert intake.receive(undecodable(4), ALLOWED, 0.0).result == "out_of_order"


def test_heartbeat_and_bye() -> None:
    intake = make()
    assert intake.receive(bare(Kind.HEARTBEAT, body={"worker": 3}), ALLOWED, 1.0).result == "heartbeat"
    assert [live.heartbeat.worker for live in intake.senders.heartbeats(1.0)] == [3]
    assert intake.receive(bare(Kind.BYE), ALLOWED, 2.0).result == "bye"
    assert intake.senders.heartbeats(2.0) == []
    assert answers(intake)[A].verdict is Verdict.ACK


def test_probe_passes_the_uid_rule_and_makes_no_sender() -> None:
    intake = make()
    assert intake.receive(bare(Kind.PROBE, sequence=42), FOREIGN, 0.0).result == "probe"
    assert answers(intake) == {A: Answer(Verdict.ACK, Reason.NONE, Kind.PROBE, A, 42, 0)}
    assert len(intake.senders) == 0


def test_refused_uids_are_remembered_and_bounded() -> None:
    intake = make()
    for uid in [*range(1000, 1100), 1000]:
        intake.receive(batch(1), uid, 0.0)
    assert intake.refused_uids[1000] == 2
    assert len(intake.refused_uids) == MAX_REFUSED_UIDS
    assert intake.results["held", "uid"] == 101
    assert len(intake.senders) == 0


def test_sender_cap_holds_and_loses_nothing() -> None:
    intake = make(cap=1)
    intake.receive(batch(1), ALLOWED, 0.0)
    assert intake.receive(batch(1, sender=B), ALLOWED, 0.0).reason == "sender_cap"
    assert intake.receive(bare(Kind.HEARTBEAT, sender=B), ALLOWED, 0.0).reason == "sender_cap"
    answered = answers(intake)
    assert (answered[B].verdict, answered[B].reason, answered[B].committed) == (Verdict.HOLD, Reason.SENDER_CAP, 0)


def test_not_ready_holds() -> None:
    intake = make()
    intake.ready = False
    assert intake.receive(batch(1), ALLOWED, 0.0).reason == "not_ready"
    assert intake.receive(bare(Kind.PROBE, sender=B), ALLOWED, 0.0).result == "probe"
    assert answers(intake)[A].reason is Reason.NOT_READY
    intake.ready = True
    assert intake.receive(batch(1), ALLOWED, 0.0).result == "applied"


def test_good_batches_count_between_any_bad_ones() -> None:
    intake, source, good = make(cap=10_000), random.Random(3), 0
    template = batch(1, sender=B)
    for sequence in range(1, 401):
        garbage = bytearray(template)
        for _ in range(8):
            garbage[source.randrange(len(garbage))] = source.randrange(256)
        intake.receive(bytes(garbage[: source.randrange(len(garbage))]), ALLOWED, float(sequence))
        good += intake.receive(batch(sequence), ALLOWED, float(sequence)).result == "applied"
        intake.commit()
    assert good == 400
    assert values(intake)["x",] == 400
    assert intake.results["applied", None] == 400
    assert intake.results.total() == 800


class BrokenError(Exception):
    """A bug of ours."""


def break_rows_of(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have the family of that name fail at each merge, after it was changed."""
    merge = Family.merge

    def failing(self: Family, batch: FamilyBatch, birth_ms: int, now: float) -> None:
        merge(self, batch, birth_ms, now)
        if self.shape.name == name:
            self._index.clear()
            raise BrokenError

    monkeypatch.setattr(Family, "merge", failing)


def named(name: str, sequence: int = 1, sender: bytes = A, *more: str) -> bytes:
    families = [
        {"name": metric, "type": "counter", "labels": ["l"], "columns": ["value"], "rows": [["x", 1], ["y", 1]]}
        for metric in (name, *more)
    ]
    return write_datagram(Header(VERSION, Kind.BATCH, sender, 1000, sequence, 1), {"families": families})


def counts(intake: Intake, name: str) -> list[float]:
    return [row.numbers[0] for row in intake.table.families[FamilyKey(name)].rows]


def test_a_batch_that_cannot_be_added_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this sender or another, before it or after it, nor another family of the same batch."""
    break_rows_of(monkeypatch, "bad_total")
    intake = make()
    for datagram in (
        named("good_total", 1, A),
        named("first_total", 2, A, "bad_total", "last_total"),
        named("good_total", 3, A),
        named("good_total", 1, B),
    ):
        intake.receive(datagram, ALLOWED, 0.0)
    drain = intake.take()
    settled = intake.settle(drain)
    assert [counts(intake, name) for name in ("good_total", "first_total", "last_total")] == [[3, 3], [1, 1], [1, 1]]
    assert {sender: read_answer(answer).committed for sender, answer in settled.answers} == {A: 3, B: 1}
    assert [(failure.family.name, failure.rows) for failure in settled.failures] == [("bad_total", 2)]
    assert isinstance(settled.failures[0].error, BrokenError)
    assert intake.table.failed_rows == 2


def test_a_family_whose_merge_failed_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its index agrees with its rows again: none is made twice, none keeps another from going."""
    intake = make()
    with monkeypatch.context() as broken:
        break_rows_of(broken, "bad_total")
        intake.receive(named("bad_total", 1), ALLOWED, 0.0)
        intake.commit()
    intake.receive(named("bad_total", 2), ALLOWED, 0.0)
    intake.commit()
    assert counts(intake, "bad_total") == [2, 2]
    family = {"name": "bad_total", "type": "counter", "labels": ["l"], "columns": ["value"], "rows": []}
    reset = write_datagram(Header(VERSION, Kind.BATCH, A, 1000, 3, 1), {"families": [{**family, "reset": True}]})
    intake.receive(reset, ALLOWED, 0.0)
    intake.commit()
    assert counts(intake, "bad_total") == []


def break_method_of(monkeypatch: pytest.MonkeyPatch, name: str, method: str) -> None:
    """Have the family of that name fail at each call of a method."""
    whole = getattr(Family, method)

    def failing(self: Family, *arguments: Any) -> Any:
        if self.shape.name == name:
            raise BrokenError
        return whole(self, *arguments)

    monkeypatch.setattr(Family, method, failing)


@pytest.mark.parametrize("broken", [("scan",), ("scan", "repair"), ("merge", "repair"), ("follow",)])
def test_a_bug_anywhere_in_a_family_costs_no_batch_of_others(
    monkeypatch: pytest.MonkeyPatch, broken: tuple[str, ...]
) -> None:
    """Not even in making room, which is no batch's own, or in what mends a family."""
    intake = Intake(Table(room=Room(max_rows=2)), Senders(), lambda uid: uid == ALLOWED)
    intake.receive(named("bad_total", 1, A), ALLOWED, 0.0)
    intake.commit()

    for method in broken:
        break_method_of(monkeypatch, "bad_total", method)
    for datagram in (named("bad_total", 2, A), named("good_total", 1, B)):
        intake.receive(datagram, ALLOWED, 60.0)
    settled = intake.settle(intake.take())
    assert counts(intake, "good_total") == [2]
    assert {sender: read_answer(answer).committed for sender, answer in settled.answers} == {A: 2, B: 1}
    assert {(failure.family.name, type(failure.error)) for failure in settled.failures} == {("bad_total", BrokenError)}


READERS = [("read_batch", batch(2), "dropped"), ("read_heartbeat", bare(Kind.HEARTBEAT), "dropped")]


@pytest.mark.parametrize(("reader", "datagram", "result"), READERS)
def test_a_bug_while_a_datagram_is_read_costs_that_one(
    reader: str, datagram: bytes, result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = make()
    intake.receive(batch(1), ALLOWED, 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(f"resty_metrics.ingest.intake.{reader}", lambda body: 1 / 0)
        outcome = intake.receive(datagram, ALLOWED, 0.0)
    assert (outcome.result, outcome.reason, type(outcome.error)) == (result, "internal", ZeroDivisionError)
    after = 3 if reader == "read_batch" else 2
    assert intake.receive(batch(after), ALLOWED, 0.0).result == "applied", "the sender is not stuck"
    assert answers(intake)[A].committed == after
    assert values(intake) == {("x",): 2, ("y",): 2}
    assert intake.results["dropped", "internal"] == 1


def test_a_bug_anywhere_else_costs_the_datagram(monkeypatch: pytest.MonkeyPatch) -> None:
    intake = make()
    with monkeypatch.context() as broken:
        broken.setattr(Senders, "place", lambda *arguments: 1 / 0)
        outcome = intake.receive(batch(1), ALLOWED, 0.0)
    assert (outcome.result, outcome.reason, outcome.sender) == ("unanswerable", "internal", None)
    assert intake.receive(batch(1), ALLOWED, 0.0).result == "applied"


NOW_MS = 1_800_000_000_000


def shaped(sender: bytes, birth_ms: int, bounds: list[int], sequence: int = 1) -> bytes:
    rows = [[1] * (len(bounds) + 2)]
    family = {"name": "h", "type": "histogram", "labels": [], "bounds": bounds, "columns": ["sum"], "rows": rows}
    return write_datagram(Header(VERSION, Kind.BATCH, sender, birth_ms, sequence, sequence), {"families": [family]})


def bounds(intake: Intake) -> tuple[float, ...] | None:
    intake.commit()
    (family,) = intake.table.families.values()
    return family.shape.bounds


def test_a_birth_in_the_future_counts_as_now() -> None:
    """A clock that was ahead, or a liar, must not keep a shape for good."""
    intake = make()
    intake.receive(shaped(A, 2**64 - 1, [1]), ALLOWED, 0.0, NOW_MS)
    assert bounds(intake) == (1,)
    intake.receive(shaped(B, NOW_MS + 1, [2]), ALLOWED, 0.0, NOW_MS + 2)
    intake.receive(shaped(A, 2**64 - 1, [1], 2), ALLOWED, 0.0, NOW_MS + 3)
    assert bounds(intake) == (2,)


@pytest.mark.parametrize("restarted", [False, True])
def test_after_the_clock_was_set_back_who_is_met_last_is_the_youngest(restarted: bool) -> None:
    intake = make()
    intake.receive(shaped(A, NOW_MS, [1]), ALLOWED, 0.0, NOW_MS + 10)
    assert bounds(intake) == (1,)
    if restarted:  # and A is forgotten
        intake = Intake(Table.restore(intake.table.capture()), Senders(10), lambda uid: uid == ALLOWED)
    hour = 3_600_000
    intake.receive(shaped(B, NOW_MS - hour, [2]), ALLOWED, 0.0, NOW_MS - hour + 10)
    assert bounds(intake) == (2,)
    intake.receive(shaped(B, NOW_MS - hour, [2], 2), ALLOWED, 0.0, NOW_MS - hour + 20)
    intake.receive(shaped(b"c" * 16, NOW_MS - hour + 90, [3]), ALLOWED, 0.0, NOW_MS - hour + 100)
    intake.receive(shaped(B, NOW_MS - hour, [2], 3), ALLOWED, 0.0, NOW_MS - hour + 110)
    assert bounds(intake) == (3,)
    intake.receive(shaped(b"d" * 16, NOW_MS + hour, [4]), ALLOWED, 0.0, NOW_MS + hour + 10)
    assert bounds(intake) == (4,)


def test_what_a_journal_keeps_is_the_birth_that_was_believed() -> None:
    intake = make()
    intake.receive(shaped(A, 2**64 - 1, [1]), ALLOWED, 0.0, NOW_MS)
    (accepted,) = intake.take().accepted
    assert accepted.birth_ms == NOW_MS
    assert [mark.birth_ms for mark in intake.senders.capture()] == [NOW_MS]
