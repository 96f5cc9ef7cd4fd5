"""A state and its records: what is written is what is read, and what is not whole is refused."""

import math
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.senders import Senders
from resty_metrics.journal.errors import JournalError
from resty_metrics.journal.records import EXPIRE, SCRAPE, of_drain, of_expiry, of_page, replay, seal, unpack, unseal
from resty_metrics.journal.snapshot import ROWS_PER_PART, read, write
from resty_metrics.journal.state import State, capture
from resty_metrics.page.requests import render
from resty_metrics.process.steps import finish
from resty_metrics.shapes.shape import DURATIONS, REQUEST_COLUMNS, REQUEST_LABELS, FamilyKey
from resty_metrics.shapes.sums import sums_of
from resty_metrics.table.expiry import Expiry
from resty_metrics.table.scrapers import Scrapers, identify
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import VERSION, Header, Kind, write_datagram

SENDER = b"s" * 16
AGENT = "Prometheus/3\udcff"  # whatever a client says
HOSTS = ("10.0.0.1", "10.0.0.2")
PROMETHEUS, REPLICA = (identify(host, AGENT) for host in HOSTS)


def requests(*rows: list[Any]) -> dict[str, Any]:
    labels, columns = [*REQUEST_LABELS], [*REQUEST_COLUMNS]
    return {"name": "http_requests", "type": "requests", "labels": labels, "columns": columns, "rows": rows}


def durations(bounds: list[int], *rows: list[Any]) -> dict[str, Any]:
    return {
        "name": DURATIONS,
        "type": "histogram",
        "labels": ["server", "status_class"],
        "bounds": bounds,
        "scale": 1000,
        "columns": ["sum"],
        "rows": rows,
    }


def counter(name: str, *rows: list[Any]) -> dict[str, Any]:
    return {"name": name, "type": "counter", "help": "Ü", "labels": ["l"], "columns": ["value"], "rows": rows}


def histogram(bounds: list[float], *rows: list[Any]) -> dict[str, Any]:
    family = {"name": "h_seconds", "type": "histogram", "labels": ["l"], "bounds": bounds, "columns": ["sum"]}
    return {**family, "rows": rows}


