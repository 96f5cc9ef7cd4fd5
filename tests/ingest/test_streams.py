"""The collector's state chart of docs/wire.md, cell by cell."""

import pytest
from resty_metrics.ingest.beats import BEAT_SECONDS, GAUGES_SECONDS, MAX_INSTANCES
from resty_metrics.ingest.stream import Placement
from resty_metrics.ingest.streams import DEPARTED_PER_STREAM, ENDED_SECONDS, SILENT_SECONDS, STREAM_CAP, Streams
from resty_metrics.wire.datagram import Header, Kind
from resty_metrics.wire.gauge_family import gauge_family
from resty_metrics.wire.heartbeat import Heartbeat, Master

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def batch(sequence: int, base: int, stream: bytes = A) -> Header:
    return Header(1, Kind.BATCH, stream, 1000, sequence, base)


def beat(number: int, base: int = 1, stream: bytes = A) -> Header:
    return Header(1, Kind.HEARTBEAT, stream, 1000, number, base)


def bye(stream: bytes = A) -> Header:
    return Header(1, Kind.BYE, stream, 1000, 1, 2)


def opened(received: int) -> Streams:
    streams = Streams()
    assert streams.place(batch(received, received), 0.0) is Placement.NEXT
    streams.advance(A, received)
    streams.commit(A, received)
    return streams


@pytest.mark.parametrize(
    ("name", "sequence", "base", "expected"),
    [
        ("first of all", 1, 1, Placement.NEXT),
        ("first after lost state", 9, 9, Placement.NEXT),
        ("a later one of a window", 9, 7, Placement.OUT_OF_ORDER),
        ("a number that is acked already", 6, 7, Placement.DUPLICATE),
    ],
)
def test_batch_of_an_unknown_stream(name: str, sequence: int, base: int, expected: Placement) -> None:
    streams = Streams()
    assert streams.place(batch(sequence, base), 0.0) is expected
    assert streams.committed(A) == base - 1
    assert len(streams) == 1


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
def test_batch_of_an_open_stream(name: str, sequence: int, base: int, expected: Placement) -> None:
    assert opened(5).place(batch(sequence, base), 0.0) is expected


def test_received_runs_ahead_of_committed() -> None:
    streams = opened(5)
    assert streams.place(batch(6, 6), 0.0) is Placement.NEXT
    streams.advance(A, 6)
    assert streams.place(batch(6, 6), 0.0) is Placement.DUPLICATE
    assert streams.committed(A) == 5
    streams.commit(A, 6)
    assert streams.committed(A) == 6


def test_bye_of_an_unknown_stream_makes_none() -> None:
    streams = Streams()
    streams.bye(bye(), 0.0)
    assert len(streams) == 0
    assert streams.committed(A) == 0


def test_a_batch_opens_an_ended_stream_again() -> None:
    streams = opened(5)
    streams.bye(bye(), 1.0)
    assert streams.states(0.0) == {"open": 0, "silent": 0, "ended": 1, "departed": 0}
    assert streams.place(batch(6, 6), 2.0) is Placement.NEXT
    streams.advance(A, 6)
    streams.commit(A, 6)
    assert streams.states(0.0) == {"open": 1, "silent": 0, "ended": 0, "departed": 0}
    streams.prune(1.0 + ENDED_SECONDS)
    assert len(streams) == 1


def test_heartbeat_begins_a_stream_at_its_base() -> None:
    streams = Streams()
    assert streams.beat(beat(1, base=4), Heartbeat(worker=0), 0.0)
    assert streams.committed(A) == 3
    assert streams.place(batch(5, 4), 0.0) is Placement.OUT_OF_ORDER
    assert streams.place(batch(4, 4), 0.0) is Placement.NEXT


