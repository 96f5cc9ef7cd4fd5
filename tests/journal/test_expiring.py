"""The expiry beside the journal: nothing vanishes before that is safe, and a disk that hangs piles up nothing."""

import time
from collections.abc import Iterator
from typing import Any, cast

from resty_metrics.ingest.intake import Intake
from resty_metrics.journal.expiring import Expiring
from resty_metrics.journal.journal import Journal, Then
from resty_metrics.journal.records import replay
from resty_metrics.journal.snapshot import read, write
from resty_metrics.journal.state import State, capture
from resty_metrics.table.scrapers import identify
from resty_metrics.wire.datagram import VERSION, Header, Kind, write_datagram
from support.worker import counter

HOUR = 3600.0
PROMETHEUS = identify("10.0.0.1", "Prometheus")


class Disk:
    """A journal whose disk is slow: a callback runs when the test says so."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.waiting: list[Then] = []

    def commit(self, record: bytes, then: Then) -> None:
        self.records.append(record)
        self.waiting.append(then)

    def write(self) -> Iterator[None]:
        for then in self.waiting:
            yield from then() or ()
        self.waiting = []


def counted() -> State:
    """Two families with an idle row each, which a regular scraper was shown."""
    state = State()
    intake = Intake(state.table, state.senders, lambda _: True)
    for number, name in enumerate(("first_total", "second_total"), 1):
        header = Header(VERSION, Kind.BATCH, b"s" * 16, 1, number, number)
        intake.receive(write_datagram(header, counter(name, 1)), 0, 0.0)
    intake.commit()
    for now in (1.0, 5.0, 10.0, 15.0):
        state.scrapers.see(PROMETHEUS, now)
        state.scrapers.show(PROMETHEUS, now, state.table.next_creation)
    return state


def rows(state: State) -> int:
    return sum(len(family.rows) for family in state.table.families.values())


def expiring(state: State, disk: Disk, period: float | None = HOUR) -> Expiring:
    return Expiring(state, cast(Journal, disk), period)


def test_a_row_vanishes_when_its_record_is_safe_and_again_after_a_restart() -> None:
    state, disk = counted(), Disk()
    snapshot = list(write(capture(state, 0.0)))
    expiry = expiring(state, disk)
    expiry.step(HOUR)
    assert (rows(state), len(disk.records)) == (2, 1)
    for now in (HOUR + 60, HOUR + 120):
        expiry.step(now)
    assert (rows(state), len(disk.records)) == (2, 1), "the disk hangs"
    assert [rows(state) for _ in disk.write()] == [1, 0], "a step for each family"
    again = read(snapshot)
    replay(again, disk.records[0])
    now = again.now
    assert now == HOUR
    assert list(write(capture(again, now))) == list(write(capture(state, now)))


def test_after_that_it_goes_on() -> None:
    state, disk = counted(), Disk()
    expiry = expiring(state, disk)
    expiry.step(HOUR)
    list(disk.write())
    intake: Any = Intake(state.table, state.senders, lambda _: True)
    header = Header(VERSION, Kind.BATCH, b"t" * 16, 1, 1, 1)
    intake.receive(write_datagram(header, counter("first_total", 1)), 0, HOUR + 1)
    intake.commit()
    state.scrapers.show(PROMETHEUS, HOUR + 2, state.table.next_creation)
    expiry.step(2 * HOUR + 1)
    list(disk.write())
    assert (rows(state), len(disk.records)) == (0, 2)


def test_without_a_period_nothing_expires() -> None:
    state, disk = counted(), Disk()
    expiry = expiring(state, disk, None)
    expiry.step(100 * HOUR)
    assert (disk.records, expiry.oldest_ms()) == ([], float("-inf"))
    expiry.period = HOUR
    before, oldest, after = time.time(), expiry.oldest_ms() / 1000 + HOUR, time.time()
    assert before - 0.001 <= oldest <= after + 0.001
    expiry.step(20 * HOUR)
    assert len(disk.records) == 1
