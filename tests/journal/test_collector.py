"""A real collector and its journal: killed, stalled, without room, without permission, with somebody else's files."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from resty_metrics.wire.datagram import HEADER_BYTES, Verdict
from support.collector import COMMAND, Collector
from support.disks import Small
from support.users import NOBODY, as_user
from support.wait import wait_until
from support.worker import Worker, counter

pytestmark = pytest.mark.slow

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
HEALS_WITHIN = 5.0


def send(worker: Worker, name: str, value: float = 1) -> None:
    worker.send(worker.next_batch(counter(name, value)))
    assert worker.answer()[::2] == (Verdict.ACK, worker.sequence)


def journal_of(collector: Collector) -> Path:
    number = (collector.state_dir / "current").read_text().split()[0]
    return collector.state_dir / f"journal-{number}.sqlite"


def scraped(collector: Collector, name: str) -> float | None:
    """As a Prometheus sees it, which gets a new row at 0 first."""
    page = collector.page(X_Prometheus_Scrape_Timeout_Seconds="10", User_Agent="Prometheus/2.42")
    return next((float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} ")), None)


def test_what_was_acknowledged_outlives_kill_9(socket_path: Path) -> None:
    with Collector(socket_path) as collector:
        for life in range(1, 4):
            with Worker(socket_path) as worker:
                send(worker, "kept_total", 5)
                collector.kill()
                collector.start()
                assert collector.value("kept_total") == 10 * life - 5
                again = Worker(socket_path)
                again.sender, again.sequence = worker.sender, worker.sequence - 1
                again.send(again.next_batch(counter("kept_total", 5)))  # as if its ack had been lost
                assert again.answer()[::2] == (Verdict.ACK, 1)
                send(again, "kept_total", 5)
                again.close()
            assert collector.value("kept_total") == 10 * life
            assert collector.value("resty_metrics_datagrams_total", result="duplicate") == 1
            assert collector.value("resty_metrics_lost_state_total") == 0
            assert collector.value("resty_metrics_journal_up") == 1


def test_no_stranger_may_read_it(socket_path: Path) -> None:
    """The page may want a password, and what is on it is in the journal."""
    with Collector(socket_path) as collector:
        assert collector.state_dir.stat().st_mode & 0o007 == 0


def test_no_stranger_may_read_it_in_a_directory_that_everybody_may_read(socket_path: Path) -> None:
    """As ``install -d`` makes it, and whatever the umask is."""
    collector = Collector(socket_path, under=["sh", "-c", 'umask 0; exec "$@"', "sh"])
    collector.state_dir.mkdir(0o755)
    with collector, Worker(socket_path) as worker:
        send(worker, "private_total")
        names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in collector.state_dir.iterdir()}
        assert len(names) == 6
        assert set(names.values()) == {0o600}


def frames(wal: Path) -> int:
    return (wal.stat().st_size - 32) // (24 + 4096)


def test_a_flipped_bit_in_the_write_ahead_log_is_noticed(socket_path: Path) -> None:
    """SQLite drops what comes behind it without a word: the counts were acknowledged."""
    with Collector(socket_path) as collector, Worker(socket_path) as worker:
        for _ in range(20):
            send(worker, "flipped_total")
        collector.kill()
        wal = journal_of(collector).with_suffix(".sqlite-wal")
        data = bytearray(wal.read_bytes())
        data[32 + frames(wal) // 2 * (24 + 4096) + 1000] ^= 1
        wal.write_bytes(data)
        collector.start()
        kept = collector.value("flipped_total") or 0
        assert 0 < kept < 20
        assert collector.value("resty_metrics_journal_lost_records_total") == 20 - kept
        assert collector.value("resty_metrics_lost_rows_total", reason="journal") == 20 - kept
        assert collector.value("resty_metrics_journal_errors_total", reason="corrupt") == 1
        assert f"lost_records={20 - kept:g}" in collector.log()
        assert collector.value("resty_metrics_journal_up") == 1
        assert f"by reason: journal {20 - kept:g}." in collector.page("/-/ready")
        with Worker(socket_path) as again:  # it was told that the lost ones are safe: it has them no more
            again.sender, again.sequence = worker.sender, worker.sequence
            send(again, "flipped_total")
        assert collector.value("flipped_total") == kept + 1
        assert collector.value("resty_metrics_lost_state_total") == 1
        collector.kill()
        collector.start()
        assert collector.value("flipped_total") == kept + 1
        assert collector.value("resty_metrics_journal_lost_records_total") == 0


@pytest.mark.parametrize("side", ["-wal", "-shm", "-count"])
def test_a_file_beside_it_that_is_removed_while_it_runs(socket_path: Path, side: str) -> None:
    """SQLite goes on writing to what nobody will find again."""
    with Collector(socket_path) as collector, Worker(socket_path) as worker:
        send(worker, "side_total")
        journal = journal_of(collector)
        journal.with_name(journal.name + side).unlink()
        send(worker, "side_total")
        errors = "resty_metrics_journal_errors_total"
        wait_until(lambda: collector.value(errors, reason="removed") == 1, message="its being missed")
        wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
        send(worker, "side_total")
        collector.kill()
        collector.start()
        assert collector.value("side_total") == 3
        assert "lost" not in collector.log()


def test_an_index_that_is_cut_while_it_runs_ends_the_process_and_costs_nothing(socket_path: Path) -> None:
    """It is mapped: the kernel ends whoever touches it (SIGBUS). A service manager then starts the next one."""
    with Collector(socket_path) as collector, Worker(socket_path) as worker:
        send(worker, "cut_total", 3)
        os.truncate(journal_of(collector).with_suffix(".sqlite-shm"), 0)
        assert collector.process is not None
        assert collector.process.wait(10) == -signal.SIGBUS
        collector.start()
        assert collector.value("cut_total") == 3
        assert collector.value("resty_metrics_journal_lost_records_total") == 0


@only_root
def test_a_lock_that_root_left_costs_no_journal(shared: Path) -> None:
    """As after ``sudo resty-metrics serve`` on the directory of a service: nothing there can be read, or removed."""
    shared.chmod(0o777)
    collector = Collector(shared / "collector.sock", f"--state.dir={shared}/state", under=as_user(NOBODY))
    state = shared / "state"
    with collector:
        with Worker(collector.socket_path) as worker:
            send(worker, "left_total", 7)
        collector.terminate()
        os.chown(state / "lock", 0, 0)
        collector.start()
        assert collector.value("left_total") is None
        assert degraded(collector, "read_only")
        before = {path.name: path.read_bytes() for path in state.glob("journal-*")}
        with Worker(collector.socket_path) as worker:
            send(worker, "new_total", 1)
        os.chown(state / "lock", 65534, 65534)
        wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
        kept = {path.name: path.read_bytes() for path in state.glob("set-aside-*")}
        assert kept == {name.replace("journal-1", "set-aside-1-unread"): data for name, data in before.items()}
        collector.kill()
        collector.start()
        assert (collector.value("left_total"), collector.value("new_total")) == (None, 1)


def test_no_counter_goes_backward_for_a_prometheus(socket_path: Path) -> None:
    """Not even to the 0 that a new row begins with, also when it was shown that just before the end."""
    with Collector(socket_path) as collector, Worker(socket_path) as worker:
        send(worker, "old_total")
        assert scraped(collector, "old_total") == 0  # a collector that began with nothing
        assert scraped(collector, "old_total") == 1
        send(worker, "new_total")
        assert scraped(collector, "new_total") == 0
        wait_until(lambda: collector.value("resty_metrics_journal_pending_records") == 0, message="the note of it")
        collector.kill()
        collector.start()
        assert (scraped(collector, "old_total"), scraped(collector, "new_total")) == (1, 1)


@contextmanager
def sending(worker: Worker) -> Iterator[None]:
    """Batches that take a while to read, as fast as they are taken, for longer than the end may take."""
    body = counter("end_more_total", 1, {"path": ""})
    body["families"][0]["rows"] = [[f"/{number}", 1] for number in range(2000)]
    packed = worker.next_batch(body)[HEADER_BYTES:]
    datagrams = [worker.next_batch({})[:HEADER_BYTES] + packed for _ in range(3000)]

    def send_all() -> None:
        with contextlib.suppress(OSError):  # the socket is closed
            for datagram in datagrams:
                worker.send(datagram)

    thread = threading.Thread(target=send_all)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def stalled(collector: Collector) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(journal_of(collector), isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def test_a_write_that_stalls_stops_no_scrape_and_acknowledges_nothing(socket_path: Path) -> None:
    with Collector(socket_path) as collector, Worker(socket_path) as worker, Worker(socket_path) as idle:
        send(worker, "stalled_total")
        with stalled(collector):
            worker.send(worker.next_batch(counter("stalled_total", 1)))
            ends = time.monotonic() + 2
            while time.monotonic() < ends:
                assert collector.value("stalled_total") == 1  # committed state only
                idle.probe()
            assert not worker.has_answer()
        assert worker.answer()[::2] == (Verdict.ACK, 2)
        assert collector.value("stalled_total") == 2
        assert collector.value("resty_metrics_journal_up") == 1


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    path.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), (path / "ballast").open("wb") as ballast:
        while True:
            ballast.write(bytes(4096))
            ballast.flush()


def degraded(collector: Collector, *reasons: str) -> bool:
    ready = collector.page("/-/ready")
    return collector.value("resty_metrics_journal_up") == 0 and any(f"({reason})" in ready for reason in reasons)


def healthy(collector: Collector) -> bool:
    return collector.value("resty_metrics_journal_up") == 1 and "degraded" not in collector.page("/-/ready")


def until_degraded(collector: Collector, worker: Worker, name: str, *reasons: str) -> int:
    """Send until the disk says no; how many were acknowledged."""
    sent = 0
    while not degraded(collector, *reasons):
        send(worker, name)
        sent += 1
        assert sent < 5000
    return sent


@only_root
def test_a_full_disk_and_back(shared: Path) -> None:
    with small_disk(shared / "disk"):
        collector = Collector(shared / "collector.sock", f"--state.dir={shared}/disk/state")
        collector.state_dir = shared / "disk" / "state"
        with collector, Worker(collector.socket_path) as worker:
            fill(shared / "disk")
            sent = until_degraded(collector, worker, "full_total", "full")
            assert not (collector.state_dir / "current").exists()
            send(worker, "full_total")
            assert collector.value("full_total") == sent + 1
            (shared / "disk" / "ballast").unlink()
            wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
            assert (collector.value("resty_metrics_journal_errors_total", reason="full") or 0) >= 1
            collector.kill()
            collector.start()
            assert collector.value("full_total") == sent + 1
            assert collector.log().count("memory only") == 1


@only_root
def test_a_disk_that_is_full_from_the_start(shared: Path) -> None:
    """Not even the lock has room there; once there is some, the journal begins."""
    with small_disk(shared / "disk"):
        fill(shared / "disk")
        collector = Collector(shared / "collector.sock", f"--state.dir={shared}/disk")
        collector.state_dir = shared / "disk"
        with collector, Worker(collector.socket_path) as worker:
            send(worker, "full_total")
            assert degraded(collector, "full")
            (shared / "disk" / "ballast").unlink()
            wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
            collector.kill()
            collector.start()
            assert collector.value("full_total") == 1


@only_root
def test_a_journal_is_read_though_the_disk_is_full(shared: Path) -> None:
    """Also after an orderly end, when SQLite would make the index of its log anew, for which there is no room."""
    with small_disk(shared / "disk"):
        collector = Collector(shared / "collector.sock", f"--state.dir={shared}/disk")
        collector.state_dir = shared / "disk"
        with collector, Worker(collector.socket_path) as worker:
            send(worker, "read_total", 3)
            collector.terminate()
            fill(shared / "disk")
            collector.start()
            assert collector.value("read_total") == 3
            assert degraded(collector, "full")
            (shared / "disk" / "ballast").unlink()
            wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
            assert collector.value("read_total") == 3


def attempts(collector: Collector) -> float:
    return collector.value("resty_metrics_journal_errors_total", reason="full") or 0


@only_root
def test_a_disk_with_room_for_a_file_but_not_for_the_journal(shared: Path) -> None:
    """It is not written full each second, and the journal is not said to be up in between."""
    with Small(shared / "disk", 2 * 1024 * 1024):
        fill(shared / "disk")
        collector = Collector(shared / "collector.sock", f"--state.dir={shared}/disk")
        collector.state_dir = shared / "disk"
        with collector, Worker(collector.socket_path) as worker:
            body = counter("nearly_total", 1, {"path": ""})
            for start in range(0, 9000, 600):
                body["families"][0]["rows"] = [[f"/{number}/{'x' * 60}", 1] for number in range(start, start + 600)]
                worker.send(worker.next_batch(body))
                assert worker.answer()[::2] == (Verdict.ACK, worker.sequence)
            ballast = shared / "disk" / "ballast"
            os.truncate(ballast, ballast.stat().st_size - 512 * 1024)
            wait_until(lambda: attempts(collector) > 1, message="an attempt that fails")
            tried, ends = attempts(collector), time.monotonic() + 5
            while time.monotonic() < ends:
                assert degraded(collector, "full")
            assert attempts(collector) <= tried + 2
            ballast.unlink()
            wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
            collector.kill()
            collector.start()
            assert collector.page().count("\nnearly_total{") == 9000


@dataclass(frozen=True)
class Disk:
    """A file system of its own, in a file."""

    image: Path
    path: Path

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self.image, self.path], check=True)

    def fail(self) -> None:
        """As ext4 does it when it meets an error: read-only at once, whoever writes."""
        subprocess.run(["mount", "-o", "remount,abort", self.path], check=True)

    def replace(self) -> None:
        """Another, empty disk: while somebody has a file of the failed one open, the kernel keeps it as it is."""
        self.unmount()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0755", "tmpfs", self.path], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)


@pytest.fixture
def disk(shared: Path) -> Iterator[Disk]:
    disk = Disk(shared / "image", shared / "disk")
    disk.image.write_bytes(bytes(8 * 1024 * 1024))
    subprocess.run(["mkfs.ext4", "-q", disk.image], check=True)
    disk.path.mkdir()
    disk.mount()
    yield disk
    disk.unmount()


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process lead to, but for those that it closes meanwhile."""
    paths = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            paths.append(str(link.readlink()))
    return paths


