"""Work in turns: its order, and that the rest of the loop has its turn too."""

import asyncio
from collections.abc import Iterator

import pytest
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.senders import Senders
from resty_metrics.journal import turns
from resty_metrics.journal.journal import Journal
from resty_metrics.journal.state import State, capture
from resty_metrics.journal.turns import Turns
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import VERSION, Header, Kind, write_datagram


def pieces(name: str, count: int, log: list[str]) -> Iterator[None]:
    for number in range(count):
        log.append(f"{name}{number}")
        yield


@pytest.fixture
def one_piece_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each piece took as long as a turn may."""
    times = iter(range(1_000_000))
    monkeypatch.setattr("resty_metrics.journal.turns.time.monotonic", lambda: float(next(times)))
    monkeypatch.setattr(turns, "TURN_SECONDS", 1.5)


@pytest.fixture
def all_in_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a loop there is no next turn. On a busy machine even short work takes longer than a turn."""
    monkeypatch.setattr(turns, "TURN_SECONDS", 3600.0)


@pytest.mark.usefixtures("all_in_one_turn")
def test_short_work_is_done_at_once() -> None:
    log: list[str] = []
    waiting = Turns(lambda: log.append("after"))
    waiting.add(pieces("a", 3, log))
    waiting.add(pieces("b", 1, log))
    assert log == ["a0", "a1", "a2", "after", "b0", "after"]
    assert len(waiting) == 0


@pytest.mark.usefixtures("one_piece_a_turn")
def test_between_two_turns_the_loop_does_other_things() -> None:
    log: list[str] = []

    async def run() -> None:
        waiting = Turns(lambda: None)
        waiting.add(pieces("a", 3, log))
        waiting.add(pieces("b", 2, log))
        while len(waiting):
            log.append("-")
            await asyncio.sleep(0)

    asyncio.run(run())
    assert [name for name in log if name != "-"] == ["a0", "a1", "a2", "b0", "b1"]
    assert all(
        "-" in log[log.index(entry) : log.index(next_entry)] for entry, next_entry in [("a0", "a1"), ("b0", "b1")]
    )


@pytest.mark.usefixtures("one_piece_a_turn")
def test_the_end_does_not_wait_for_turns() -> None:
    log: list[str] = []

    async def run() -> None:
        waiting = Turns(lambda: None)
        waiting.add(pieces("a", 3, log))
        waiting.finish()
        assert log == ["a0", "a1", "a2"]
        await asyncio.sleep(0)

    asyncio.run(run())


@pytest.mark.usefixtures("all_in_one_turn")
def test_work_that_fails_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def failing() -> Iterator[None]:
        yield
        raise ZeroDivisionError

    log: list[str] = []
    waiting = Turns(lambda: None)
    waiting.add(failing())
    waiting.add(pieces("a", 1, log))
    assert log == ["a0"]
    assert "ZeroDivisionError" in caplog.text


def test_each_family_of_a_batch_is_a_piece_and_a_reset_belongs_to_what_follows() -> None:
    def family(name: str, reset: bool = False) -> dict[str, object]:
        common = {"name": name, "type": "counter", "labels": [], "columns": ["value"]}
        return {**common, "reset": reset, "rows": [] if reset else [[1]]}

    intake = Intake(Table(), Senders(), lambda _: True)
    families = [family("a_total"), family("b_total", reset=True), family("b_total"), family("c_total")]
    intake.receive(write_datagram(Header(VERSION, Kind.BATCH, b"s" * 16, 1, 1, 1), {"families": families}), 0, 0.0)
    counts = []
    for _ in intake.settle_in_steps(intake.take()):
        counts.append({key.name: len(family.rows) for key, family in intake.table.families.items()})
    assert counts == [{"a_total": 1}, {"a_total": 1, "b_total": 1}, {"a_total": 1, "b_total": 1, "c_total": 1}]


@pytest.mark.usefixtures("one_piece_a_turn")
def test_without_a_journal_what_waits_for_its_turn_is_bounded_too() -> None:
    """The socket is not read while much waits, and read again when it was done; then all of it is in the table."""
    relieved: list[int] = []
    state = State()

    async def run() -> None:
        journal = Journal(lambda: capture(state, 0.0), lambda _: None, lambda: relieved.append(1), lambda: 0.0)
        done: list[str] = []
        count = 0
        while not journal.full:
            journal.commit(None, lambda: pieces("a", 2, done))
            count += 1
        assert not relieved
        for _ in range(10 * count):
            await asyncio.sleep(0)
        assert relieved
        assert not journal.full
        assert await journal.close(1.0)
        assert len(done) == 2 * count

    asyncio.run(run())
