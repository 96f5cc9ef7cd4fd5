"""The collector's state chart of docs/wire.md, cell by cell."""

import pytest
from resty_metrics.ingest.beats import BEAT_SECONDS, GAUGES_SECONDS, MAX_INSTANCES
from resty_metrics.ingest.sender import Placement
from resty_metrics.ingest.senders import DEPARTED_PER_SENDER, ENDED_SECONDS, SENDER_CAP, SILENT_SECONDS, Senders
from resty_metrics.wire.datagram import VERSION, Header, Kind
from resty_metrics.wire.gauge_family import gauge_family
from resty_metrics.wire.heartbeat import Heartbeat, Master

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def batch(sequence: int, base: int, sender: bytes = A) -> Header:
    return Header(VERSION, Kind.BATCH, sender, 1000, sequence, base)


def beat(number: int, base: int = 1, sender: bytes = A) -> Header:
    return Header(VERSION, Kind.HEARTBEAT, sender, 1000, number, base)


def bye(sender: bytes = A) -> Header:
    return Header(VERSION, Kind.BYE, sender, 1000, 1, 2)


def opened(received: int) -> Senders:
    senders = Senders()
    assert senders.place(batch(received, received), 0.0) is Placement.NEXT
    senders.advance(A, received)
    senders.commit(A, received)
    return senders


@pytest.mark.parametrize(
    ("name", "sequence", "base", "expected"),
    [
        ("first of all", 1, 1, Placement.NEXT),
        ("first after lost state", 9, 9, Placement.NEXT),
        ("a later one of a window", 9, 7, Placement.OUT_OF_ORDER),
        ("a number that is acked already", 6, 7, Placement.DUPLICATE),
    ],
)
def test_batch_of_an_unknown_sender(name: str, sequence: int, base: int, expected: Placement) -> None:
    senders = Senders()
    assert senders.place(batch(sequence, base), 0.0) is expected
    assert senders.committed(A) == base - 1
    assert len(senders) == 1


@pytest.mark.parametrize(
    ("name", "sequence", "base", "expected"),
    [
        ("next, all acked", 6, 6, Placement.NEXT),
        ("next, behind unacked ones", 6, 2, Placement.NEXT),
        ("the last one again", 5, 5, Placement.DUPLICATE),
        ("an old one again", 1, 1, Placement.DUPLICATE),
        ("one was lost on the way", 7, 5, Placement.OUT_OF_ORDER),
        ("base was lost on the way", 8, 7, Placement.OUT_OF_ORDER),
        ("the collector lost state", 9, 9, Placement.NEXT_LOST_STATE),
    ],
)
def test_batch_of_an_open_sender(name: str, sequence: int, base: int, expected: Placement) -> None:
    assert opened(5).place(batch(sequence, base), 0.0) is expected


def test_received_runs_ahead_of_committed() -> None:
    senders = opened(5)
    assert senders.place(batch(6, 6), 0.0) is Placement.NEXT
    senders.advance(A, 6)
    assert senders.place(batch(6, 6), 0.0) is Placement.DUPLICATE
    assert senders.committed(A) == 5
    senders.commit(A, 6)
    assert senders.committed(A) == 6


def test_bye_of_an_unknown_sender_makes_none() -> None:
    senders = Senders()
    senders.bye(bye(), 0.0)
    assert len(senders) == 0
    assert senders.committed(A) == 0


def test_a_batch_opens_an_ended_sender_again() -> None:
    senders = opened(5)
    senders.bye(bye(), 1.0)
    assert senders.states(0.0) == {"open": 0, "silent": 0, "ended": 1, "departed": 0}
    assert senders.place(batch(6, 6), 2.0) is Placement.NEXT
    senders.advance(A, 6)
    senders.commit(A, 6)
    assert senders.states(0.0) == {"open": 1, "silent": 0, "ended": 0, "departed": 0}
    senders.prune(1.0 + ENDED_SECONDS)
    assert len(senders) == 1