def test_the_newest_heartbeat_holds() -> None:
    streams = Streams()
    streams.beat(beat(2), Heartbeat(worker=2), 10.0)
    streams.beat(beat(1), Heartbeat(worker=1), 11.0)
    streams.beat(beat(2), Heartbeat(worker=3), 12.0)
    (live,) = streams.heartbeats(12.0)
    assert (live.stream, live.birth_ms, live.seen, live.heartbeat) == (A, 1000, 10.0, Heartbeat(worker=2))


def part(number: int, of: int, *names: str, worker: int | None = None) -> Heartbeat:
    families = tuple([gauge_family(name, "", (), "sum", [(1, 1)]) for name in names])
    return Heartbeat(worker=worker, families=families, part=number, parts=of)


def names(streams: Streams, now: float) -> list[str]:
    (live,) = streams.heartbeats(now)
    return [family.name for family in live.heartbeat.families]


def test_a_beat_of_several_parts_counts_when_all_have_come() -> None:
    streams = Streams()
    streams.beat(beat(1), Heartbeat(worker=7, families=part(1, 1, "old").families), 1.0)
    streams.beat(beat(2), part(2, 3, "b"), 2.0)
    streams.beat(beat(2), part(1, 3, "a", worker=8), 3.0)
    streams.beat(beat(2), part(2, 3, "b"), 3.5)  # once more
    assert names(streams, 4.0) == ["old"]
    streams.beat(beat(2), part(3, 3, "c"), 4.0)
    (live,) = streams.heartbeats(4.0)
    assert names(streams, 4.0) == ["a", "b", "c"]
    assert (live.heartbeat.worker, live.heartbeat.parts, live.seen) == (8, 1, 4.0)


def test_a_part_of_a_later_beat_ends_the_wait_for_the_earlier() -> None:
    streams = Streams()
    streams.beat(beat(1), part(1, 2, "a1"), 1.0)
    streams.beat(beat(2), part(2, 2, "b2"), 2.0)
    streams.beat(beat(1), part(2, 2, "b1"), 3.0)
    assert streams.heartbeats(3.0) == []
    streams.beat(beat(2), part(1, 2, "a2"), 4.0)
    assert names(streams, 4.0) == ["a2", "b2"]
    streams.beat(beat(1), part(1, 1, "late"), 5.0)
    assert names(streams, 5.0) == ["a2", "b2"]


def test_parts_that_never_become_whole_keep_no_gauges_alive() -> None:
    streams = Streams()
    streams.beat(beat(1), part(1, 1, "a"), 0.0)
    for number in range(2, 10):
        streams.beat(beat(number), part(1, 2, "a"), 2.0 * number)
    assert streams.heartbeats(18.0) == []


def test_a_stream_that_fell_silent_holds_no_gauges() -> None:
    """Those of a worker that was killed would be kept for a day."""
    streams = Streams()
    streams.beat(beat(1), part(1, 1, "a"), 0.0)
    streams.beat(beat(2), part(1, 2, "a"), 0.0)
    streams.prune(GAUGES_SECONDS)
    assert names(streams, GAUGES_SECONDS) == ["a"]
    streams.prune(GAUGES_SECONDS + 0.1)
    streams.beat(beat(2), part(2, 2, "b"), 20.0)
    assert streams.heartbeats(0.0) == []
    assert len(streams) == 1


def test_gauges_expire_after_three_missed_beats() -> None:
    streams = Streams()
    streams.beat(beat(1), Heartbeat(), 10.0)
    assert len(streams.heartbeats(10.0 + GAUGES_SECONDS)) == 1
    assert streams.heartbeats(10.1 + GAUGES_SECONDS) == []
    streams.beat(beat(2), Heartbeat(), 100.0)
    assert len(streams.heartbeats(100.0)) == 1


def test_a_beat_is_recent_for_less_than_two_periods() -> None:
    """So nginx is not up two periods after it was killed, even if that was right after a beat."""
    streams = Streams()
    streams.beat(beat(1), Heartbeat(), 10.0)
    ages = (0.0, BEAT_SECONDS, 2 * BEAT_SECONDS - 0.1, 2 * BEAT_SECONDS, GAUGES_SECONDS)
    assert [streams.heartbeats(10.0 + age)[0].recent for age in ages] == [True, True, True, False, False]