@only_root
def test_a_disk_that_fails_and_is_replaced(shared: Path, disk: Disk) -> None:
    collector = Collector(shared / "collector.sock", f"--state.dir={disk.path}/state")
    with collector, Worker(collector.socket_path) as worker:
        send(worker, "ro_total")
        disk.fail()
        sent = until_degraded(collector, worker, "ro_total", "read_only")
        disk.replace()
        wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
        opened = open_files(collector.pid)
        assert [path for path in opened if path.endswith("/lock")] == [f"{disk.path}/state/lock"]
        collector.kill()
        collector.start()
        assert collector.value("ro_total") == sent + 1


@only_root
def test_a_stale_journal_is_never_read_again(shared: Path, disk: Disk) -> None:
    """It could not even be removed: the note in the lock beside the socket tells."""
    collector = Collector(shared / "collector.sock", f"--state.dir={disk.path}/state")
    with collector, Worker(collector.socket_path) as worker:
        send(worker, "stale_total", 7)
        disk.fail()
        until_degraded(collector, worker, "stale_total", "read_only")
        collector.kill()
        disk.unmount()
        disk.mount()
        assert (disk.path / "state" / "current").exists()
        collector.start()
        assert collector.value("stale_total") is None
        wait_until(lambda: collector.value("resty_metrics_journal_up") == 1, message="the first snapshot")
        assert "the journal is out of date" in collector.log()


