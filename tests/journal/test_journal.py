"""The journal as the event loop sees it."""

from pathlib import Path

import pytest

from collector.journal.files import Directory
from collector.journal.journal import Journal
from collector.journal.state import State, capture
from collector.journal.writer import Writer


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
    assert (journal.used, journal.wanted, journal.tally.reason, safe) == (False, True, "internal", [1])
    journal.use(writer())
    assert journal.used
