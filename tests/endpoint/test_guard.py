"""The socket of a real collector heals, says why, and gives way to who holds the lock."""

import contextlib
import errno
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from resty_metrics.endpoint.guard import Guard
from resty_metrics.ingest.drain import Drain
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.listener import Listener
from resty_metrics.ingest.senders import Senders
from resty_metrics.process.lock import acquire
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import Verdict
from support.client import ask
from support.collector import Collector
from support.nginx import Nginx
from support.stalls import stalled
from support.users import NOBODY, as_user
from support.wait import free_port, wait_until
from support.worker import Worker, counter

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
HEALS_WITHIN = 1.0


class Memory:
    """What is kept is safe at once."""

    full = False

    def keep(self, drain: Drain, then: Callable[[], Iterator[None]]) -> None:
        for _ in then():
            pass


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    """By a program that binds and exits."""
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as impostor:
        impostor.bind(str(path))


def by_a_stream_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as impostor:
        impostor.bind(str(path))


def by_a_regular_file(path: Path) -> None:
    path.unlink()
    path.write_text("no socket")


def by_an_empty_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def by_a_link_to_it(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def without_mode(path: Path) -> None:
    path.chmod(0)


def of_another(path: Path) -> None:
    os.chown(path, 12345, -1)


def without_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


def with_another_directory(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.mkdir(mode=0o755)


FAULTS = [
    (removed, "missing"),
    (replaced, "replaced"),
    (by_a_stream_socket, "replaced"),
    (by_a_regular_file, "replaced"),
    (by_an_empty_directory, "replaced"),
    (by_a_link_to_it, "replaced"),
    (without_mode, "mode"),
    pytest.param(of_another, "owner", marks=only_root),
    (without_directory, "missing"),
    (with_another_directory, "missing"),
]


@pytest.fixture
def collector(shared: Path) -> Iterator[Collector]:
    directory = shared / "run"
    directory.mkdir(mode=0o755)
    with Collector(directory / "collector.sock", f"--state.dir={shared}/state") as collector:
        yield collector


def rebinds(collector: Collector, reason: str) -> float:
    return collector.value("resty_metrics_socket_rebinds_total", reason=reason) or 0


def send(collector: Collector, name: str) -> None:
    with Worker(collector.socket_path) as worker:
        worker.send(worker.next_batch(counter(name, 1)))
        assert worker.answer()[0] == Verdict.ACK


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_it_heals_within_a_second_and_says_why(
    collector: Collector, fault: Callable[[Path], None], reason: str
) -> None:
    connected = Worker(collector.socket_path)
    connected.send(connected.next_batch(counter("before_total", 1)))
    assert connected.answer()[0] == Verdict.ACK
    before = collector.socket_path.stat()
    began = time.monotonic()
    fault(collector.socket_path)
    wait_until(lambda: rebinds(collector, reason) == 1, message="the rebind")
    assert time.monotonic() - began < HEALS_WITHIN + 1
    after = collector.socket_path.lstat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
    assert collector.value("resty_metrics_socket_up") == 1
    assert collector.value("resty_metrics_socket_contended") == 0
    send(collector, "after_total")
    with pytest.raises(OSError, match=r"Broken pipe|Connection refused|not connected"):
        connected.send(connected.next_batch(counter("before_total", 1)))  # so that its worker opens the path anew
    connected.close()
    assert (collector.value("before_total"), collector.value("after_total")) == (1, 1)
    assert "degraded" not in collector.page("/-/ready")
    assert f"fault={reason}" in collector.log()


def mode_of(directory: Path) -> int:
    return stat.S_IMODE(directory.stat().st_mode)


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o744, 0o000], ids=oct)
def test_the_directory_has_its_search_permission_back(collector: Collector, mode: int) -> None:
    directory = collector.socket_path.parent
    directory.chmod(mode)
    wait_until(lambda: mode_of(directory) == mode | 0o111, message="the mode")
    send(collector, "after_total")
    wait_until(lambda: "degraded" not in collector.page("/-/ready"), message="readiness")
    assert f"was={mode:04o} now={mode | 0o111:04o}" in collector.log()


