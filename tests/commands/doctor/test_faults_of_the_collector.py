"""doctor against a real collector and its socket, with one fault at a time."""

import contextlib
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from support.child import Child
from support.collector import COMMAND, Collector
from support.doctor import Diagnosis, bad, diagnose, heard_of, needs_root
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

TAKES = """
os.unlink(sys.argv[1])
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(sys.argv[1])
"""


def diagnose_socket(collector: Collector) -> Diagnosis:
    """Of the socket alone: neither nginx nor the page, for which a stopped collector would keep us waiting."""
    return diagnose(collector.socket_path, None, f"--web.listen-address=127.0.0.1:{free_port()}")


@pytest.fixture
def helpless(collector: Collector) -> Collector:
    """A collector that cannot put its socket back."""
    collector.signal(signal.SIGSTOP)
    return collector


def no_socket(path: Path) -> None:
    path.unlink()


def regular_file(path: Path) -> None:
    path.unlink()
    path.write_text("not a socket")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere.sock"))
    path.symlink_to("elsewhere.sock")


AT_THE_PATH = [
    (no_socket, "does not exist", "no socket at the path", False),
    (regular_file, "a regular file", "no process receives", False),
    (directory, "a directory", "no process receives", True),
    (link, "a symbolic link", "no answer", False),
]


@pytest.mark.parametrize(
    ("harm", "there", "probed", "stays"), AT_THE_PATH, ids=[one[0].__name__ for one in AT_THE_PATH]
)
def test_something_else_at_the_path(
    helpless: Collector, harm: Callable[[Path], None], there: str, probed: str, stays: bool
) -> None:
    """``stays``: the collector, when it goes on, does not put it right."""
    harm(helpless.socket_path)
    found = diagnose_socket(helpless)
    assert found.status == 2
    assert found.verdicts("FAIL") == {"collector.process"} | ({"socket.path"} if stays else set())
    assert there in found.seen("socket.path", "FAIL" if stays else "SKIP")
    assert probed in found.seen("socket.probe", "SKIP")


def test_a_stream_socket(helpless: Collector) -> None:
    helpless.socket_path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(helpless.socket_path))
        other.listen()
        found = diagnose_socket(helpless)
    assert found.status == 2
    assert "another type than datagram" in found.seen("socket.path", "SKIP")
    assert "not a datagram socket" in found.seen("socket.probe", "SKIP")


@needs_root
def test_an_impostor(helpless: Collector) -> None:
    with Child(TAKES, str(helpless.socket_path)) as impostor:
        found = diagnose_socket(helpless)
        assert found.status == 2
        assert f"process {impostor.pid} (" in found.seen("socket.holder", "FAIL")
        assert "no answer" in found.seen("socket.probe", "SKIP")
    gone = diagnose_socket(helpless)
    assert gone.status == 2
    assert "no process holds the socket" in gone.seen("socket.holder", "SKIP")
    assert "no process receives" in gone.seen("socket.probe", "SKIP")


def test_a_socket_that_is_taken_away_again_and_again(collector: Collector) -> None:
    def take() -> bool:
        collector.socket_path.unlink(missing_ok=True)
        return collector.value("resty_metrics_socket_contended") == 1

    wait_until(take, message="contention")
    found = diagnose(collector.socket_path, None)
    assert found.verdicts("FAIL") == set()
    assert "keeps removing or replacing the socket: missing " in found.seen("page.socket", "WARN")
    assert "missing " in found.seen("page.rebinds", "OK")


def test_two_faults_within_seconds_are_not_called_an_attack(collector: Collector) -> None:
    """As of an operator who tries things out."""
    rebinds = partial(collector.value, "resty_metrics_socket_rebinds_total", reason="missing")
    collector.socket_path.unlink()
    wait_until(lambda: rebinds() == 1, message="the first healing")
    collector.socket_path.unlink()
    wait_until(lambda: rebinds() == 2, message="the second healing")
    found = diagnose(collector.socket_path, None)
    assert found.verdicts("FAIL") == set()
    assert found.seen("page.socket", "OK")
    assert "missing 2; nothing was lost" in found.seen("page.rebinds", "OK")


@needs_root
def test_few_descriptors_are_left(collector: Collector) -> None:
    used = len(list(Path(f"/proc/{collector.pid}/fd").iterdir()))
    _, hard = resource.prlimit(collector.pid, resource.RLIMIT_NOFILE)
    most = used + 4  # doctor's own connections take some, and the journal's checks another for a moment
    resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (most, hard))
    found = diagnose(collector.socket_path, None)
    assert f"may have {most}: few are left" in found.seen("collector.descriptors", "WARN")
    assert f"prlimit --pid {collector.pid} " in found.seen("collector.descriptors", "WARN")


@needs_root
def test_a_full_queue(helpless: Collector) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(BlockingIOError):
        sender.setblocking(False)
        while True:
            sender.sendto(b"full", str(helpless.socket_path))
    found = diagnose_socket(helpless)
    assert "stays full" in found.seen("socket.probe", "SKIP")
    assert "is stopped" in found.seen("collector.process", "FAIL")