def test_gauges_go_with_a_bye_and_do_not_come_back() -> None:
    streams = Streams()
    streams.beat(beat(1), Heartbeat(), 10.0)
    streams.bye(bye(), 11.0)
    assert streams.beat(beat(2), Heartbeat(), 12.0)
    assert streams.heartbeats(12.0) == []


@pytest.mark.parametrize(
    ("name", "after", "left"),
    [("in time", ENDED_SECONDS - 0.1, 1), ("over", ENDED_SECONDS, 0)],
)
def test_ended_streams_are_forgotten(name: str, after: float, left: int) -> None:
    streams = opened(5)
    streams.bye(bye(), 100.0)
    streams.bye(bye(), 200.0)  # another bye does not put it off
    assert streams.prune(100.0 + after) == 1 - left
    assert len(streams) == left


def test_silent_streams_are_forgotten() -> None:
    streams = opened(5)
    streams.place(batch(5, 5), 50.0)
    assert streams.prune(49.9 + SILENT_SECONDS) == 0
    assert streams.prune(50.0 + SILENT_SECONDS) == 1


def test_a_stream_whose_commit_is_under_way_is_not_forgotten() -> None:
    streams = opened(5)
    streams.place(batch(6, 6), 0.0)
    streams.advance(A, 6)
    assert streams.prune(SILENT_SECONDS) == 0
    streams.commit(A, 6)
    assert streams.prune(SILENT_SECONDS) == 1


def test_cap() -> None:
    streams = Streams(cap=2)
    assert streams.place(batch(1, 1, A), 0.0) is Placement.NEXT
    assert streams.beat(beat(1, stream=B), Heartbeat(), 0.0)
    assert streams.place(batch(1, 1, C), 1.0) is Placement.STREAM_CAP
    assert not streams.beat(beat(1, stream=C), Heartbeat(), 1.0)
    assert streams.place(batch(1, 1, A), 1.0) is Placement.NEXT
    assert len(streams) == 2


def filled(cap: int) -> Streams:
    """Streams 0, 1, 2, ... up to the cap, each with one safe batch, met at the second of its number."""
    streams = Streams(cap=cap)
    for number in range(cap):
        send(streams, number, 1, float(number))
    return streams


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def send(streams: Streams, number: int, sequence: int, now: float, base: int = 1) -> Placement:
    place = streams.place(batch(sequence, base, name(number)), now)
    if place is Placement.NEXT:
        streams.advance(name(number), sequence)
        streams.commit(name(number), sequence)
    return place


SILENT = GAUGES_SECONDS + 0.1


def test_an_ended_stream_gives_way_at_once_and_the_first_to_end_first() -> None:
    streams = filled(3)
    streams.bye(bye(name(2)), 3.0)
    streams.bye(bye(name(0)), 4.0)
    assert send(streams, 7, 1, 4.0) is Placement.NEXT
    assert streams.states(4.0) == {"open": 2, "silent": 0, "ended": 1, "departed": 1}
    assert send(streams, 8, 1, 4.0) is Placement.NEXT
    assert send(streams, 9, 1, 4.0) is Placement.STREAM_CAP
    assert streams.states(4.0) == {"open": 3, "silent": 0, "ended": 0, "departed": 2}


def test_a_silent_stream_gives_way_the_oldest_first() -> None:
    streams = filled(3)
    send(streams, 0, 2, 3.0)
    assert send(streams, 7, 1, 1.0 + GAUGES_SECONDS) is Placement.STREAM_CAP
    assert send(streams, 7, 1, 1.0 + SILENT) is Placement.NEXT
    assert send(streams, 8, 1, 1.0 + SILENT) is Placement.STREAM_CAP
    assert send(streams, 8, 1, 2.0 + SILENT) is Placement.NEXT
    assert streams.beat(beat(1, stream=name(0)), Heartbeat(), 2.0 + SILENT)
    assert streams.states(2.0 + SILENT) == {"open": 3, "silent": 0, "ended": 0, "departed": 2}