class Life:
    """A collector's core with a journal in memory: what it was sent, and what it wrote."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self.intake = Intake(self.state.table, self.state.senders, lambda _: True)
        self.records: list[bytes] = []
        self.sequence = 0

    def send(
        self,
        *families: dict[str, Any],
        birth: int = 1,
        sender: bytes = SENDER,
        now: float | None = None,
        instance: str = "",
    ) -> None:
        self.sequence += 1
        header = Header(VERSION, Kind.BATCH, sender, birth, self.sequence, self.sequence)
        self.receive(write_datagram(header, {"instance": instance, "families": families}), now)

    def receive(self, datagram: bytes, now: float | None = None) -> None:
        self.intake.receive(datagram, 0, float(self.sequence) if now is None else now)
        drain = self.intake.take()
        record = of_drain(drain)
        self.intake.settle(drain)
        if record is not None:
            self.records.append(record)

    def records_of(self, *families: dict[str, Any]) -> list[bytes]:
        """A record for each of them."""
        for family in families:
            self.send(family)
        return self.records

    def snapshot(self) -> list[bytes]:
        return list(write(capture(self.state, self.state.now)))


def same(first: State, second: State) -> bool:
    """To the byte, on the page too."""
    return list(write(capture(first, 0.0))) == list(write(capture(second, 0.0))) and render(first.table) == render(
        second.table
    )


def busy_life() -> Life:
    life = Life()
    row = ["a", "GET", "200"]
    life.send(
        requests([*row, 6, 500, 6000]),
        durations([5, 10], ["a", "2xx", 1, 2, 3, 40]),
        counter("c_total", ["x", 1.5], ["ü\x00", 2]),
    )
    life.send(counter("c_total", ["x", 2**53], ["x", 2**53]), birth=2, sender=b"t" * 16)
    life.send(durations([5, 20], ["a", "2xx", 1, 0, 0, 1]), birth=3)
    life.send(
        requests([*row, 1, 1, 1], [*row[:2], "404", 1, 1, 1]), durations([5, 20], ["b", "2xx", 1, 0, 0, 1]), birth=3
    )
    scoped = requests([*row, "api", 3, 4, 5]) | {"labels": [*REQUEST_LABELS, "scope"], "scope": "api"}
    timed = durations([7], ["a", "api", 1, 2, 3]) | {"labels": ["server", "scope"], "scope": "api"}
    life.send(scoped, timed, histogram([0.5, 1.0], ["x", 1, 2, 3, -0.1], ["y", 0, 0, 1, 2**60]), birth=3)
    life.send(counter("mine_total", ["a", 1], ["b", 2]) | {"custom": True})
    life.send(counter("mine_total", ["b", 3]) | {"custom": True, "del": [["a"]]}, counter("c_total") | {"reset": True})
    life.send(histogram([1], ["x", 1, 2, 3]) | {"name": "mine_total", "custom": True}, birth=4)
    life.send(counter("mine_total", ["b", 3]) | {"custom": True})
    life.send(counter("c_total", ["x", 5]), requests([*row, 1, 1, 1]), sender=b"n" * 16, instance="edge")
    life.state.scrapers.restore([(PROMETHEUS, 7, True), (REPLICA, 0, False)], 0.0)
    life.receive(write_datagram(Header(VERSION, Kind.BYE, b"t" * 16, 2, 2, 3), {}))
    return life


def test_a_snapshot_is_the_state() -> None:
    life = busy_life()
    assert same(read(life.snapshot()), life.state)


def test_the_names_of_instances_are_kept_with_the_senders() -> None:
    life = Life()
    life.send(counter("c_total", ["x", 1]))
    life.send(counter("c_total", ["x", 2]), sender=b"n" * 16, instance="edge")
    assert read(life.snapshot()).senders.instances == {"", "edge"}
    state = State()
    for record in life.records:
        replay(state, record)
    assert state.senders.instances == {"", "edge"}


def test_the_records_lead_to_the_same_state() -> None:
    life = busy_life()
    state = State()
    for record in life.records:
        replay(state, record)
    replay(state, of_page([(PROMETHEUS, 7, True), (REPLICA, 0, False)]))
    assert same(state, life.state)
    assert state.now == life.sequence


def test_eviction_is_decided_again_as_it_was() -> None:
    """From the beginning, and from a snapshot taken at any time, to the byte."""
    life = Life(State(Table(max_rows=8)))
    starts = [(life.snapshot(), 0)]
    for number in range(300):
        now = number * 120.0
        life.send(counter("c_total", ["known", 1], [f"flood {number % 90}", 1]), now=now)
        if number % 37 == 0:
            life.state.now = now
            starts.append((life.snapshot(), len(life.records)))
    family = life.state.table.families[FamilyKey("c_total")]
    assert family.evicted > 40
    assert family.overflow > 100
    assert next(row.numbers for row in family.rows if row.labels == ("known",)) == (300,)
    assert sum(row.numbers[0] for row in family.rows) == 600
    for start, position in starts:
        state = read(start)
        for record in life.records[position:]:
            replay(state, record)
        assert same(state, life.state)


def test_a_dropped_batch_moves_its_marks_and_nothing_else() -> None:
    life = Life()
    life.send(counter("c_total", ["x", -1]))
    state = State()
    for record in life.records:
        replay(state, record)
    assert state.table.families == {}
    assert state.senders.committed(SENDER) == 1


def test_a_capture_stays_as_it_was() -> None:
    life = busy_life()
    captured = capture(life.state, 0.0)
    before = list(write(captured))
    life.send(requests(["a", "GET", "200", 9, 9, 9]), durations([5, 20], ["a", "2xx", 9, 9, 9, 9]), birth=4)
    life.send(durations([7], ["b", "2xx", 1, 1, 9]), birth=5)
    assert list(write(captured)) == before


@pytest.mark.parametrize("value", [2**53, 2**64 - 1, 2**64, 2**80, 1e300, -(2**63), -(2**63) - 1, -(2**64)])
def test_a_sum_of_any_size_is_kept_to_the_last_digit(value: float) -> None:
    life = Life()
    life.send(counter("c_total", ["x", 1], ["y", 2]))
    life.state.table.families[FamilyKey("c_total")].rows[0].sums = sums_of([value])
    kept = read(life.snapshot()).table.families[FamilyKey("c_total")].rows[0].numbers[0]
    assert (kept, type(kept)) == (value, type(value))


def test_overflow_is_decided_again_as_it_was() -> None:
    """Also where the caps have changed in between: those of the journal hold for what it holds."""
    life = Life(State(Table(max_rows=3)))
    start = life.snapshot()
    for number in range(6):
        life.send(counter("c_total", [str(number), 1]))
    state = read(start)
    for record in life.records:
        replay(state, record)
    assert same(state, life.state)
    assert state.table.families[FamilyKey("c_total")].overflow == 3


@given(st.lists(st.tuples(st.text(max_size=4), st.integers(0, 2**53)), max_size=30), st.integers(0, 30))
def test_any_rows_in_a_snapshot_and_records(rows: list[tuple[str, int]], cut: int) -> None:
    life = Life()
    parts = life.snapshot()
    for number, (label, value) in enumerate(rows):
        if number == cut:
            parts, life.records = life.snapshot(), []
        life.send(counter("c_total", [label, value]))
    state = read(parts)
    for record in life.records:
        replay(state, record)
    assert same(state, life.state)


def test_more_rows_than_a_part_holds() -> None:
    life = Life()
    for start in range(0, 2 * ROWS_PER_PART + 1, 400):
        life.send(counter("c_total", *[[str(start + number), 1] for number in range(400)]))
    parts = life.snapshot()
    assert len(parts) == 5 + math.ceil(len(life.state.table.families[FamilyKey("c_total")].rows) / ROWS_PER_PART)
    assert same(read(parts), life.state)


def test_a_record_of_a_scraper() -> None:
    state = State()
    replay(state, seal(msgpack.packb([[SCRAPE, *PROMETHEUS, 5, True]])))
    assert state.scrapers.capture() == [(PROMETHEUS, 5, True)]


NO_SCRAPERS: list[list[Any]] = [
    [],
    [b"h", b"a"],
    [b"h", b"a", "5", True],
    ["h", b"a", 5, True],
    [b"h", "a", 5, True],
    ["h", "a", 5, True],
    [*PROMETHEUS, 5],
    [1, 2, 3, 4],
    [*PROMETHEUS, 5, 1],
    [*PROMETHEUS, True, True],
    [*PROMETHEUS, 5, True, 0],
]


@pytest.mark.parametrize("fields", NO_SCRAPERS, ids=str)
def test_a_record_of_no_scraper_costs_itself(fields: list[Any]) -> None:
    state = State()
    replayed = replay(state, seal(msgpack.packb([[SCRAPE, *fields], [SCRAPE, *REPLICA, 1, False]])))
    assert replayed.lost_entries == 1
    assert state.scrapers.capture() == [(REPLICA, 1, False)]


def test_what_scrapers_were_shown_is_bounded() -> None:
    state = State(Table(), Senders(), Scrapers(capacity=2))
    for number in range(5):
        replay(state, of_page([(identify(str(number), ""), number, False)]))
    assert len(state.scrapers) == 2


BROKEN = [
    ("nothing", lambda parts: []),
    ("no beginning", lambda parts: parts[1:]),
    ("no end", lambda parts: parts[:-1]),
    ("a flipped bit", lambda parts: [parts[0], bytes([parts[1][0] ^ 1]) + parts[1][1:], *parts[2:]]),
    ("a cut part", lambda parts: [parts[0][:-1], *parts[1:]]),
    ("an empty part", lambda parts: [b"", *parts[1:]]),
    ("no msgpack", lambda parts: [parts[0], seal(b"\xc1"), *parts[1:]]),
    ("an unknown part", lambda parts: [parts[0], seal(msgpack.packb(["what"])), *parts[1:]]),
    ("a number", lambda parts: [parts[0], seal(msgpack.packb(7)), *parts[1:]]),
    ("rows without a family", lambda parts: [parts[0], seal(msgpack.packb(["rows", [1, ["a"], [1]]])), parts[-1]]),
    ("an odd row", lambda parts: [*parts[:2], seal(msgpack.packb(["rows", 5])), *parts[2:]]),
    ("an odd mark", lambda parts: [parts[0], seal(msgpack.packb(["senders", [1]])), parts[-1]]),
    ("a part is missing", lambda parts: [*parts[:2], *parts[3:]]),
    ("a part twice", lambda parts: [*parts[:2], parts[1], *parts[2:]]),
    ("two parts the other way round", lambda parts: [parts[0], parts[2], parts[1], *parts[3:]]),
]


@pytest.mark.parametrize("damage", [damage for _, damage in BROKEN], ids=[name for name, _ in BROKEN])
def test_a_snapshot_that_is_not_whole_is_refused(damage: Any) -> None:
    with pytest.raises(JournalError) as refused:
        read(damage(busy_life().snapshot()))
    assert refused.value.reason == "corrupt"


ENTRIES: list[Any] = [
    5,
    [],
    [9],
    [0, b"s"],
    [0, b"t" * 16, 1, 1, 1.0, b"\xc1"],
    [1, 2, "x"],
    [1, 2, "x", 3],
    [2, "h"],
    [2, ["h"], "a", 1],
    ["0"],
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_that_cannot_be_applied_costs_no_other_one(entry: Any) -> None:
    good = Life().records_of(counter("c_total", ["x", 1]), counter("c_total", ["x", 2]))
    first, last = (unpack(record)[0] for record in good)
    state = State()
    replayed = replay(state, seal(msgpack.packb([first, entry, last])))
    assert (replayed.rows, replayed.lost_entries) == (2, 1)
    assert replayed.error is not None
    assert state.table.families[FamilyKey("c_total")].rows[0].numbers == (3,)
    assert state.senders.committed(SENDER) == 2


@pytest.mark.parametrize("record", [5, "text", None, {1: 2}])
def test_a_record_that_is_no_list_of_entries_is_refused(record: Any) -> None:
    with pytest.raises(JournalError) as refused:
        replay(State(), seal(msgpack.packb(record)))
    assert refused.value.reason == "corrupt"


def test_the_mark_of_a_batch_that_cannot_be_merged_moves_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of its numbers may be there: its worker, which may send it again, must not have it counted twice."""
    first, second = Life().records_of(counter("c_total", ["x", 1]), counter("c_total", ["x", 2], ["y", 2]))
    state = State()
    replay(state, first)

    def failing(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as bug:
        bug.setattr(Table, "merge", failing)
        replayed = replay(state, second)
    assert (replayed.lost_entries, replayed.lost_rows) == (1, 2)
    assert state.senders.committed(SENDER) == 2


def test_a_mark_never_goes_back() -> None:
    """A damaged file may have a record under a lower number than it had."""
    first, second = Life().records_of(counter("c_total", ["x", 1]), counter("c_total", ["x", 2]))
    state = State()
    for record in (second, first):
        replay(state, record)
    assert state.senders.committed(SENDER) == 2


@given(st.binary(max_size=40))
def test_only_what_was_sealed_is_unsealed(payload: bytes) -> None:
    assert unseal(seal(payload)) == payload
    for damaged in (payload, seal(payload)[:-1], b"x" + seal(payload), seal(payload + b"x")[:-1]):
        if damaged == seal(damaged[4:]):
            continue  # four bytes of 0 are nothing, sealed
        with pytest.raises(JournalError, match="checksum"):
            unseal(damaged)


def test_an_expiry_is_decided_again_as_it_was() -> None:
    """From the beginning, and from a snapshot taken at any time, to the byte; rows return in between."""
    life = Life(State(Table(max_rows=8)))
    starts = [(life.snapshot(), 0)]
    for number in range(300):
        now = number * 120.0
        rows = ["known", 1], [f"visitor {number * 7 % 11}", 1]
        life.send(counter("c_total", *rows), counter("mine_total", *rows) | {"custom": True}, now=now)
        expiry = Expiry(now, 600.0, now - 60.0, life.state.table.next_creation - number % 2)
        keys = [key for key in life.state.table.families if number % 3 or key.custom]
        life.records.append(of_expiry(keys, expiry))
        finish(life.state.table.expire_in_steps(keys, expiry))
        if number % 37 == 0:
            life.state.now = now
            starts.append((life.snapshot(), len(life.records)))
    for family in life.state.table.families.values():
        assert family.expired > 100
        assert next(row.numbers for row in family.rows if row.labels == ("known",)) == (300,)
    for start, position in starts:
        state = read(start)
        for record in life.records[position:]:
            replay(state, record)
        assert same(state, life.state)
        assert state.now == 299 * 120.0


def test_an_expiry_of_a_family_that_has_gone_is_nothing() -> None:
    state = State()
    replayed = replay(state, of_expiry([FamilyKey("c_total")], Expiry(7200.0, 3600.0, 7200.0, 5)))
    assert (state.table.families, state.now, replayed.lost_entries) == ({}, 7200.0, 0)


@pytest.mark.parametrize("fields", [[], [1.0], ["x", 1.0, 1.0, 1, "", "c_total", "", False], [1.0] * 9])
def test_an_expiry_that_cannot_be_read_costs_itself_alone(fields: list[Any]) -> None:
    life = Life()
    life.send(counter("c_total", ["x", 1]))
    before = life.snapshot()
    replayed = replay(life.state, seal(msgpack.packb([[EXPIRE, *fields], [SCRAPE, *PROMETHEUS, 7, True]])))
    assert replayed.lost_entries == 1
    assert life.state.scrapers.is_regular(PROMETHEUS)
    assert life.snapshot()[:3] == before[:3]