@contextmanager
def frozen(disk: Disk) -> Iterator[None]:
    """Whoever writes waits, as for a file server that does not answer."""
    subprocess.run(["fsfreeze", "--freeze", disk.path], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", disk.path], check=True)


@only_root
def test_a_directory_that_does_not_answer_stops_no_scrape(shared: Path, disk: Disk) -> None:
    """Not even where the lock is to be taken anew there."""
    collector = Collector(shared / "collector.sock", f"--state.dir={disk.path}/state")
    with collector, Worker(collector.socket_path) as worker:
        send(worker, "frozen_total")
        collector.signal(signal.SIGSTOP)
        (disk.path / "state" / "lock").unlink()
        with frozen(disk):
            collector.signal(signal.SIGCONT)
            ends = time.monotonic() + 3
            while time.monotonic() < ends:
                assert collector.value("frozen_total") == 1
                worker.probe()
        wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")


@only_root
def test_a_directory_that_became_anothers_is_left_alone(shared: Path) -> None:
    """The directory was removed, and another collector began in a new one."""
    with Collector(shared / "collector.sock", f"--state.dir={shared}/state") as collector:
        with Worker(collector.socket_path) as worker:
            send(worker, "mine_total")
        collector.signal(signal.SIGSTOP)
        shutil.rmtree(shared / "state")
        with Collector(shared / "other.sock", f"--state.dir={shared}/state") as second:
            with Worker(second.socket_path) as worker:
                send(worker, "theirs_total")
            collector.signal(signal.SIGCONT)
            wait_until(lambda: degraded(collector, "locked"), message="the degradation")
            assert healthy(second)
            collector.signal(signal.SIGSTOP)  # or it would take its turn while the other starts anew
            second.kill()
            second.start()
            assert second.value("theirs_total") == 1
            collector.signal(signal.SIGCONT)
        wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="its turn")
        collector.kill()
        collector.start()
        assert (collector.value("mine_total"), collector.value("theirs_total")) == (1, None)


