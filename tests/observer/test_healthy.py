"""A healthy system has no trouble, in any reader: real nginx, real collector, whose clock is set forward."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.client import get
from support.clock import Clock
from support.collector import Collector
from support.doctor import bad, diagnose
from support.nginx import Nginx
from support.wait import free_port, wait_until
from support.worker import Worker, counter

pytestmark = pytest.mark.slow

SITE = "server {{ listen 127.0.0.1:{port}; server_name one.example; location / {{ return 200 ok; }} }}"
STATUS = "server {{ listen 127.0.0.1:{port}; location /status {{ stub_status; }} location / {{ return 200 ok; }} }}"


class Watched:
    """A collector whose clock the test sets, and its troubles."""

    def __init__(self, collector: Collector, clock: Clock) -> None:
        self.collector, self.clock = collector, clock

    def troubles(self) -> list[str]:
        """Those on the page, which are those of /-/ready."""
        both = wait_until(self._both, message="two pages between which no trouble came or went")
        assert both is not None
        held, degraded = both
        assert len(held) == len(degraded), (held, degraded)
        return [line.partition('trouble="')[2].partition('"')[0] for line in held]

    def _both(self) -> tuple[list[str], list[str]] | None:
        """The troubles on the page and those of /-/ready; None if the collector looked again in between."""
        held = self._held()
        degraded = [line for line in self.collector.page("/-/ready").splitlines() if line.startswith("degraded")]
        return (held, degraded) if self._held() == held else None

    def _held(self) -> list[str]:
        lines = self.collector.page().splitlines()
        return [line for line in lines if line.startswith("resty_metrics_trouble{") and line.endswith(" 1")]

    def later(self, seconds: float) -> None:
        self.clock.forward(seconds)
        uptime = "process_start_time_seconds"
        wait_until(lambda: self.collector.value(uptime) is not None, message="the collector after that")

    def senders(self, state: str) -> float:
        return self.collector.value("resty_metrics_senders", state=state) or 0


@contextmanager
def watched(socket_path: Path, *arguments: str) -> Iterator[Watched]:
    clock = Clock(socket_path.parent / "clock", monotonic=True)
    with Collector(socket_path, *arguments, environment=clock.environment) as collector:
        yield Watched(collector, clock)


def test_an_idle_reload_and_an_end(socket_path: Path) -> None:
    """A certificate is renewed at night, and nobody asks for anything: the new workers say nothing."""
    port = free_port()
    with watched(socket_path) as seen, Nginx(socket_path, SITE.format(port=port)) as nginx:
        get(port, "/", {}, 20)
        wait_until(lambda: seen.senders("open") >= 1, message="a worker")
        assert seen.troubles() == []
        nginx.reload()
        wait_until(lambda: seen.senders("open") == 0, message="the end of the workers before the reload")
        for seconds in (20.0, 60.0, 400.0, 700.0):
            seen.later(seconds)
            assert seen.troubles() == [], seconds
        assert bad(diagnose(socket_path, nginx)) == set()
        nginx.quit()
        seen.later(60.0)
        assert seen.troubles() == []


def killed(nginx: Nginx) -> None:
    for pid in (nginx.master_pid(), *nginx.worker_pids()):
        os.kill(pid, signal.SIGKILL)


def worker_killed(nginx: Nginx) -> None:
    os.kill(nginx.worker_pids()[0], signal.SIGKILL)


@pytest.mark.parametrize("end", [killed, worker_killed])
def test_a_death_is_over_after_a_while(socket_path: Path, end: Callable[[Nginx], None]) -> None:
    """nginx was killed for good; or a worker was, and the one in its place has nothing to do."""
    port = free_port()
    with watched(socket_path) as seen, Nginx(socket_path, SITE.format(port=port), workers=1) as nginx:
        get(port, "/", {}, 20)
        wait_until(lambda: seen.senders("open") == 1, message="a worker")
        assert seen.troubles() == []
        end(nginx)
        seen.later(60.0)
        wait_until(lambda: seen.troubles() == ([] if end is killed else ["workers_missing"]), message="what is seen")
        seen.later(600.0)
        wait_until(lambda: seen.troubles() == [], message="the end of the event")


def test_workers_that_never_spoke(socket_path: Path) -> None:
    """Nobody has asked nginx for anything yet, and there is no lifecycle.conf."""
    with watched(socket_path) as seen, Nginx(socket_path, SITE.format(port=free_port())) as nginx:
        for seconds in (1.0, 60.0, 400.0):
            seen.later(seconds)
            assert seen.troubles() == []
        assert bad(diagnose(socket_path, nginx)) == set()


def test_who_wants_stub_status_alone(socket_path: Path) -> None:
    """nginx counts requests, none arrives, and that is as it should be: Lua was never heard of."""
    port = free_port()
    source = f"--source.stub-status=http://127.0.0.1:{port}/status"
    with watched(socket_path, source) as seen, Nginx(socket_path, STATUS.format(port=port), include=""):
        for _ in range(4):
            get(port, "/", {}, 200)
            seen.later(30.0)
            assert seen.troubles() == []


def test_a_refusal_that_ended(socket_path: Path) -> None:
    with watched(socket_path) as seen, Worker(socket_path) as worker:
        worker.send(worker.next_batch(counter("one_total", 1), version=99))
        wait_until(lambda: seen.troubles() == ["refusals"], message="the refusal")
        seen.later(40.0)
        assert seen.troubles() == []
        assert bad(diagnose(socket_path, None)) == {"nginx.configuration", "nginx.workers"}, "there is no nginx"
        assert seen.collector.value("resty_metrics_refusals_total", reason="version")


def test_an_include_that_goes_while_requests_come(socket_path: Path) -> None:
    """Here Lua is wanted: it was heard of, and stub_status goes on counting."""
    port = free_port()
    site = STATUS.format(port=port)
    source = f"--source.stub-status=http://127.0.0.1:{port}/status"
    with watched(socket_path, source) as seen, Nginx(socket_path, site) as nginx:
        get(port, "/", {}, 50)
        wait_until(lambda: seen.senders("open") >= 1, message="a worker")
        without = nginx.conf.read_text().replace(f"include {nginx.share}/nginx.conf.d/resty-metrics.conf;", "")
        nginx.conf.write_text(without)
        nginx.reload()
        wait_until(lambda: seen.senders("open") == 0, message="the end of the workers before the reload")

        def busy() -> list[str]:
            get(port, "/", {}, 400)
            seen.later(40.0)
            return seen.troubles()

        wait_until(lambda: busy() == ["nothing_arrives"], 30, "the trouble")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_workers_that_never_reach_the_socket_beside_a_stub_status(socket_path: Path) -> None:
    """The collector cannot know that Lua is wanted; doctor reads the configuration, and names user and place."""
    port, hidden = free_port(), socket_path.parent / "hidden"
    hidden.mkdir(mode=0o700)
    path = hidden / "collector.sock"
    source = f"--source.stub-status=http://127.0.0.1:{port}/status"
    with Nginx(path, STATUS.format(port=port)) as nginx, watched(path, source, "--socket.allow-uid=12345") as seen:
        get(port, "/", {}, 20)
        seen.later(40.0)
        assert "nothing_arrives" not in seen.troubles()
        hidden.chmod(0o700)
        found = diagnose(path, nginx)
        assert bad(found) == {"reach.socket"}
        assert f"www-data (uid 33) may not search {hidden} (mode 0700, owner root:root (0:0))" in found.seen(
            "reach.socket", "FAIL"
        )