@needs_root
def test_modes(collector: Collector, nginx: Nginx) -> None:
    path = collector.socket_path
    collector.signal(signal.SIGSTOP)
    aside = f"--web.listen-address=127.0.0.1:{free_port()}"
    path.chmod(0o000)
    socket = diagnose(path, nginx, aside)
    path.chmod(0o666)
    path.parent.chmod(0o700)
    above = diagnose(path, nginx, aside)
    path.parent.chmod(0o755)
    collector.signal(signal.SIGCONT)
    assert f"www-data (uid 33) may not write {path} (mode 0000" in socket.seen("reach.socket", "FAIL")
    assert f"may not search {path.parent} (mode 0700" in above.seen("reach.socket", "FAIL")
    assert f"chmod o+x {path.parent}" in above.seen("reach.socket", "FAIL")
    assert (socket.status, above.status) == (2, 2)
    wait_until(lambda: diagnose(path, nginx).status == 0, message="health after the faults")


def test_a_stopped_collector_and_a_bounded_examination(collector: Collector, nginx: Nginx) -> None:
    collector.signal(signal.SIGSTOP)
    began = time.monotonic()
    found = diagnose(collector.socket_path, nginx)
    assert time.monotonic() - began < 12
    assert found.status == 2
    assert "is stopped" in found.seen("collector.process", "FAIL")
    assert found.verdicts("FAIL") == {"collector.process"}
    assert "no answer" in found.seen("socket.probe", "SKIP")
    assert "no answer within" in found.seen("page.answers", "SKIP")
    assert found.seen("reach.socket", "OK")


def test_a_collector_that_was_killed(collector: Collector, nginx: Nginx) -> None:
    collector.kill()
    found = diagnose(collector.socket_path, nginx, f"--web.listen-address=127.0.0.1:{collector.port}")
    assert found.status == 2
    assert bad(found) == {"collector.process"}
    assert found.report["findings"][0]["check"] == "collector.process"
    for check in ("socket.lock", "socket.holder", "socket.probe", "page.answers"):
        assert "follows from collector.process" in found.seen(check, "SKIP")
    assert "no collector gave its version" in found.seen("versions", "SKIP")
    assert found.seen("socket.path", "OK")
    assert found.seen("nginx.include", "OK")
    assert found.report["collector"]["pid"] is None


def test_a_collector_that_was_never_started(socket_path: Path) -> None:
    found = diagnose(socket_path, None, f"--web.listen-address=127.0.0.1:{free_port()}")
    assert found.status == 2
    assert found.verdicts("FAIL") == {"collector.process"}
    assert list(socket_path.parent.iterdir()) == []


def test_a_second_collector(collector: Collector, nginx: Nginx) -> None:
    """The lock file was removed while the first one could not see to it, so nothing kept the second from starting."""
    collector.signal(signal.SIGSTOP)
    collector.socket_path.with_name(f"{collector.socket_path.name}.lock").unlink()
    with Collector(collector.socket_path, f"--state.dir={collector.state_dir}.second") as second:
        collector.signal(signal.SIGCONT)
        wait_until(lambda: collector.value("resty_metrics_socket_standby") == 1, message="the first one standing by")
        heard_of(second)
        found = diagnose(second.socket_path, nginx)
        first = diagnose(second.socket_path, nginx, f"--web.listen-address=127.0.0.1:{collector.port}")
        assert found.report["collector"]["pid"] == second.pid
        assert found.status == 1
        assert f"process {collector.pid} (" in found.seen("processes", "WARN")
        assert "follows from processes: this collector stands by" in first.seen("page.socket", "SKIP")


def test_a_journal_that_cannot_be_written(socket_path: Path) -> None:
    with Collector(socket_path, "--state.dir=/proc/self/state") as collector:
        found = diagnose(socket_path, None)
        assert "degraded" in collector.page("/-/ready")
    assert "memory only" in found.seen("journal", "WARN")
    assert "/proc/self/state" in found.seen("journal", "WARN")


def test_a_collector_on_another_socket_is_no_fault(collector: Collector, nginx: Nginx) -> None:
    with Collector(collector.socket_path.with_name("second.sock")) as second:
        found = diagnose(collector.socket_path, nginx)
    assert found.status == 0
    assert f"process {second.pid} (" in found.seen("processes", "OK")


@contextmanager
def in_network(of: int, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A collector in the network namespace of process ``of``."""
    under = ["nsenter", "--target", str(of), "--net"]
    process = subprocess.Popen(
        [*under, COMMAND, "serve", *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=10)


@needs_root
def test_another_network_namespace_and_a_short_queue(socket_path: Path) -> None:
    short = 'open("/proc/sys/net/unix/max_dgram_qlen", "w").write("3")'
    with (
        Child(short, under=("unshare", "--net")) as namespace,
        in_network(namespace.pid, f"--socket.path={socket_path}", "--web.listen-address=127.0.0.1:0") as process,
    ):
        wait_until(socket_path.is_socket, message="the socket")
        outside = diagnose(socket_path, None)
        inside = diagnose(socket_path, None, under=["nsenter", "--target", str(namespace.pid), "--net"])
    for check in ("socket.queue", "page.answers"):
        assert f"nsenter --target {process.pid} --net" in outside.seen(check, "WARN")
    assert "net.unix.max_dgram_qlen is 3" in inside.seen("socket.queue", "WARN")