def test_heartbeat_begins_a_sender_at_its_base() -> None:
    senders = Senders()
    assert senders.beat(beat(1, base=4), Heartbeat(worker=0), 0.0)
    assert senders.committed(A) == 3
    assert senders.place(batch(5, 4), 0.0) is Placement.OUT_OF_ORDER
    assert senders.place(batch(4, 4), 0.0) is Placement.NEXT


def test_the_newest_heartbeat_holds() -> None:
    senders = Senders()
    senders.beat(beat(2), Heartbeat(worker=2), 10.0)
    senders.beat(beat(1), Heartbeat(worker=1), 11.0)
    senders.beat(beat(2), Heartbeat(worker=3), 12.0)
    (live,) = senders.heartbeats(12.0)
    assert (live.sender, live.birth_ms, live.last_seen, live.heartbeat) == (A, 1000, 10.0, Heartbeat(worker=2))


def part(number: int, of: int, *names: str, worker: int | None = None) -> Heartbeat:
    families = tuple([gauge_family(name, "", (), "sum", [(1, 1)]) for name in names])
    return Heartbeat(worker=worker, families=families, part=number, parts=of)


def names(senders: Senders, now: float) -> list[str]:
    (live,) = senders.heartbeats(now)
    return [family.name for family in live.heartbeat.families]


def test_a_beat_of_several_parts_counts_when_all_have_come() -> None:
    senders = Senders()
    senders.beat(beat(1), Heartbeat(worker=7, families=part(1, 1, "old").families), 1.0)
    senders.beat(beat(2), part(2, 3, "b"), 2.0)
    senders.beat(beat(2), part(1, 3, "a", worker=8), 3.0)
    senders.beat(beat(2), part(2, 3, "b"), 3.5)  # once more
    assert names(senders, 4.0) == ["old"]
    senders.beat(beat(2), part(3, 3, "c"), 4.0)
    (live,) = senders.heartbeats(4.0)
    assert names(senders, 4.0) == ["a", "b", "c"]
    assert (live.heartbeat.worker, live.heartbeat.parts, live.last_seen) == (8, 1, 4.0)


def test_a_part_of_a_later_beat_ends_the_wait_for_the_earlier() -> None:
    senders = Senders()
    senders.beat(beat(1), part(1, 2, "a1"), 1.0)
    senders.beat(beat(2), part(2, 2, "b2"), 2.0)
    senders.beat(beat(1), part(2, 2, "b1"), 3.0)
    assert senders.heartbeats(3.0) == []
    senders.beat(beat(2), part(1, 2, "a2"), 4.0)
    assert names(senders, 4.0) == ["a2", "b2"]
    senders.beat(beat(1), part(1, 1, "late"), 5.0)
    assert names(senders, 5.0) == ["a2", "b2"]


def test_parts_that_never_become_whole_keep_no_gauges_alive() -> None:
    senders = Senders()
    senders.beat(beat(1), part(1, 1, "a"), 0.0)
    for number in range(2, 10):
        senders.beat(beat(number), part(1, 2, "a"), 2.0 * number)
    assert senders.heartbeats(18.0) == []


def test_a_sender_that_fell_silent_holds_no_gauges() -> None:
    """Those of a worker that was killed would be kept for a day."""
    senders = Senders()
    senders.beat(beat(1), part(1, 1, "a"), 0.0)
    senders.beat(beat(2), part(1, 2, "a"), 0.0)
    senders.prune(GAUGES_SECONDS)
    assert names(senders, GAUGES_SECONDS) == ["a"]
    senders.prune(GAUGES_SECONDS + 0.1)
    senders.beat(beat(2), part(2, 2, "b"), 20.0)
    assert senders.heartbeats(0.0) == []
    assert len(senders) == 1


def test_gauges_expire_after_three_missed_beats() -> None:
    senders = Senders()
    senders.beat(beat(1), Heartbeat(), 10.0)
    assert len(senders.heartbeats(10.0 + GAUGES_SECONDS)) == 1
    assert senders.heartbeats(10.1 + GAUGES_SECONDS) == []
    senders.beat(beat(2), Heartbeat(), 100.0)
    assert len(senders.heartbeats(100.0)) == 1


