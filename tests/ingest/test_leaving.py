"""A worker that is leaving holds what it said for as long as the kernel says that it is there."""

import os
import socket
from collections.abc import Iterator

import pytest
from resty_metrics.endpoint.descriptors import is_connected
from resty_metrics.ingest.beats import BEAT_SECONDS, GAUGES_SECONDS
from resty_metrics.ingest.leaving import MAX_LEAVING, Leaving
from resty_metrics.ingest.senders import SILENT_SECONDS, Senders
from resty_metrics.wire.datagram import VERSION, Header, Kind, Reason, Verdict, write_answer
from resty_metrics.wire.heartbeat import Heartbeat, WorkerGauges

A = b"a" * 16
ANSWER = write_answer(Verdict.ACK, Reason.NONE, Header(VERSION, Kind.HEARTBEAT, A, 1, 1, 1), 0)


class Pairs:
    """Socket pairs as workers have them: the worker's end, and a descriptor of the other one."""

    def __init__(self) -> None:
        self.workers: list[socket.socket] = []
        self._ours: list[int] = []

    def descriptor(self) -> int:
        worker, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        worker.setblocking(False)
        self.workers.append(worker)
        self._ours.append(ours.detach())
        return self._ours[-1]

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        for descriptor in self._ours:
            os.close(descriptor)


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    pairs = Pairs()
    yield pairs
    pairs.close()


def beat(senders: Senders, name: bytes, number: int, now: float, exiting: bool = True) -> None:
    heartbeat = Heartbeat(exiting=exiting, gauges=WorkerGauges(rows=1))
    assert senders.beat(Header(VERSION, Kind.HEARTBEAT, name, 1, number, 1), heartbeat, now)


def names(senders: Senders, now: float) -> list[tuple[bytes, bool]]:
    return [(live.sender, live.held) for live in senders.heartbeats(now)]


def pass_time(leaving: Leaving, senders: Senders, begin: float, end: float) -> list[int]:
    """What the collector does each second. Returns the descriptors to be closed."""
    closed: list[int] = []
    while begin < end:
        begin += 1
        closed += leaving.check(begin)
        senders.prune(begin)
    return closed


def test_what_it_said_holds_until_its_bye(pairs: Pairs) -> None:
    senders = Senders()
    leaving = Leaving(senders, is_connected)
    beat(senders, A, 1, 0.0)
    descriptor = pairs.descriptor()
    assert leaving.keep(A, descriptor, ANSWER, 0.0) == []
    assert names(senders, GAUGES_SECONDS) == [(A, False)]
    assert pass_time(leaving, senders, 0.0, SILENT_SECONDS + 100) == []
    now = SILENT_SECONDS + 100
    assert names(senders, now) == [(A, True)]
    senders.bye(Header(VERSION, Kind.BYE, A, 1, 0, 1), now)
    assert names(senders, now) == []
    assert pass_time(leaving, senders, now, now + 10) == [descriptor]


def test_what_it_said_goes_when_its_process_does(pairs: Pairs) -> None:
    senders = Senders()
    leaving = Leaving(senders, is_connected)
    beat(senders, A, 1, 0.0)
    descriptor = pairs.descriptor()
    leaving.keep(A, descriptor, ANSWER, 0.0)
    pass_time(leaving, senders, 0.0, 100.0)
    assert names(senders, 100.0) == [(A, True)]
    pairs.workers[0].close()
    assert pass_time(leaving, senders, 100.0, 100.0 + BEAT_SECONDS) == [descriptor]
    assert names(senders, 100.0 + BEAT_SECONDS) == []
    beat(senders, A, 2, 200.0, exiting=False)  # nothing of all this holds a sender back
    assert names(senders, 200.0) == [(A, False)]


def test_the_newest_descriptor_is_kept_and_others_are_closed(pairs: Pairs) -> None:
    senders = Senders()
    leaving = Leaving(senders, is_connected)
    first, second, third = (pairs.descriptor() for _ in range(3))
    beat(senders, A, 1, 0.0, exiting=False)
    assert leaving.keep(A, first, ANSWER, 0.0) == [first]
    beat(senders, A, 2, 1.0)
    assert leaving.keep(A, second, ANSWER, 1.0) == []
    assert leaving.keep(A, third, ANSWER, 2.0) == [second]
    senders.bye(Header(VERSION, Kind.BYE, A, 1, 0, 1), 3.0)
    assert leaving.keep(A, first, ANSWER, 3.0) == [first, third]


@pytest.mark.parametrize(("verdict", "reason"), [(Verdict.HOLD, Reason.NOT_READY), (Verdict.DROP, Reason.INVALID)])
def test_what_a_worker_would_count_again_is_not_sent_twice(pairs: Pairs, verdict: Verdict, reason: Reason) -> None:
    senders = Senders()
    leaving = Leaving(senders, is_connected)
    beat(senders, A, 1, 0.0)
    acked, refused = pairs.descriptor(), pairs.descriptor()
    assert leaving.keep(A, acked, ANSWER, 0.0) == []
    refusal = write_answer(verdict, reason, Header(VERSION, Kind.BATCH, A, 1, 1, 1), 0)
    assert leaving.keep(A, refused, refusal, 1.0) == [refused]
    assert pass_time(leaving, senders, 1.0, 100.0) == []
    assert names(senders, 100.0) == [(A, True)]
    with pytest.raises(BlockingIOError):
        pairs.workers[1].recv(100)


def test_answers_that_a_worker_does_not_read_are_no_sign_of_its_end(pairs: Pairs) -> None:
    descriptor = pairs.descriptor()
    for _ in range(1000):
        assert is_connected(descriptor, ANSWER)
    assert pairs.workers[0].recv(len(ANSWER)) == ANSWER
    pairs.workers[0].close()
    assert not is_connected(descriptor, ANSWER)


def test_above_the_bound_a_worker_is_forgotten_as_one_that_falls_silent() -> None:
    senders = Senders()
    leaving = Leaving(senders, lambda _descriptor, _answer: True)
    for number in range(MAX_LEAVING + 1):
        name = number.to_bytes(16, "big")
        beat(senders, name, 1, 0.0)
        assert leaving.keep(name, number, ANSWER, 0.0) == ([] if number < MAX_LEAVING else [number])
    pass_time(leaving, senders, 0.0, GAUGES_SECONDS + 1)
    assert len(names(senders, GAUGES_SECONDS + 1)) == MAX_LEAVING
