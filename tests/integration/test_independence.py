"""nginx never depends on us.

Whatever is wrong with the collector, its directory or its socket, nginx passes -t, starts (also after kill -9),
reloads, upgrades its binary and answers; and once the fault is gone, its requests are on the page.
"""

import contextlib
import http.client
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

SITE = """
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
    }}
"""


@contextmanager
def no_directory(path: Path) -> Iterator[None]:
    """The collector was never installed, or was with all that it made."""
    path.parent.rmdir()
    yield
    path.parent.mkdir(mode=0o755)


@contextmanager
def no_socket(_: Path) -> Iterator[None]:
    yield


@contextmanager
def killed_collector(path: Path) -> Iterator[None]:
    """A socket that nobody listens on."""
    with Collector(path) as collector:
        collector.kill()
        yield


@contextmanager
def full_queue(path: Path) -> Iterator[None]:
    """A collector that does not read, and a queue that is full."""
    with Collector(path) as collector:
        collector.signal(signal.SIGSTOP)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(BlockingIOError):
            sender.setblocking(False)
            while True:
                sender.sendto(b"full", str(path))
        yield
        collector.kill()


@contextmanager
def regular_file(path: Path) -> Iterator[None]:
    path.write_text("not a socket")
    yield
    path.unlink()


@contextmanager
def stream_socket(path: Path) -> Iterator[None]:
    """Somebody else's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path))
        path.chmod(0o666)
        yield
    path.unlink()


@contextmanager
def closed_directory(path: Path) -> Iterator[None]:
    """A directory that nginx's workers may not enter."""
    path.parent.chmod(0o700)
    yield
    path.parent.chmod(0o755)


Fault = Callable[[Path], AbstractContextManager[None]]
FAULTS: list[Fault] = [
    no_directory,
    no_socket,
    killed_collector,
    full_queue,
    regular_file,
    stream_socket,
    closed_directory,
]


def get(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": "a.example"})
        return connection.getresponse().status
    finally:
        connection.close()


def assert_answers(port: int) -> None:
    assert [get(port) for _ in range(20)] == [200] * 20


@pytest.fixture
def deep_socket(shared: Path) -> Path:
    directory = shared / "run"
    directory.mkdir(mode=0o755)
    return directory / "collector.sock"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nginx_lives_with_every_fault(fault: Fault, deep_socket: Path) -> None:
    port = free_port()
    lifecycle = "include {share}/nginx.conf.d/lifecycle.conf;"
    nginx = Nginx(deep_socket, lifecycle + SITE.format(port=port), workers=1)
    try:
        with fault(deep_socket):
            live_through(nginx, port)
        with Collector(deep_socket) as collector:
            assert_answers(port)
            wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
            assert collector.request_counts().total() == 40
    finally:
        nginx.stop()
        shutil.rmtree(nginx.prefix, ignore_errors=True)


def live_through(nginx: Nginx, port: int) -> None:
    """Everything that an operator does to an nginx. Its access_log begins anew with the last start."""
    assert nginx.command("-t").returncode == 0
    nginx.start()
    assert_answers(port)
    nginx.reload()
    assert_answers(port)
    nginx.wait_gone(nginx.upgrade(), 30)
    assert_answers(port)
    nginx.kill()
    nginx.access_log.unlink()
    assert nginx.command("-t").returncode == 0
    nginx.start()
    assert_answers(port)
    lives = 4  # each began with one worker, who says what is wrong once, and what is lost at its end
    assert len([line for line in nginx.errors() if "resty-metrics" in line]) <= 2 * lives, nginx.log()
    assert [line for line in nginx.errors() if "resty-metrics" not in line] == []


def test_an_outage_is_said_once_with_what_to_do(deep_socket: Path) -> None:
    port = free_port()
    with Nginx(deep_socket, SITE.format(port=port), workers=1) as nginx:
        assert_answers(port)
        time.sleep(6)  # some attempts, each of which must stay silent but the first
        with Collector(deep_socket) as collector:
            wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
            attempts = collector.value("resty_metrics_worker_send_errors_total", worker="0", reason="ENOENT")
        assert attempts is not None
        assert attempts >= 3
        said = [line for line in nginx.errors() if "resty-metrics" in line]
        assert len(said) == 1
        for word in (str(deep_socket), "ENOENT", "uid", "resty-metrics serve"):
            assert word in said[0]