def test_a_beat_is_recent_for_less_than_two_periods() -> None:
    """So nginx is not up two periods after it was killed, even if that was right after a beat."""
    senders = Senders()
    senders.beat(beat(1), Heartbeat(), 10.0)
    ages = (0.0, BEAT_SECONDS, 2 * BEAT_SECONDS - 0.1, 2 * BEAT_SECONDS, GAUGES_SECONDS)
    assert [senders.heartbeats(10.0 + age)[0].recent for age in ages] == [True, True, True, False, False]


def test_gauges_go_with_a_bye_and_do_not_come_back() -> None:
    senders = Senders()
    senders.beat(beat(1), Heartbeat(), 10.0)
    senders.bye(bye(), 11.0)
    assert senders.beat(beat(2), Heartbeat(), 12.0)
    assert senders.heartbeats(12.0) == []


@pytest.mark.parametrize(
    ("name", "after", "left"),
    [("in time", ENDED_SECONDS - 0.1, 1), ("over", ENDED_SECONDS, 0)],
)
def test_ended_senders_are_forgotten(name: str, after: float, left: int) -> None:
    senders = opened(5)
    senders.bye(bye(), 100.0)
    senders.bye(bye(), 200.0)  # another bye does not put it off
    assert senders.prune(100.0 + after) == 1 - left
    assert len(senders) == left


def test_silent_senders_are_forgotten() -> None:
    senders = opened(5)
    senders.place(batch(5, 5), 50.0)
    assert senders.prune(49.9 + SILENT_SECONDS) == 0
    assert senders.prune(50.0 + SILENT_SECONDS) == 1


def test_a_sender_whose_commit_is_under_way_is_not_forgotten() -> None:
    senders = opened(5)
    senders.place(batch(6, 6), 0.0)
    senders.advance(A, 6)
    assert senders.prune(SILENT_SECONDS) == 0
    senders.commit(A, 6)
    assert senders.prune(SILENT_SECONDS) == 1


def test_cap() -> None:
    senders = Senders(cap=2)
    assert senders.place(batch(1, 1, A), 0.0) is Placement.NEXT
    assert senders.beat(beat(1, sender=B), Heartbeat(), 0.0)
    assert senders.place(batch(1, 1, C), 1.0) is Placement.SENDER_CAP
    assert not senders.beat(beat(1, sender=C), Heartbeat(), 1.0)
    assert senders.place(batch(1, 1, A), 1.0) is Placement.NEXT
    assert len(senders) == 2


def filled(cap: int) -> Senders:
    """Senders 0, 1, 2, ... up to the cap, each with one safe batch, met at the second of its number."""
    senders = Senders(cap=cap)
    for number in range(cap):
        send(senders, number, 1, float(number))
    return senders


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def send(senders: Senders, number: int, sequence: int, now: float, base: int = 1) -> Placement:
    place = senders.place(batch(sequence, base, name(number)), now)
    if place is Placement.NEXT:
        senders.advance(name(number), sequence)
        senders.commit(name(number), sequence)
    return place


SILENT = GAUGES_SECONDS + 0.1


def test_an_ended_sender_gives_way_at_once_and_the_first_to_end_first() -> None:
    senders = filled(3)
    senders.bye(bye(name(2)), 3.0)
    senders.bye(bye(name(0)), 4.0)
    assert send(senders, 7, 1, 4.0) is Placement.NEXT
    assert senders.states(4.0) == {"open": 2, "silent": 0, "ended": 1, "departed": 1}
    assert send(senders, 8, 1, 4.0) is Placement.NEXT
    assert send(senders, 9, 1, 4.0) is Placement.SENDER_CAP
    assert senders.states(4.0) == {"open": 3, "silent": 0, "ended": 0, "departed": 2}