def test_a_directory_that_cannot_be_used_is_no_reason_to_stop(shared: Path) -> None:
    (shared / "in-the-way").write_text("a file")
    with Collector(shared / "collector.sock", f"--state.dir={shared}/in-the-way/state") as collector:
        with Worker(collector.socket_path) as worker:
            send(worker, "memory_total")
        wait_until(lambda: degraded(collector, "io"), message="the degradation")
        (shared / "in-the-way").unlink()
        wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
        collector.kill()
        collector.start()
        assert collector.value("memory_total") == 1


def test_a_directory_that_is_removed_while_it_runs(socket_path: Path) -> None:
    with Collector(socket_path) as collector, Worker(socket_path) as worker:
        send(worker, "removed_total")
        for path in collector.state_dir.iterdir():
            path.unlink()
        errors = "resty_metrics_journal_errors_total"
        wait_until(lambda: collector.value(errors, reason="removed") == 1, message="its being missed")
        wait_until(lambda: healthy(collector), timeout=HEALS_WITHIN, message="the journal")
        collector.kill()
        collector.start()
        assert collector.value("removed_total") == 1


def test_a_journal_of_garbage_is_set_aside(socket_path: Path) -> None:
    with Collector(socket_path) as collector:
        with Worker(socket_path) as worker:
            send(worker, "garbage_total")
        collector.kill()
        journal_of(collector).write_bytes(os.urandom(20_000))
        collector.start()
        assert collector.value("garbage_total") is None
        assert healthy(collector)
        assert "set aside" in collector.log()
        assert len(list(collector.state_dir.glob("set-aside-*.sqlite"))) == 1


