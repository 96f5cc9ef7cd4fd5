"""The start on a journal that cannot be written, or that another program has locked."""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from resty_metrics.journal import reading, snapshot, store
from resty_metrics.journal.errors import JournalError
from resty_metrics.journal.files import Directory, Name
from resty_metrics.journal.records import of_page
from resty_metrics.journal.recovery import recover
from resty_metrics.journal.state import State, capture
from resty_metrics.journal.store import Store
from resty_metrics.table.scrapers import Scraper, identify
from resty_metrics.wire.datagram import Verdict
from support.collector import COMMAND, Collector
from support.disks import Small
from support.users import NOBODY, as_user
from support.wait import wait_until
from support.worker import Worker, counter

pytestmark = pytest.mark.slow

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")

SCRAPER = identify("10.0.0.1", "Prometheus")
HEALS_WITHIN = 5.0
ENDS = {"ended": signal.SIGTERM, "killed": signal.SIGKILL}


def write(directory: Directory) -> Name:
    name = directory.next()
    store.create(directory.file(name), snapshot.write(capture(State(), 0.0)))
    directory.name_current(name)
    return name


def shown(state: State) -> dict[Scraper, int]:
    return {scraper: creation for scraper, creation, _ in state.scrapers.capture()}


def number_of(state: State | None) -> int | None:
    return None if state is None else shown(state).get(SCRAPER)


def listing(path: Path) -> dict[str, tuple[int, int]]:
    return {entry.name: (entry.stat().st_mtime_ns, entry.stat().st_size) for entry in path.iterdir()}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Store]:
    """A journal file with a record that is in its write-ahead log only."""
    (tmp_path / "state").mkdir()
    directory = Directory(tmp_path / "state")
    log = Store(directory.file(write(directory)))
    log.append([of_page([(SCRAPER, 5, True)])])
    yield log
    log.close()


def test_a_copy_has_what_is_in_the_log_and_leaves_no_trace(log: Store, tmp_path: Path) -> None:
    before = listing(log.path.parent)
    assert number_of(recover(Directory(log.path.parent), None, writable=False).state) == 5
    assert listing(log.path.parent) == before


def test_the_index_of_the_log_is_not_needed(log: Store) -> None:
    log.path.with_name(f"{log.path.name}-shm").unlink()
    assert number_of(recover(Directory(log.path.parent), None, writable=False).state) == 5


def test_what_is_stale_is_left_where_it_is(log: Store) -> None:
    directory = Directory(log.path.parent)
    name = directory.current()
    assert name is not None
    recovered = recover(directory, name.identity, writable=False)
    assert (recovered.state, recovered.name) == (None, name)
    assert directory.current() == name


def test_what_is_damaged_is_left_where_it_is(log: Store) -> None:
    log.path.write_bytes(os.urandom(20_000))
    before = listing(log.path.parent)
    with pytest.raises(JournalError, match="corrupt"):
        recover(Directory(log.path.parent), None, writable=False)
    assert listing(log.path.parent) == before