def test_an_ended_stream_gives_way_before_a_silent_one() -> None:
    streams = filled(2)
    streams.bye(bye(name(1)), 100.0)
    assert send(streams, 7, 1, 100.0) is Placement.NEXT
    assert streams.states(100.0) == {"open": 1, "silent": 1, "ended": 0, "departed": 1}


def test_a_stream_that_is_heard_does_not_give_way() -> None:
    streams = filled(1)
    for second in range(1, 100):
        assert streams.beat(beat(second, stream=name(0)), Heartbeat(), float(second))
        assert send(streams, 7, 1, second + 0.9) is Placement.STREAM_CAP


def test_a_stream_whose_commit_is_under_way_does_not_give_way() -> None:
    streams = filled(2)
    streams.place(batch(2, 1, name(0)), 1.0)
    streams.advance(name(0), 2)
    streams.bye(bye(name(0)), 1.0)
    assert send(streams, 7, 1, 1.0) is Placement.STREAM_CAP
    assert send(streams, 7, 1, 1.0 + SILENT) is Placement.NEXT, "the other one is silent"
    streams.commit(name(0), 2)
    assert send(streams, 8, 1, 1.0 + SILENT) is Placement.NEXT


def test_a_stream_that_gave_way_comes_back_without_loss_or_double_count() -> None:
    """It was stopped with two batches that it does not know to be safe; meanwhile others took its place."""
    streams = filled(1)
    for sequence in (2, 3):
        send(streams, 0, sequence, 0.0)
    assert send(streams, 7, 1, SILENT) is Placement.NEXT
    assert streams.committed(name(0)) == 3
    back = 2 * SILENT
    assert send(streams, 0, 2, back, base=2) is Placement.DUPLICATE
    assert send(streams, 0, 3, back, base=2) is Placement.DUPLICATE
    assert send(streams, 0, 5, back, base=2) is Placement.OUT_OF_ORDER
    assert send(streams, 0, 4, back, base=2) is Placement.NEXT
    assert send(streams, 0, 9, back, base=9) is Placement.NEXT_LOST_STATE


def test_what_says_bye_after_it_gave_way_is_told_what_is_safe() -> None:
    streams = filled(1)
    send(streams, 7, 1, SILENT)
    assert not streams.bye(bye(name(0)), SILENT)
    assert streams.committed(name(0)) == 1
    assert streams.states(SILENT)["open"] == 1


def test_the_birth_of_a_stream_that_gave_way_stays_as_it_was() -> None:
    streams = filled(1)
    send(streams, 7, 1, SILENT)
    assert streams.birth(batch(2, 2, name(0)), 2000) == 1000


def test_the_dead_keep_no_worker_out() -> None:
    """64 workers that crash each second and a quarter, for hours: the cap would be full after 80 seconds."""
    streams = Streams()
    for generation in range(2_000):
        for worker in range(64):
            assert send(streams, generation * 64 + worker, 1, generation * 1.25) is Placement.NEXT
    states = streams.states(2_000 * 1.25)
    assert (len(streams), states["departed"]) == (STREAM_CAP, STREAM_CAP * DEPARTED_PER_STREAM)


def test_reloads_keep_no_worker_out() -> None:
    streams = Streams(cap=64)
    for generation in range(50):
        for worker in range(64):
            number = generation * 64 + worker
            assert send(streams, number, 1, float(generation)) is Placement.NEXT
            streams.bye(bye(name(number)), float(generation))