def test_one_directory_is_one_collectors(shared: Path) -> None:
    with Collector(shared / "collector.sock", f"--state.dir={shared}/state") as collector:
        words = [COMMAND, "serve", f"--socket.path={shared}/other.sock", f"--state.dir={shared}/state"]
        done = subprocess.run([*words, "--web.listen-address=127.0.0.1:0"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 3
        assert f"process {collector.pid}, holds {shared}/state/lock" in done.stderr
        assert not (shared / "other.sock").exists()


def test_without_a_directory_nothing_is_kept_and_nothing_is_said_of_a_journal(shared: Path) -> None:
    with Collector(shared / "collector.sock", "--state.dir=none") as collector:
        with Worker(collector.socket_path) as worker:
            send(worker, "memory_total")
        assert "resty_metrics_journal" not in collector.page()
        assert "degraded" not in collector.page("/-/ready")
        collector.kill()
        collector.start()
        assert collector.value("memory_total") is None


def test_it_ends_in_time_though_the_disk_does_not_answer(socket_path: Path) -> None:
    """And workers go on sending, and somebody waits for a page, which waits for a source."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"--source.stub-status=http://127.0.0.1:{silent.getsockname()[1]}/"
        with Collector(socket_path, source) as collector, Worker(socket_path) as worker:
            send(worker, "end_total")
            with stalled(collector), socket.create_connection(("127.0.0.1", collector.port)) as client:
                worker.send(worker.next_batch(counter("end_total", 1)))
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                with silent.accept()[0], sending(worker):
                    began = time.monotonic()
                    assert collector.terminate() == 0
                    assert time.monotonic() - began < 2  # what is promised, for all of it
            assert "some batches could not be written in time" in collector.log()
            assert "msg=stopped" in collector.log()
    with Collector(socket_path) as collector:
        assert collector.value("end_total") == 1  # the rest was not acknowledged: it is still with its worker
