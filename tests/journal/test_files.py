"""The files of the journal: real SQLite, and a kill -9 at every line that is run while a snapshot is written."""

import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from resty_metrics.journal import reading, snapshot, store
from resty_metrics.journal.errors import JournalError
from resty_metrics.journal.files import SET_ASIDE_MOST, Directory, Name
from resty_metrics.journal.records import of_page
from resty_metrics.journal.recovery import ANY, recover
from resty_metrics.journal.state import State, capture
from resty_metrics.journal.store import Store
from resty_metrics.journal.writer import Append, Check, Close, Job, Replace, Report, Writer
from resty_metrics.table.scrapers import Scraper, identify
from support.wait import wait_until

SCRAPER = identify("10.0.0.1", "Prometheus")


def state_of(number: int) -> State:
    """A state that can be told from others by one number."""
    state = State()
    state.scrapers.restore([(SCRAPER, number, True)], 0.0)
    return state


def shown(state: State) -> dict[Scraper, int]:
    return {scraper: creation for scraper, creation, _ in state.scrapers.capture()}


def number_of(state: State | None) -> int | None:
    return None if state is None else shown(state)[SCRAPER]


def write(directory: Directory, number: int) -> Name:
    """A current file with this state."""
    name = directory.next()
    store.create(directory.file(name), snapshot.write(capture(state_of(number), 0.0)))
    directory.name_current(name)
    return name


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def listing(directory: Directory) -> set[str]:
    return {path.name for path in directory.path.iterdir()}


def test_nothing_is_nothing(directory: Directory) -> None:
    assert recover(directory, None).state is None
    assert listing(directory) == set()


def test_a_file_is_read_with_its_log(directory: Directory) -> None:
    name = write(directory, 1)
    log = Store(directory.file(name))
    log.append([of_page([(SCRAPER, 2, True)]), of_page([(SCRAPER, 3, True)])])
    assert log.log_bytes > 0
    log.close()
    recovered = recover(directory, None)
    assert (number_of(recovered.state), recovered.records) == (3, 2)


def test_a_log_that_was_not_checkpointed_is_read_too(directory: Directory) -> None:
    name = write(directory, 1)
    log = Store(directory.file(name))
    log.append([of_page([(SCRAPER, 5, True)])])
    assert number_of(recover(directory, None).state) == 5  # from the write-ahead log of a file that is open
    log.close()


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def garbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def no_database(path: Path) -> None:
    path.write_bytes(b"#!/bin/sh\necho\n" * 1000)


def of_another_program(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (x)")


def of_a_later_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as ours:
        ours.execute(f"PRAGMA user_version={store.VERSION + 1}")


def of_an_earlier_version(path: Path) -> None:
    """Before the first release the format changed without a way from one to the next."""
    with contextlib.closing(sqlite3.connect(path)) as ours:
        ours.execute(f"PRAGMA user_version={store.VERSION - 1}")


def with_a_flipped_bit(path: Path) -> None:
    """In a blob, where SQLite does not look."""
    data = path.read_bytes()
    at = data.index(b"scrapers")
    path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])


def gone(path: Path) -> None:
    path.unlink()


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (truncated, "corrupt"),
    (emptied, "foreign"),
    (garbled, "corrupt"),
    (no_database, "corrupt"),
    (of_another_program, "foreign"),
    (of_a_later_version, "foreign"),
    (of_an_earlier_version, "foreign"),
    (with_a_flipped_bit, "corrupt"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGE, ids=[damage.__name__ for damage, _ in DAMAGE])
def test_what_cannot_be_read_is_set_aside_and_said(
    directory: Directory, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], reason: str
) -> None:
    name = write(directory, 1)
    damage(directory.file(name))
    damaged = directory.file(name).read_bytes()
    assert recover(directory, None).state is None
    aside = directory.path / f"set-aside-1-{reason}.sqlite"
    assert aside.read_bytes() == damaged
    assert directory.current() is None
    assert "set aside" in caplog.text
    write(directory, 2)
    assert number_of(recover(directory, None).state) == 2