def test_a_directory_that_was_closed_at_the_start_is_not_opened(shared: Path) -> None:
    directory = shared / "run"
    directory.mkdir(mode=0o750)
    with Collector(directory / "collector.sock", f"--state.dir={shared}/state") as collector:
        directory.chmod(0o710)
        collector.socket_path.unlink()
        wait_until(lambda: rebinds(collector, "missing") == 1, message="the rebind")
        assert mode_of(directory) == 0o710
        directory.chmod(0o755)
        collector.socket_path.unlink()
        wait_until(lambda: rebinds(collector, "missing") == 2, message="the rebind")
        directory.chmod(0o710)
        wait_until(lambda: mode_of(directory) == 0o711, message="the permission that was granted meanwhile")


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o777, 0o000], ids=oct)
def test_the_modes_do_not_depend_on_the_umask(shared: Path, umask: int) -> None:
    """Also of a directory that is made anew while we run."""
    directory = shared / "new" / "run"
    words = ["sh", "-c", f'umask {umask:o}; exec "$@"', "sh"]
    with Collector(directory / "collector.sock", f"--state.dir={shared}/state", under=words) as collector:
        assert [mode_of(directory.parent), mode_of(directory)] == [0o755, 0o755]
        shutil.rmtree(directory.parent)
        wait_until(lambda: rebinds(collector, "missing") == 1, message="the rebind")
        assert [mode_of(directory.parent), mode_of(directory)] == [0o755, 0o755]
        assert mode_of(collector.socket_path) == 0o666


@only_root
def test_a_worker_reaches_what_was_made_under_a_strict_umask(shared: Path) -> None:
    socket_path = shared / "new" / "collector.sock"
    port = free_port()
    site = f"server {{ listen 127.0.0.1:{port}; server_name one.example; location / {{ return 200; }} }}"
    words = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
    with Collector(socket_path, under=words) as collector, Nginx(socket_path, site, workers=1):
        ask(port)
        wait_until(lambda: sum(collector.request_counts().values()) == 1, message="the request on the page")


WITHOUT_INOTIFY = 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"'


@only_root
def test_the_look_of_each_second_is_enough_without_inotify(shared: Path) -> None:
    """In a user namespace that may have no inotify instance."""
    path = shared / "run" / "collector.sock"
    path.parent.mkdir(mode=0o755)
    under = ["unshare", "--user", "--map-root-user", "sh", "-ec", WITHOUT_INOTIFY, "sh"]
    with Collector(path, f"--state.dir={shared}/state", under=under) as collector:
        assert "cannot use inotify" in collector.log()
        send(collector, "before_total")
        for fault, reason in ((removed, "missing"), (without_mode, "mode"), (with_another_directory, "missing")):
            before, began = rebinds(collector, reason), time.monotonic()
            fault(path)
            wait_until(lambda was=before, why=reason: rebinds(collector, why) == was + 1, message=reason)  # type: ignore[misc]
            assert time.monotonic() - began < 6  # the third of three in a row waits longer
        send(collector, "after_total")
        assert (collector.value("before_total"), collector.value("after_total")) == (1, 1)


