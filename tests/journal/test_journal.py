"""The journal as the event loop sees it."""

import asyncio
from pathlib import Path

import pytest
from resty_metrics.journal.files import Directory
from resty_metrics.journal.journal import REPLAY_SECONDS, Journal
from resty_metrics.journal.state import State, capture
from resty_metrics.journal.writer import Report, Writer


def test_without_a_thread_for_it_counting_goes_on_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: Writer) -> None:
        raise RuntimeError("can't start new thread")

    def writer() -> Writer:
        return Writer(Directory(tmp_path), lambda: True, lambda _: None)

    journal = Journal(lambda: capture(State(), 0.0), lambda _: None, lambda: None, lambda: 0.0)
    safe = []
    with monkeypatch.context() as exhausted:
        exhausted.setattr(Writer, "start", no_thread)
        journal.use(writer())
        journal.commit(b"record", lambda: safe.append(1))
    assert (journal.used, journal.enabled, journal.tally.reason, safe) == (False, True, "internal", [1])
    journal.use(writer())
    assert journal.used


def test_a_log_that_took_long_to_apply_is_followed_by_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few bytes it has: a start would take as long again."""
    seconds = iter(range(1_000_000))
    monkeypatch.setattr("resty_metrics.journal.turns.time.thread_time", lambda: float(next(seconds)))

    async def run() -> int:
        loop = asyncio.get_running_loop()
        state = State()
        journal = Journal(lambda: capture(state, 0.0), lambda _: None, lambda: None, lambda: 0.0)

        def on_report(report: Report) -> None:
            loop.call_soon_threadsafe(journal.on_report, report)

        journal.use(Writer(Directory(tmp_path), lambda: True, on_report))
        for _ in range(5 * int(REPLAY_SECONDS)):
            safe = asyncio.Event()
            journal.commit(b"record", safe.set)
            await safe.wait()
        assert await journal.close(10.0)
        return journal.tally.snapshots

    assert 5 <= asyncio.run(run()) <= 20