def test_a_silent_sender_gives_way_the_oldest_first() -> None:
    senders = filled(3)
    send(senders, 0, 2, 3.0)
    assert send(senders, 7, 1, 1.0 + GAUGES_SECONDS) is Placement.SENDER_CAP
    assert send(senders, 7, 1, 1.0 + SILENT) is Placement.NEXT
    assert send(senders, 8, 1, 1.0 + SILENT) is Placement.SENDER_CAP
    assert send(senders, 8, 1, 2.0 + SILENT) is Placement.NEXT
    assert senders.beat(beat(1, sender=name(0)), Heartbeat(), 2.0 + SILENT)
    assert senders.states(2.0 + SILENT) == {"open": 3, "silent": 0, "ended": 0, "departed": 2}


def test_an_ended_sender_gives_way_before_a_silent_one() -> None:
    senders = filled(2)
    senders.bye(bye(name(1)), 100.0)
    assert send(senders, 7, 1, 100.0) is Placement.NEXT
    assert senders.states(100.0) == {"open": 1, "silent": 1, "ended": 0, "departed": 1}


def test_a_sender_that_is_heard_does_not_give_way() -> None:
    senders = filled(1)
    for second in range(1, 100):
        assert senders.beat(beat(second, sender=name(0)), Heartbeat(), float(second))
        assert send(senders, 7, 1, second + 0.9) is Placement.SENDER_CAP


def test_a_sender_whose_commit_is_under_way_does_not_give_way() -> None:
    senders = filled(2)
    senders.place(batch(2, 1, name(0)), 1.0)
    senders.advance(name(0), 2)
    senders.bye(bye(name(0)), 1.0)
    assert send(senders, 7, 1, 1.0) is Placement.SENDER_CAP
    assert send(senders, 7, 1, 1.0 + SILENT) is Placement.NEXT, "the other one is silent"
    senders.commit(name(0), 2)
    assert send(senders, 8, 1, 1.0 + SILENT) is Placement.NEXT


def test_a_sender_that_gave_way_comes_back_without_loss_or_double_count() -> None:
    """It was stopped with two batches that it does not know to be safe; meanwhile others took its place."""
    senders = filled(1)
    for sequence in (2, 3):
        send(senders, 0, sequence, 0.0)
    assert send(senders, 7, 1, SILENT) is Placement.NEXT
    assert senders.committed(name(0)) == 3
    back = 2 * SILENT
    assert send(senders, 0, 2, back, base=2) is Placement.DUPLICATE
    assert send(senders, 0, 3, back, base=2) is Placement.DUPLICATE
    assert send(senders, 0, 5, back, base=2) is Placement.OUT_OF_ORDER
    assert send(senders, 0, 4, back, base=2) is Placement.NEXT
    assert send(senders, 0, 9, back, base=9) is Placement.NEXT_LOST_STATE


def test_what_says_bye_after_it_gave_way_is_told_what_is_safe() -> None:
    senders = filled(1)
    send(senders, 7, 1, SILENT)
    assert not senders.bye(bye(name(0)), SILENT)
    assert senders.committed(name(0)) == 1
    assert senders.states(SILENT)["open"] == 1


def test_the_birth_of_a_sender_that_gave_way_stays_as_it_was() -> None:
    senders = filled(1)
    send(senders, 7, 1, SILENT)
    assert senders.birth(batch(2, 2, name(0)), 2000) == 1000


def test_the_dead_keep_no_worker_out() -> None:
    """64 workers that crash each second and a quarter, for hours: the cap would be full after 80 seconds."""
    senders = Senders()
    for generation in range(2_000):
        for worker in range(64):
            assert send(senders, generation * 64 + worker, 1, generation * 1.25) is Placement.NEXT
    states = senders.states(2_000 * 1.25)
    assert (len(senders), states["departed"]) == (SENDER_CAP, SENDER_CAP * DEPARTED_PER_SENDER)


def test_reloads_keep_no_worker_out() -> None:
    senders = Senders(cap=64)
    for generation in range(50):
        for worker in range(64):
            number = generation * 64 + worker
            assert send(senders, number, 1, float(generation)) is Placement.NEXT
            senders.bye(bye(name(number)), float(generation))