IMPOSTOR = """
import os, socket, sys, time
path = sys.argv[1]
os.unlink(path)
other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
other.bind(path)
os.chmod(path, 0o666)
print(flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.slow


@contextmanager
def impostor(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that takes the path and stays."""
    with subprocess.Popen([sys.executable, "-c", IMPOSTOR, str(path)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.read(1)
            yield process
        finally:
            process.kill()


def test_who_took_the_path_is_named(collector: Collector) -> None:
    with impostor(collector.socket_path) as process:
        wait_until(lambda: f"pid={process.pid}" in collector.log(), message="the culprit's name")
        line = next(line for line in collector.log().splitlines() if f"pid={process.pid}" in line)
        for word in (sys.executable.rpartition("/")[2], "arguments=", f"({os.getpid()})"):
            assert word in line
    send(collector, "after_total")


def test_who_has_gone_is_not_invented(collector: Collector) -> None:
    replaced(collector.socket_path)
    wait_until(
        lambda: "the process that replaced the socket has ended" in collector.log(),
        message="what is known of the culprit",
    )
    assert "this process had replaced" not in collector.log()


def test_against_one_who_keeps_coming_back_it_backs_off_and_says_so(collector: Collector) -> None:
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        with contextlib.suppress(FileNotFoundError):
            replaced(collector.socket_path)
        time.sleep(0.05)
    assert collector.value("resty_metrics_socket_contended") == 1
    assert "another program keeps removing or replacing the socket" in collector.page("/-/ready")
    assert 3 <= rebinds(collector, "replaced") + rebinds(collector, "missing") <= 5
    for event in ("restored the socket", "has ended", "in a moment", 'msg="the socket works again'):
        assert collector.log().count(event) <= 2, event  # one for each fault
    wait_until(lambda: collector.value("resty_metrics_socket_up") == 1, timeout=6, message="the healing")
    send(collector, "after_total")
    wait_until(lambda: collector.value("resty_metrics_socket_contended") == 0, timeout=30, message="peace")


def test_a_directory_with_something_in_it_is_left_alone_and_said(collector: Collector) -> None:
    """It is not taken away again and again: it cannot be put right."""
    path = collector.socket_path
    path.unlink()
    (path / "precious").mkdir(parents=True)
    failed = "resty_metrics_socket_failed_rebinds_total"
    wait_until(lambda: (collector.value(failed) or 0) >= 2, message="attempts")
    assert "cannot restore the socket" in collector.log()
    assert "directory not empty" in collector.page("/-/ready")
    assert collector.value("resty_metrics_socket_contended") == 0
    assert collector.value("resty_metrics_socket_up") == 0
    shutil.rmtree(path)
    wait_until(lambda: collector.value("resty_metrics_socket_up") == 1, timeout=6, message="the healing")
    send(collector, "after_total")


def test_a_directory_that_was_removed_is_created_again_and_the_log_says_so(collector: Collector) -> None:
    directory = collector.socket_path.parent
    shutil.rmtree(directory)
    wait_until(collector.socket_path.exists, message="the healing")
    wait_until(lambda: "restored the socket" in collector.log(), message="the log")
    created = f'msg="created the socket\'s directory again, since it was removed" directory={directory}\n'
    assert created in collector.log()
    assert "degraded" not in collector.page("/-/ready")
    send(collector, "after_total")


@only_root
def test_a_directory_that_cannot_be_created_comes_with_the_command_that_does(shared: Path) -> None:
    """As in /run, which belongs to root: the command is applied, and the fault is over."""
    directory = shared / "run"
    for made in (directory, shared / "state"):
        made.mkdir(mode=0o755)
        os.chown(made, NOBODY, NOBODY)
    with Collector(directory / "collector.sock", f"--state.dir={shared}/state", under=as_user(NOBODY)) as collector:
        shutil.rmtree(directory)
        missing = f"the directory {directory} is missing, and the collector cannot create it: permission denied"
        wait_until(lambda: missing in collector.page("/-/ready"), message="the fault")
        assert missing in collector.log()
        assert collector.value("resty_metrics_socket_failed_rebinds_total") != 0
        command = re.search(r"To create it, run: sudo (install -d .*?)\. ", collector.page("/-/ready"))
        assert command is not None
        subprocess.run(shlex.split(command[1]), check=True)
        wait_until(lambda: "degraded" not in collector.page("/-/ready"), message="the healing")
        send(collector, "after_total")


def other_collector(collector: Collector) -> Collector:
    return Collector(collector.socket_path, f"--state.dir={collector.socket_path.parents[1]}/other")


def test_it_stands_by_while_another_holds_the_lock_of_a_new_directory(collector: Collector) -> None:
    send(collector, "first_total")
    collector.signal(signal.SIGSTOP)
    shutil.rmtree(collector.socket_path.parent)
    collector.socket_path.parent.mkdir(mode=0o755)
    with other_collector(collector) as second:
        inode = second.socket_path.stat().st_ino
        collector.signal(signal.SIGCONT)
        wait_until(lambda: collector.value("resty_metrics_socket_standby") == 1, message="the stand-by")
        assert collector.value("resty_metrics_socket_up") == 0
        assert "standing by" in collector.page("/-/ready")
        send(second, "second_total")
        assert second.socket_path.stat().st_ino == inode
        assert collector.value("first_total") == 1
        assert collector.value("second_total") is None
        second.kill()
        wait_until(lambda: collector.value("resty_metrics_socket_up") == 1, timeout=5, message="its turn")
        assert collector.value("resty_metrics_socket_standby") == 0
        send(collector, "third_total")


def flood(path: Path, stop: threading.Event) -> None:
    """Keep the queue full, as an allowed sender that sends too much."""
    with Worker(path) as worker:
        while not stop.is_set():
            worker.send_if_there_is_room(worker.next_batch(counter("flood_total", 1)))


@contextmanager
def flooded(collector: Collector) -> Iterator[None]:
    stop = threading.Event()
    senders = [threading.Thread(target=flood, args=(collector.socket_path, stop)) for _ in range(4)]
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        stop.set()
        for sender in senders:
            sender.join()


def test_up_does_not_flap_while_the_queue_is_full(collector: Collector) -> None:
    with flooded(collector):
        ends = time.monotonic() + 5
        while time.monotonic() < ends:
            assert collector.value("resty_metrics_socket_up") == 1
    send(collector, "after_total")


def test_up_does_not_flap_while_the_reader_waits_for_a_slow_disk(collector: Collector) -> None:
    pending: list[float] = []

    def waits() -> bool:
        """Whether nothing has been read for a while, since so much waits to be written."""
        pending.append(collector.value("resty_metrics_journal_pending_records") or 0)
        return len(pending) >= 10 and 0 < min(pending[-10:]) == max(pending[-10:])

    with flooded(collector), stalled(collector.socket_path.parents[1] / "state"):
        wait_until(waits, message="a reader that waits")
        ends = time.monotonic() + 4
        while time.monotonic() < ends:
            assert collector.value("resty_metrics_socket_up") == 1
    send(collector, "after_total")
    assert rebinds(collector, "unreachable") == 0


def probes(collector: Collector) -> float:
    return collector.value("resty_metrics_datagrams_total", result="probe") or 0


def test_the_probe_goes_on_after_there_was_no_descriptor_for_it(collector: Collector) -> None:
    soft, hard = resource.prlimit(collector.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (3, hard))
    time.sleep(2.5)  # two probes want one
    resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (soft, hard))
    before = probes(collector)
    wait_until(lambda: probes(collector) > before + 1, message="a probe after another")
    assert "failed" not in collector.log()


def test_a_lock_that_cannot_be_written_when_it_is_taken_anew_is_not_ones_own_enemy(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left held, it would be another's lock to us, and we would stand by for ever."""
    write = os.pwrite

    def no_room_for_a_note(descriptor: int, data: bytes, offset: int) -> int:
        if b"stale" in data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data, offset)

    lock = acquire(socket_path.with_suffix(".lock"))
    lock.note("0a" * 16)
    listener = Listener(socket_path, 0o666, Intake(Table(), Senders(), bool), Memory(), time.monotonic)
    listener.bind()
    guard = Guard(listener, lock)
    lock.path.unlink()
    with monkeypatch.context() as disk:
        disk.setattr("resty_metrics.process.lock.os.pwrite", no_room_for_a_note)
        guard.check()
        assert "no space left" in guard.faults()[0]
    guard.check()
    assert (guard.faults(), guard.standing_by, guard.up()) == ([], False, True)
    assert guard.lock.stale == "0a" * 16
    listener.close()
    guard.lock.release()
