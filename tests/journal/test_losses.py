"""What a start keeps of a damaged journal, and that it says what it lost."""

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
from resty_metrics.journal import records, snapshot
from resty_metrics.journal.errors import NOTHING_LOST, Loss
from resty_metrics.journal.files import Directory
from resty_metrics.journal.recovery import Recovered, recover
from resty_metrics.journal.state import capture
from resty_metrics.journal.store import Store
from resty_metrics.journal.writer import Replace, Writer
from resty_metrics.table.families import Family
from resty_metrics.table.table import Table
from support.journals import ROWS, SENDER, Life, append, begin, sides, total

RECORDS = 40
Damage = Callable[[Path], None]


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    (tmp_path / "state").mkdir()
    return Directory(tmp_path / "state")


def written(directory: Directory, killed: bool = False) -> tuple[Path, Life]:
    """A snapshot of three batches and a log of RECORDS, of a collector that was ended, or killed."""
    life = Life()
    for _ in range(3):
        life.send()
    path = directory.file(begin(directory, life))
    log = Store(path)
    append(log, life, RECORDS)
    if killed:
        kept = {side: side.read_bytes() for side in sides(path)}
        log.close()
        for side, data in kept.items():
            side.write_bytes(data)
    else:
        log.close()
    return path, life


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_nothing_is_lost_and_nothing_said(directory: Directory, caplog: pytest.LogCaptureFixture, killed: bool) -> None:
    _, life = written(directory, killed)
    recovered = recover(directory, None)
    assert recovered.state is not None
    assert (total(recovered.state), recovered.records) == (total(life.state), RECORDS)
    assert recovered.loss == NOTHING_LOST
    assert not caplog.text