def test_the_copy_goes_where_there_is_room(log: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/no-such-place")
    with pytest.raises(JournalError):
        recover(Directory(log.path.parent), None, writable=False)
    spare = tmp_path / "spare"
    spare.mkdir()
    assert number_of(recover(Directory(log.path.parent), None, writable=False, spare=spare).state) == 5
    assert not list(spare.iterdir())


def test_a_copy_of_what_is_being_written_is_not_taken(log: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, written = shutil.copyfile, 0

    def copy_while_it_is_written(source: Path, target: Path) -> None:
        nonlocal written
        copy(source, target)
        if written < 3:
            written += 1
            log.append([of_page([(SCRAPER, 10 + written, True)])])

    monkeypatch.setattr("shutil.copyfile", copy_while_it_is_written)
    assert number_of(recover(Directory(log.path.parent), None, writable=False).state) == 13
    written = -1000
    with pytest.raises(JournalError, match="another program writes"):
        recover(Directory(log.path.parent), None, writable=False)


@pytest.mark.parametrize("side", ["", "-wal"])
def test_a_disk_that_cannot_be_read(log: Store, monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    copy = shutil.copyfile

    def failing(source: Path, target: Path) -> None:
        if source.name == log.path.name + side:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        copy(source, target)

    monkeypatch.setattr("shutil.copyfile", failing)
    with pytest.raises(JournalError, match="io"):
        recover(Directory(log.path.parent), None, writable=False)


def test_who_has_it_locked_is_waited_for_and_then_a_copy_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reading, "BUSY_SECONDS", 0.1)
    directory = Directory(tmp_path)
    name = write(directory)
    log = Store(directory.file(name))
    log.append([of_page([(SCRAPER, 5, True)])])
    log.close()
    with contextlib.closing(sqlite3.connect(directory.file(name), isolation_level=None)) as database:
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        assert number_of(recover(directory, None).state) == 5
    assert caplog.text.count("another program has the journal locked") == 1
    assert directory.current() == name


def send(worker: Worker, name: str, value: float = 1) -> None:
    worker.send(worker.next_batch(counter(name, value)))
    assert worker.answer()[::2] == (Verdict.ACK, worker.sequence)


def read_only(collector: Collector) -> bool:
    is_reported = "the journal cannot be written: counts are in memory only: " in (ready := collector.page("/-/ready"))
    return is_reported and "(read_only)" in ready and collector.value("resty_metrics_journal_up") == 0


def healthy(collector: Collector) -> bool:
    return collector.value("resty_metrics_journal_up") == 1 and "degraded" not in collector.page("/-/ready")


@pytest.fixture
def disk(shared: Path) -> Iterator[Small]:
    with Small(shared / "state") as disk:
        yield disk


def begun(shared: Path, disk: Small, number: signal.Signals) -> Collector:
    """A collector that was ended after it had counted 3, and whose disk has become read-only since."""
    collector = Collector(shared / "collector.sock", f"--state.dir={shared}/state")
    with collector, Worker(collector.socket_path) as worker:
        send(worker, "read_total", 3)
        collector.signal(number)
        assert collector.process is not None
        collector.process.wait(10)
    disk.protect()
    return collector


@only_root
@pytest.mark.parametrize("number", ENDS.values(), ids=ENDS)
def test_counters_go_on_from_a_read_only_journal(shared: Path, disk: Small, number: signal.Signals) -> None:
    with begun(shared, disk, number) as collector, Worker(collector.socket_path) as worker:
        assert collector.value("read_total") == 3
        assert read_only(collector)
        send(worker, "read_total", 4)
        assert collector.value("read_total") == 7
        assert "Counts are in memory only" in collector.log()
        assert 'remedy="Give this user write access to --state.dir' in collector.log()
        disk.unprotect()
        wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
        collector.kill()
        collector.start()
        assert collector.value("read_total") == 7
        assert healthy(collector)


@only_root
@pytest.mark.parametrize("protected", [True, False], ids=["read-only", "writable"])
def test_what_was_read_is_never_read_again(shared: Path, disk: Small, protected: bool) -> None:
    """It went on in memory: at what the journal has, counters would go backward, and Prometheus count them double."""
    with begun(shared, disk, signal.SIGKILL) as collector:
        with Worker(collector.socket_path) as worker:
            send(worker, "read_total", 4)
        collector.kill()
        if not protected:
            disk.unprotect()
        collector.start()
        assert collector.value("read_total") is None
        assert "the journal is out of date" in collector.log()
        with Worker(collector.socket_path) as worker:
            send(worker, "read_total", 1)
        assert collector.value("read_total") == 1
        assert healthy(collector) is not protected
        collector.kill()
        collector.start()
        assert collector.value("read_total") == (None if protected else 1)


@only_root
def test_a_read_only_directory_is_one_collectors_too(shared: Path, disk: Small) -> None:
    """Its lock can be had by who sees it writable, as in another container."""
    collector = begun(shared, disk, signal.SIGTERM)
    holder = os.open(shared / "state" / "lock", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    words = [COMMAND, "serve", f"--socket.path={shared}/other.sock", f"--state.dir={shared}/state"]
    done = subprocess.run([*words, "--web.listen-address=127.0.0.1:0"], capture_output=True, text=True, timeout=30)
    os.close(holder)
    assert done.returncode == 3
    assert f"process {collector.pid}, holds {shared}/state/lock" in done.stderr


@only_root
def test_a_read_only_directory_without_a_journal(shared: Path, disk: Small) -> None:
    disk.protect()
    with Collector(shared / "collector.sock", f"--state.dir={shared}/state") as collector:
        with Worker(collector.socket_path) as worker:
            send(worker, "memory_total")
        assert read_only(collector)
        disk.unprotect()
        wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
        collector.kill()
        collector.start()
        assert collector.value("memory_total") == 1


@only_root
def test_a_directory_that_only_its_user_may_not_write(shared: Path) -> None:
    """Its lock is there and can be had, but nothing can be made beside it."""
    shared.chmod(0o777)
    collector = Collector(shared / "collector.sock", f"--state.dir={shared}/state", under=as_user(NOBODY))
    with collector:
        with Worker(collector.socket_path) as worker:
            send(worker, "read_total", 3)
        collector.terminate()
        (shared / "state").chmod(0o555)
        collector.start()
        assert collector.value("read_total") == 3
        assert read_only(collector)
        (shared / "state").chmod(0o755)
        wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
        assert collector.value("read_total") == 3
