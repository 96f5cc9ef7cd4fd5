"""A Lua module and a collector of two versions of the wire: refused with a reason on both sides, and nothing is lost.

There is one version so far. The other one is the same code with another number.
"""

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from resty_metrics.wire.datagram import MAX_DATAGRAM, VERSION, Kind, Verdict, read_header
from support.client import get
from support.collector import Collector
from support.doctor import diagnose
from support.nginx import Nginx
from support.wait import free_port, wait_until
from support.worker import Worker, counter

pytestmark = pytest.mark.slow

NEWER = VERSION + 1
SITE = """include {share}/nginx.conf.d/lifecycle.conf;
server { listen 127.0.0.1:@port@; server_name a.example; location / { return 200; } location /no { return 404; } }
"""
NEWER_COLLECTOR = f"""
import sys
from resty_metrics.wire import datagram as wire
wire.VERSION = {NEWER}
from resty_metrics.__main__ import main
sys.argv[:2] = sys.argv[1:2]
main()
"""
ONE_RELEASE = "install the same release of the Lua module and the collector"
REFUSED = "does not accept what this worker sends"
WORKERS = 2


class Site:
    """An nginx and its port."""

    def __init__(self, socket_path: Path) -> None:
        self.port = free_port()
        self.nginx = Nginx(socket_path, SITE.replace("@port@", str(self.port)), workers=WORKERS)

    def speak(self, version: int) -> None:
        """From the next start or reload on."""
        path = self.nginx.share / "lua/resty/metrics/datagram.lua"
        changed, count = re.subn(r"^local VERSION = \d+", f"local VERSION = {version}", path.read_text(), flags=re.M)
        assert count == 1
        path.write_text(changed)

    def ask(self) -> None:
        get(self.port, "/", times=60)
        get(self.port, "/no", times=20)

    def said(self, words: str) -> list[str]:
        return [line for line in self.nginx.log().splitlines() if words in line]


def newer(socket_path: Path) -> Collector:
    return Collector(socket_path, under=[sys.executable, "-c", NEWER_COLLECTOR])


def refused(collector: Collector) -> float:
    return collector.value("resty_metrics_refusals_total", reason="version") or 0


def wait_refused(collector: Collector, times: int) -> None:
    wanted = refused(collector) + times
    wait_until(lambda: refused(collector) >= wanted, message="refusals of the version")


def wait_counted(collector: Collector, site: Site) -> None:
    wait_until(lambda: collector.request_counts() == site.nginx.access_counts(), message="page == access_log")


@contextmanager
def unanswered_batches(socket_path: Path, site: Site) -> Iterator[None]:
    """Whoever listens is silent until each worker has sent a batch: one whose first beat is held cuts none."""
    heard: set[bytes] = set()

    def each_has_sent(sock: socket.socket) -> bool:
        site.ask()
        while True:
            try:
                header = read_header(sock.recv(MAX_DATAGRAM))
            except BlockingIOError:
                return len(heard) == WORKERS
            if header.kind == Kind.BATCH:
                heard.add(header.sender)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(str(socket_path))
        socket_path.chmod(0o666)
        with site.nginx:
            wait_until(lambda: each_has_sent(sock), message="a batch of each worker")
            sock.close()
            socket_path.unlink()
            yield


def assert_said_once(site: Site, words: str) -> None:
    """By each worker, whatever else it was answered."""
    wait_until(lambda: len(site.said(REFUSED)) == WORKERS, message="a line of each worker")
    assert [line for line in site.said(REFUSED) if words not in line] == []


def test_a_newer_module_waits_for_a_collector_of_its_version(socket_path: Path) -> None:
    site = Site(socket_path)
    site.speak(NEWER)
    with Collector(socket_path) as collector, site.nginx:
        site.ask()
        wait_refused(collector, 3 * WORKERS)
        assert_said_once(site, f"its protocol is version {VERSION}, this module's is {NEWER}")
        assert "The collector is older than this Lua module. Upgrade it" in site.said(REFUSED)[0]
        assert "result=held reason=version" in collector.log()
        assert ONE_RELEASE in diagnose(socket_path, site.nginx).seen("page.refusals", "WARN")
        with Worker(socket_path) as worker:  # those of its own version it serves as ever
            worker.send(worker.next_batch(counter("mine_total", 3)))
            assert worker.answer()[::2] == (Verdict.ACK, 1)
        assert collector.value("mine_total") == 3
        assert collector.request_counts() == {}
        collector.terminate()
        with newer(socket_path) as updated:
            site.ask()
            wait_counted(updated, site)
            assert updated.value("mine_total") == 3
            wait_until(lambda: len(site.said("answers again")) == WORKERS, message="a line of each worker")


def test_an_older_module_waits_for_a_reload_or_for_the_collector_before(socket_path: Path) -> None:
    site = Site(socket_path)
    with newer(socket_path) as collector, site.nginx:
        site.ask()
        wait_refused(collector, 3 * WORKERS)
        assert_said_once(site, f"its protocol is version {NEWER}, this module's is {VERSION}")
        assert "Upgrade the Lua files (resty-metrics install), and reload" in site.said(REFUSED)[0]
        found = diagnose(socket_path, site.nginx)
        assert "another version of the wire" in found.seen("socket.probe", "FAIL")
        assert ONE_RELEASE in found.seen("page.refusals", "WARN")
        assert collector.request_counts() == {}
        collector.terminate()
        with Collector(socket_path) as before:
            site.ask()
            wait_counted(before, site)


def test_after_a_reload_only_what_was_sent_before_it_waits(socket_path: Path) -> None:
    """A worker of the new files inherits batches of the old version: held for ever, they are in nobody's way."""
    site = Site(socket_path)
    site.speak(NEWER)
    with unanswered_batches(socket_path, site), Collector(socket_path) as collector:
        wait_refused(collector, 3 * WORKERS)
        old = site.nginx.worker_pids()
        site.speak(VERSION)
        site.nginx.reload()
        for pid in old:
            site.nginx.wait_gone(pid)
        before = site.nginx.access_counts()
        site.ask()
        fresh = site.nginx.access_counts() - before
        wait_until(lambda: fresh <= collector.request_counts(), message="what the new workers count")
        wait_refused(collector, 2 * WORKERS)
        assert collector.request_counts() <= site.nginx.access_counts()
        assert len(site.said(f"its protocol is version {VERSION}, this module's is {NEWER}")) <= WORKERS
        assert 1 <= len(site.said("holds batches that a worker of another version left")) <= WORKERS
        assert site.said("answers again") == []
        assert [line for line in site.nginx.errors() if "the collector at" not in line] == []