def reported(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The fields of the line that says what was lost, which is there once."""
    lines = [record for record in caplog.records if record.getMessage().startswith("the journal is damaged")]
    assert len(lines) == 1
    return dict(vars(lines[0])["fields"])


def check_loss(recovered: Recovered, life: Life, lost: int, caplog: pytest.LogCaptureFixture) -> None:
    """So many records of one batch are lost, and nothing else."""
    assert recovered.state is not None
    assert total(recovered.state) == total(life.state) - lost * ROWS
    assert recovered.loss == Loss("corrupt", lost, 0, lost * ROWS)
    line = reported(caplog)
    assert (line["lost_records"], line["lost_rows"], line["read_records"]) == (lost, lost * ROWS, RECORDS - lost)


FRAME_BYTES = 24 + 4096


@pytest.mark.parametrize("frame", [0, 5, 30, -1])
def test_a_flipped_bit_in_the_write_ahead_log(
    directory: Directory, caplog: pytest.LogCaptureFixture, frame: int
) -> None:
    """SQLite drops it with all that comes behind, which had been acknowledged, without a word."""
    path, life = written(directory, killed=True)
    wal = path.with_name(f"{path.name}-wal")
    frames = (wal.stat().st_size - 32) // FRAME_BYTES
    flip(wal, 32 + frame % frames * FRAME_BYTES + 2000)
    recovered = recover(directory, None)
    assert recovered.loss.records > 0
    check_loss(recovered, life, recovered.loss.records, caplog)
    assert recovered.loss.records == {0: RECORDS, frames - 1: 1}.get(frame % frames, recovered.loss.records)


@pytest.mark.parametrize("damage", [Path.unlink, lambda wal: os.truncate(wal, 0), lambda wal: flip(wal, 9)])
def test_a_write_ahead_log_that_is_gone(directory: Directory, caplog: pytest.LogCaptureFixture, damage: Damage) -> None:
    path, life = written(directory, killed=True)
    damage(path.with_name(f"{path.name}-wal"))
    check_loss(recover(directory, None), life, RECORDS, caplog)


def test_an_index_that_is_gone_costs_nothing(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    path, life = written(directory, killed=True)
    path.with_name(f"{path.name}-shm").unlink()
    recovered = recover(directory, None)
    assert recovered.state is not None
    assert total(recovered.state) == total(life.state)
    assert not caplog.text


def record_at(path: Path, number: int) -> int:
    """Where in the file the bytes of a record are; its number is that of its row."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        (data,) = database.execute("SELECT data FROM log WHERE number = ?", (number,)).fetchone()
    return path.read_bytes().index(data)


@pytest.mark.parametrize("number", [1, 20, RECORDS])
def test_a_damaged_record_costs_no_other_one(
    directory: Directory, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    path, life = written(directory)
    flip(path, record_at(path, number) + 100)
    recovered = recover(directory, None)
    check_loss(recovered, life, 1, caplog)
    assert "checksum" in str(reported(caplog)["error"])


def test_records_that_are_missing(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    path, life = written(directory)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM log WHERE number IN (3, 4, 17, 40)")
    check_loss(recover(directory, None), life, 4, caplog)


def test_a_damaged_page_costs_no_record_before_or_behind_it(
    directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    path, life = written(directory)
    page = record_at(path, 20) // 4096
    data = bytearray(path.read_bytes())
    data[page * 4096 : page * 4096 + 4096] = bytes(4096)
    path.write_bytes(data)
    recovered = recover(directory, None)
    assert 0 < recovered.loss.records < RECORDS / 2
    check_loss(recovered, life, recovered.loss.records, caplog)
    assert "malformed" in str(reported(caplog)["error"])
    assert recovered.state is not None
    assert recovered.state.senders.committed(SENDER) == life.sequence


def test_what_was_lost_is_not_asked_for_again_and_the_rest_not_taken_twice(directory: Directory) -> None:
    path, life = written(directory)
    flip(path, record_at(path, RECORDS) + 100)  # the last one: its worker had not heard that it is safe, perhaps
    recovered = recover(directory, None)
    assert recovered.state is not None
    again = Life(recovered.state)
    again.intake.receive(life.datagram, 0, 99.0)
    again.intake.commit()
    assert total(again.state) == total(life.state)
    again.intake.receive(life.datagram, 0, 99.0)
    again.intake.commit()
    assert total(again.state) == total(life.state)


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda count: os.truncate(count, 0), lambda count: flip(count, 3)],
    ids=["gone", "empty", "flipped"],
)
def test_without_the_count_it_is_said_that_nobody_knows(
    directory: Directory, caplog: pytest.LogCaptureFixture, damage: Damage
) -> None:
    path, life = written(directory)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("DELETE FROM log WHERE number = 3")  # that there is a gap is known all the same
    damage(path.with_name(f"{path.name}-count"))
    recovered = recover(directory, None)
    assert recovered.state is not None
    assert total(recovered.state) == total(life.state) - ROWS
    assert recovered.loss == Loss("corrupt", 1, 0, 0)
    assert "cannot read the record count beside the journal" in caplog.text


@pytest.mark.parametrize(("where", "lost"), [(Table, ROWS), (Family, ROWS - 1)], ids=["a batch", "a family of one"])
def test_what_cannot_be_merged_costs_nothing_else(
    directory: Directory, where: Any, lost: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, life = written(directory)
    merge, left = where.merge, 7

    def failing(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise ZeroDivisionError
        return merge(*arguments)

    with monkeypatch.context() as bug:
        bug.setattr(where, "merge", failing)
        recovered = recover(directory, None)
    assert recovered.state is not None
    assert total(recovered.state) == total(life.state) - lost
    assert recovered.loss == Loss("internal", 0, 1, lost)
    assert reported(caplog)["lost_entries"] == 1
    assert "please report it" in caplog.text


def test_a_file_with_a_loss_is_kept_for_people_once_there_is_a_new_one(directory: Directory) -> None:
    path, _ = written(directory)
    flip(path, record_at(path, 20) + 100)
    before = path.read_bytes()
    recovered = recover(directory, None)
    assert recovered.state is not None
    assert path.exists()  # a kill -9 now must not cost what was kept
    writer = Writer(directory, lambda: True, lambda _: None)
    writer._do([Replace(capture(recovered.state, 0.0))])
    writer._close()
    assert not path.exists()
    assert (directory.path / "set-aside-1-unread.sqlite").read_bytes() == before
    again = recover(directory, None)
    assert again.state is not None
    assert total(again.state) == total(recovered.state)
    assert again.loss == NOTHING_LOST


@pytest.mark.parametrize("text", [b"CREATE TABLE snapshot", b"snapshot", b"table", b"number"])
def test_a_schema_that_is_not_utf_8(directory: Directory, caplog: pytest.LogCaptureFixture, text: bytes) -> None:
    """SQLite quotes it in the text of its error, which Python then cannot decode."""
    path, _ = written(directory)
    data = bytearray(path.read_bytes())
    data[data.index(text)] = 0xB1
    path.write_bytes(data)
    recovered = recover(directory, None)
    assert recovered.loss in (Loss("corrupt"), Loss("corrupt", RECORDS, 0, RECORDS * ROWS))  # of either table
    assert "set aside" in caplog.text or "the journal is damaged" in caplog.text


@pytest.mark.parametrize("error", [RecursionError, MemoryError, ZeroDivisionError, UnicodeError])
def test_whatever_goes_wrong_is_no_reason_not_to_start(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    def failing(*_: object) -> None:
        raise error

    path, life = written(directory)
    with monkeypatch.context() as bug:
        bug.setattr(snapshot, "read", failing)
        recovered = recover(directory, None)
    assert (recovered.state, recovered.loss) == (None, Loss("internal"))
    assert "please report it" in caplog.text
    aside = directory.path / "set-aside-1-internal.sqlite"
    assert sides(aside)
    for side in sides(aside):
        side.rename(path.with_name(path.name + side.name.removeprefix(aside.name)))
    (directory.path / "current").write_text(f"1 {'0a' * 16}\n")
    recovered = recover(directory, None)
    assert recovered.state is not None
    assert total(recovered.state) == total(life.state)


MODULES = ("journal/store.py", "journal/safe_count.py")


def killing_at(line: int) -> Any:
    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal line
        if not frame.f_code.co_filename.endswith(MODULES):
            return None
        if event == "line":
            line -= 1
            if line == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def append_in_a_child(path: Path, life: Life, line: int) -> bool:
    """Two records are appended by a process that is killed at a line of that. Was it?"""
    child = os.fork()
    if child == 0:
        try:
            log = Store(path)
            append(log, life, 5)
            sys.settrace(killing_at(line))
            log.append([life.send(), life.send()], 2 * ROWS)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_kill_at_each_line_of_an_append_is_no_loss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A commit that was interrupted was promised to nobody: there is nothing to say of it."""
    states, line, killed = set(), 0, True
    while killed:
        line += 1
        directory, life = Directory(tmp_path / str(line)), Life()
        directory.path.mkdir()
        path = directory.file(begin(directory, life))
        killed = append_in_a_child(path, life, line)
        recovered = recover(directory, None)
        assert recovered.loss == NOTHING_LOST
        states.add(recovered.records)
    assert line > 10
    assert states == {5, 7}
    assert not caplog.text


def test_a_kill_in_the_middle_of_a_commit_is_no_loss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever the writing of its frames ends: every length that the write-ahead log had on its way."""
    directory, life = Directory(tmp_path), Life()
    path = directory.file(begin(directory, life))
    log = Store(path)
    append(log, life, 5)
    before = {side: side.read_bytes() for side in sides(path)}
    log.append([life.send() for _ in range(20)], 20 * ROWS)
    wal = path.with_name(f"{path.name}-wal")
    data, begins = wal.read_bytes(), len(before[wal])
    log.close()
    assert len(data) > begins + 2 * FRAME_BYTES
    for cut in [*range(begins, len(data), 1000), len(data) - 1]:
        for side, content in before.items():
            side.write_bytes(content)
        wal.write_bytes(data[:cut])
        recovered = recover(directory, None)
        assert (recovered.loss, recovered.records) == (NOTHING_LOST, 5)
    assert not caplog.text


def test_records_are_read_by_what_wrote_them(directory: Directory) -> None:
    """The rows that the writer counts are those that replay counts: a difference would be told as a loss."""
    _, life = written(directory)
    replayed = records.replay(life.state, life.send())
    assert replayed.rows == ROWS