def test_the_mark_that_departed_first_is_forgotten_first() -> None:
    streams = Streams(cap=1)
    for number in range(DEPARTED_PER_STREAM + 2):
        send(streams, number, 1, number * SILENT)
    assert [streams.committed(name(number)) for number in range(3)] == [0, 1, 1]


def test_the_marks_of_those_that_said_bye_are_forgotten_first() -> None:
    """Reloads, however many, do not make a worker that was stopped for long count twice."""
    streams = Streams(1)
    streams.place(batch(1, 1), 0.0)
    streams.advance(A, 1)
    streams.commit(A, 1)
    for number in range(3 * DEPARTED_PER_STREAM):
        now, name = GAUGES_SECONDS + 1 + number, number.to_bytes(16)
        assert streams.place(batch(1, 1, name), now) is Placement.NEXT
        streams.bye(bye(name), now)
    assert streams.states(now)["departed"] == DEPARTED_PER_STREAM
    assert streams.place(batch(1, 1), now) is Placement.DUPLICATE


def test_the_marks_of_the_departed_are_forgotten_in_the_end() -> None:
    streams = filled(1)
    send(streams, 7, 1, SILENT)
    assert streams.prune(SILENT_SECONDS - 0.1) == 0
    assert streams.prune(SILENT_SECONDS) == 1
    assert streams.committed(name(0)) == 0


def test_a_restart_keeps_all_marks_and_has_room_for_the_living() -> None:
    streams = filled(3)
    streams.bye(bye(name(2)), 3.0)
    send(streams, 7, 1, 3.0)
    again = Streams(cap=2)
    for mark in streams.capture():
        again.restore(mark)
    assert again.states(3.0) == {"open": 2, "silent": 0, "ended": 0, "departed": 2}
    assert [again.committed(name(number)) for number in (0, 1, 2, 7)] == [1, 1, 1, 1]
    for turn, number in enumerate((2, 0, 1, 7), 1):
        assert send(again, number, 1, 3.0 + turn * SILENT) is Placement.DUPLICATE


def test_a_name_that_its_master_gave_up_is_no_instance_any_more() -> None:
    streams = Streams()
    one, other = Master(1, 100), Master(2, 200)
    for stream, instance, master in ((A, "old", one), (b"b" * 16, "new", one), (b"c" * 16, "edge", other)):
        streams.beat(beat(1, stream=stream), Heartbeat(instance=instance, master=master), 0.0)
    assert streams.instances == {"old", "new", "edge"}
    streams.bye(bye(A), 1.0)
    streams.bye(bye(b"c" * 16), 1.0)
    assert streams.instances == {"new", "edge"}, "edge has ended, and nobody goes on for it"


def test_names_that_batches_say_are_bounded() -> None:
    """One sender can be many streams, and say another name in each: no more are shown than the table takes."""
    streams = Streams()

    def call(number: int, now: float) -> None:
        stream = number.to_bytes(16, "big")
        streams.place(batch(1, 1, stream=stream), now)
        streams.call(stream, f"said-{number}")

    for number in range(MAX_INSTANCES - 1):
        call(number, float(number))
    streams.beat(beat(1), Heartbeat(instance="living"), 1.0)
    assert streams.instances == {"living", *(f"said-{number}" for number in range(MAX_INSTANCES - 1))}
    for number in range(MAX_INSTANCES, 1_000):
        call(number, float(number))
    latest = {f"said-{number}" for number in range(1_000 - MAX_INSTANCES + 1, 1_000)}
    assert streams.instances == {"living", *latest}, "heartbeats come first, then who was heard of last"
    again = Streams()
    for mark in streams.capture():
        again.restore(mark)
    assert again.instances == {f"said-{1_000 - MAX_INSTANCES}", *latest}, "after a restart nobody has a heartbeat yet"


def test_last_datagram() -> None:
    streams = Streams(cap=1)
    assert streams.last_datagram is None
    streams.place(batch(1, 1), 3.0)
    streams.place(batch(1, 1, B), 4.0)
    assert streams.last_datagram == 3.0