def test_a_current_that_has_gone_is_said_and_no_crash(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    gone(directory.file(write(directory, 1)))
    assert recover(directory, None).state is None
    assert "Counters begin at 0" in caplog.text
    assert directory.current() is None


@pytest.mark.parametrize("text", ["", "garbage", "1", "-1 00", "1 " + "0" * 31 + "\n", "\xff"])
def test_a_current_that_names_nothing(directory: Directory, text: str) -> None:
    name = write(directory, 1)
    (directory.path / "current").write_text(text)
    assert recover(directory, None).state is None
    assert not directory.file(name).exists()
    assert len(list(directory.path.glob("set-aside-*.sqlite"))) == 1


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_current_that_has_no_end(directory: Directory, kind: str) -> None:
    write(directory, 1)
    (directory.path / "current").unlink()
    if kind == "pipe":
        os.mkfifo(directory.path / "current")
    else:
        (directory.path / "current").symlink_to("/dev/zero")
    assert recover(directory, None).state is None
    write(directory, 2)
    assert number_of(recover(directory, None).state) == 2


def test_only_a_few_are_kept_aside(directory: Directory) -> None:
    for number in range(SET_ASIDE_MOST + 3):
        emptied(directory.file(write(directory, number)))
        recover(directory, None)
    assert len(list(directory.path.glob("set-aside-*.sqlite"))) == SET_ASIDE_MOST
    assert len(list(directory.path.glob("set-aside-*-count"))) == SET_ASIDE_MOST


@pytest.mark.parametrize("any_one", [False, True])
def test_a_stale_file_is_not_read(directory: Directory, any_one: bool) -> None:
    stale = write(directory, 1)
    assert recover(directory, ANY if any_one else stale.identity).state is None
    assert directory.current() is None
    fresh = write(directory, 2)
    assert fresh.identity != stale.identity
    assert number_of(recover(directory, stale.identity).state) == 2


class Thread:
    """A writer of the test's own, and what it reports."""

    def __init__(self, directory: Directory) -> None:
        self.reports: list[Report] = []
        self.writer = Writer(directory, lambda: True, self.reports.append)
        self.writer.start()

    def do(self, job: Job) -> Report:
        done = len(self.reports)
        self.writer.give(job)
        wait_until(lambda: len(self.reports) > done, message="the report")
        return self.reports[-1]

    def close(self) -> None:
        self.do(Close())
        self.writer.join(10)


def replace(number: int) -> Replace:
    return Replace(capture(state_of(number), 0.0))


def test_a_writer_writes_and_a_new_snapshot_ends_the_log(directory: Directory) -> None:
    thread = Thread(directory)
    assert thread.do(replace(1)).up
    report = thread.do(Append(of_page([(SCRAPER, 2, True)]), None))
    assert (report.up, report.error) == (True, None)
    assert report.log_bytes == len(of_page([(SCRAPER, 2, True)]))
    assert number_of(recover(directory, None).state) == 2
    report = thread.do(replace(3))
    assert (report.log_bytes, report.snapshot_bytes > 0) == (0, True)
    thread.close()
    assert listing(directory) == {"current", "journal-2.sqlite", "journal-2.sqlite-count"}
    assert number_of(recover(directory, None).state) == 3


def test_what_waits_together_is_written_together(directory: Directory) -> None:
    thread = Thread(directory)
    thread.do(replace(1))
    with contextlib.closing(sqlite3.connect(directory.path / "journal-1.sqlite", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        for number in range(2, 12):
            thread.writer.give(Append(of_page([(SCRAPER, number, True)]), number))
        database.execute("ROLLBACK")
    wait_until(lambda: sum(len(report.jobs) for report in thread.reports) == 11, message="the reports")
    assert len(thread.reports) <= 3
    tokens = [job.token for report in thread.reports for job in report.jobs if isinstance(job, Append)]
    assert tokens == list(range(2, 12))
    thread.close()


def test_a_file_that_is_removed_is_missed_and_begun_anew(directory: Directory) -> None:
    thread = Thread(directory)
    thread.do(replace(1))
    (directory.path / "journal-1.sqlite").unlink()
    report = thread.do(Check())
    assert report.error is not None
    assert (report.error.reason, report.up) == ("removed", False)
    assert directory.current() is None
    report = thread.do(Append(of_page([(SCRAPER, 2, True)]), None))
    assert (report.up, report.error) == (False, None)  # told as it is: nothing was written
    assert thread.do(Check()).usable
    assert thread.do(replace(3)).up
    thread.close()
    assert number_of(recover(directory, None).state) == 3


def test_what_a_full_disk_leaves_of_each_attempt_goes_again(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is an attempt each second, for as long as the disk is full."""

    def full(path: Path, _: object) -> None:
        path.touch()
        raise JournalError("full", "database or disk is full")

    thread = Thread(directory)
    thread.do(replace(1))
    with monkeypatch.context() as disk:
        disk.setattr(store, "create", full)
        assert not thread.do(replace(2)).up
        for _ in range(3):
            assert not thread.do(Check()).usable
            assert listing(directory) == set()
    assert thread.do(Check()).usable
    assert thread.do(replace(3)).up
    thread.close()


def test_a_journal_that_can_be_neither_removed_nor_known_is_noted(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise JournalError("io", "Input/output error")

    write(directory, 1)
    monkeypatch.setattr(store, "create", failing)
    monkeypatch.setattr(Directory, "invalidate", failing)
    monkeypatch.setattr(Directory, "current", failing)
    thread = Thread(directory)
    assert thread.do(replace(2)).stale == ANY
    thread.close()


def test_one_that_may_not_be_read_now_is_kept(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next snapshot would remove it, though nothing may be wrong with it."""

    def failing(*_: object) -> None:
        raise JournalError("io", "Input/output error")

    name = write(directory, 1)
    with monkeypatch.context() as disk:
        disk.setattr(reading, "read", failing)
        assert recover(directory, None).state is None
    writer = Writer(directory, lambda: True, lambda _: None)
    writer._do([replace(2)])
    writer._close()
    (directory.path / "set-aside-1-io.sqlite").rename(directory.file(name))
    directory.name_current(name)
    assert number_of(recover(directory, None).state) == 1


def test_a_directory_where_a_journal_file_should_be_is_in_nobodys_way(directory: Directory) -> None:
    (directory.path / "journal-7.sqlite").mkdir()
    (directory.path / "current").write_text(f"7 {'0a' * 16}\n")
    assert recover(directory, None).state is None
    (directory.path / "journal-8.sqlite").mkdir()
    thread = Thread(directory)
    assert thread.do(replace(1)).up
    thread.close()
    assert number_of(recover(directory, None).state) == 1


@pytest.mark.parametrize("stray", ["journal-999999999999.sqlite", "set-aside-999999999999-unnamed.sqlite"])
def test_a_file_with_the_highest_number_that_there_is(directory: Directory, stray: str) -> None:
    """The next number is one that can be read again."""
    write(directory, 1)
    (directory.path / stray).touch()
    for number in (2, 3):
        assert write(directory, number).number == number
        assert number_of(recover(directory, None).state) == number


def test_what_is_set_aside_has_its_own_log_only(directory: Directory) -> None:
    """A number is given once: under one name the second file would replace the first, or get its log."""
    for side in ("-wal", ""):
        name = write(directory, 1)
        emptied(directory.file(name))
        directory.file(name).with_name(name.file + side).touch()
        recover(directory, None)
    assert {name for name in listing(directory) if not name.endswith("-count")} == {
        "set-aside-1-foreign.sqlite",
        "set-aside-1-foreign.sqlite-wal",
        "set-aside-2-foreign.sqlite",
    }


MODULES = ("journal/writer.py", "journal/files.py", "journal/store.py", "journal/private.py", "journal/safe_count.py")
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")  # they read names, and change nothing


def killing_at(line: int) -> Any:
    """A trace function that kills the process when it is about to run the n-th line of these modules."""

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal line
        code = frame.f_code
        if not code.co_filename.endswith(MODULES) or code.co_name in COMPREHENSIONS:
            return None
        if event == "line":
            line -= 1
            if line == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def snapshot_in_a_child(directory: Directory, line: int) -> bool:
    """A writer that has written 2 begins a snapshot of 3, and is killed at a line of that. Was it?"""
    child = os.fork()
    if child == 0:
        try:
            writer = Writer(directory, lambda: True, lambda _: None)
            writer._do([replace(1)])
            writer._do([Append(of_page([(SCRAPER, 2, True)]), None)])
            sys.settrace(killing_at(line))
            writer._do([replace(3)])
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
def test_a_kill_at_each_line_of_a_snapshot_loses_nothing(tmp_path: Path) -> None:
    """What was written before is there: from the old file or, as soon as that is current, from the new one."""
    states, line, killed = set(), 0, True
    while killed:
        line += 1
        directory = Directory(tmp_path / str(line))
        directory.path.mkdir()
        killed = snapshot_in_a_child(directory, line)
        number = number_of(recover(directory, None).state)
        assert number in (2, 3), f"killed at line {line}"
        states.add(number)
        begun = Writer(directory, lambda: True, lambda _: None)
        begun._do([replace(4)])  # whatever was left half made is not in the way
        assert number_of(recover(directory, None).state) == 4
        assert len([name for name in listing(directory) if name.endswith(".sqlite")]) == 1
        begun._close()
    assert number == 3
    assert line > 40
    assert states == {2, 3}


def test_a_bug_in_the_thread_is_a_fault_of_the_journal_and_not_its_end(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    thread = Thread(directory)
    thread.do(replace(1))
    monkeypatch.setattr(Store, "append", broken)
    report = thread.do(Append(of_page([(SCRAPER, 2, True)]), None))
    assert report.error is not None
    assert (report.error.reason, report.up) == ("internal", False)
    assert "please report it" in caplog.text
    assert directory.current() is None
    monkeypatch.undo()
    assert thread.do(Check()).usable
    assert thread.do(replace(3)).up
    thread.close()


def test_a_bug_while_giving_up_ends_no_thread(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    thread = Thread(directory)
    thread.do(replace(1))
    identity = directory.current()
    monkeypatch.setattr(Store, "append", broken)
    monkeypatch.setattr(Directory, "invalidate", broken)
    report = thread.do(Append(of_page([(SCRAPER, 2, True)]), None))
    assert report.error is not None
    assert identity is not None
    assert (report.error.reason, report.up, report.stale) == ("internal", False, identity.identity)
    monkeypatch.undo()
    assert thread.do(Check()).usable
    assert thread.do(replace(3)).up
    thread.close()