def test_the_mark_that_departed_first_is_forgotten_first() -> None:
    senders = Senders(cap=1)
    for number in range(DEPARTED_PER_SENDER + 2):
        send(senders, number, 1, number * SILENT)
    assert [senders.committed(name(number)) for number in range(3)] == [0, 1, 1]


def test_the_marks_of_those_that_said_bye_are_forgotten_first() -> None:
    """Reloads, however many, do not make a worker that was stopped for long count twice."""
    senders = Senders(1)
    senders.place(batch(1, 1), 0.0)
    senders.advance(A, 1)
    senders.commit(A, 1)
    for number in range(3 * DEPARTED_PER_SENDER):
        now, name = GAUGES_SECONDS + 1 + number, number.to_bytes(16)
        assert senders.place(batch(1, 1, name), now) is Placement.NEXT
        senders.bye(bye(name), now)
    assert senders.states(now)["departed"] == DEPARTED_PER_SENDER
    assert senders.place(batch(1, 1), now) is Placement.DUPLICATE


def test_the_marks_of_the_departed_are_forgotten_in_the_end() -> None:
    senders = filled(1)
    send(senders, 7, 1, SILENT)
    assert senders.prune(SILENT_SECONDS - 0.1) == 0
    assert senders.prune(SILENT_SECONDS) == 1
    assert senders.committed(name(0)) == 0


def test_a_restart_keeps_all_marks_and_has_room_for_the_living() -> None:
    senders = filled(3)
    senders.bye(bye(name(2)), 3.0)
    send(senders, 7, 1, 3.0)
    again = Senders(cap=2)
    for mark in senders.capture():
        again.restore(mark)
    assert again.states(3.0) == {"open": 2, "silent": 0, "ended": 0, "departed": 2}
    assert [again.committed(name(number)) for number in (0, 1, 2, 7)] == [1, 1, 1, 1]
    for turn, number in enumerate((2, 0, 1, 7), 1):
        assert send(again, number, 1, 3.0 + turn * SILENT) is Placement.DUPLICATE


def test_a_name_that_its_master_gave_up_is_no_instance_any_more() -> None:
    senders = Senders()
    first_master, second_master = Master(1, 100), Master(2, 200)
    for sender, instance, master in (
        (A, "old", first_master),
        (b"b" * 16, "new", first_master),
        (b"c" * 16, "edge", second_master),
    ):
        senders.beat(beat(1, sender=sender), Heartbeat(instance=instance, master=master), 0.0)
    assert senders.instances == {"old", "new", "edge"}
    senders.bye(bye(A), 1.0)
    senders.bye(bye(b"c" * 16), 1.0)
    assert senders.instances == {"new", "edge"}, "edge has ended, and nobody goes on for it"


def test_names_that_batches_say_are_bounded() -> None:
    """One sender can be many senders, and say another name in each: no more are shown than the table takes."""
    senders = Senders()

    def call(number: int, now: float) -> None:
        sender = number.to_bytes(16, "big")
        senders.place(batch(1, 1, sender=sender), now)
        senders.call(sender, f"said-{number}")

    for number in range(MAX_INSTANCES - 1):
        call(number, float(number))
    senders.beat(beat(1), Heartbeat(instance="living"), 1.0)
    assert senders.instances == {"living", *(f"said-{number}" for number in range(MAX_INSTANCES - 1))}
    for number in range(MAX_INSTANCES, 1_000):
        call(number, float(number))
    latest = {f"said-{number}" for number in range(1_000 - MAX_INSTANCES + 1, 1_000)}
    assert senders.instances == {"living", *latest}, "heartbeats come first, then who was heard of last"
    again = Senders()
    for mark in senders.capture():
        again.restore(mark)
    assert again.instances == {f"said-{1_000 - MAX_INSTANCES}", *latest}, "after a restart nobody has a heartbeat yet"


def test_last_datagram() -> None:
    senders = Senders(cap=1)
    assert senders.last_datagram is None
    senders.place(batch(1, 1), 3.0)
    senders.place(batch(1, 1, B), 4.0)
    assert senders.last_datagram == 3.0
