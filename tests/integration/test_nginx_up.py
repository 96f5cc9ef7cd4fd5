"""nginx_up from the workers alone: 1 while nginx lives, whatever it goes through, and absent soon after it died."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from resty_metrics.ingest.beats import BEAT_SECONDS, GAUGES_SECONDS
from support.client import get
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

SITE = """
    include {{share}}/nginx.conf.d/lifecycle.conf;
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
    }}
"""
POLL_SECONDS = 1.0  # for the page that is under way when the time is over
OF_NGINX = ("nginx_up", "nginx_connections_active", "nginx_http_requests_total")
UPTIME = "resty_metrics_worker_uptime_seconds"


def named(name: str) -> dict[str, str]:
    return {"nginx": name} if name else {}


@contextmanager
def running(collector: Collector, name: str = "", workers: int = 2) -> Iterator[Nginx]:
    port = free_port()
    nginx = Nginx(collector.socket_path, SITE.format(port=port), workers)
    nginx.call(name)
    with nginx:
        get(port)
        wait_until(lambda: collector.value("nginx_up", **named(name)) == 1, message="the first heartbeat")
        yield nginx


@contextmanager
def frozen(nginx: Nginx) -> Iterator[None]:
    """All its processes are stopped in the block."""
    pids = [nginx.master_pid(), *nginx.worker_pids()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def watched(collector: Collector, name: str = "") -> Iterator[set[float | None]]:
    """Every value that nginx_up has in the block; None where it is absent."""
    values: set[float | None] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            values.add(collector.value("nginx_up", **named(name)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield values
    finally:
        over.set()
        thread.join()


def wait_beats(collector: Collector, times: int, name: str = "", workers: int = 2) -> None:
    """So many of each worker: each has its own uptime."""

    def uptimes() -> list[float | None]:
        return [collector.value(UPTIME, worker=str(worker), **named(name)) for worker in range(workers)]

    def all_differ(before: list[float | None]) -> bool:
        return all(now != then for now, then in zip(uptimes(), before, strict=True))

    for _ in range(times):
        wait_until(partial(all_differ, uptimes()), message="a beat of each worker")


def wait_absent(collector: Collector, name: str) -> None:
    message = f"the end of nginx_up of {name}"
    wait_until(
        lambda: collector.value("nginx_up", **named(name)) is None, 2 * BEAT_SECONDS + POLL_SECONDS, message=message
    )
    assert {metric: collector.value(metric, **named(name)) for metric in OF_NGINX} == dict.fromkeys(OF_NGINX)
    gauge = collector.value("resty_metrics_workers_expected", **named(name))
    assert gauge is not None, "the gauges of workers stay for one more beat"


def test_it_is_absent_two_heartbeats_after_nginx_fell_silent(socket_path: Path) -> None:
    """Even when that happens right after a beat. The nginx beside it, on the same collector, is up all the time."""
    with Collector(socket_path) as collector, ExitStack() as stack:
        killed = stack.enter_context(running(collector, "killed"))
        stopped = stack.enter_context(running(collector, "stopped", workers=1))
        stack.enter_context(running(collector, "lives"))
        of_killed, of_stopped, of_living = (
            stack.enter_context(watched(collector, name)) for name in ("killed", "stopped", "lives")
        )
        with frozen(stopped):
            wait_beats(collector, 1, "killed")
            killed.kill()
            wait_absent(collector, "killed")
            assert collector.value("nginx_up", nginx="stopped") is None
            wait_until(
                lambda: collector.value("resty_metrics_source_up", source="lua", nginx="killed") == 0,
                GAUGES_SECONDS,
                "source_up",
            )
        wait_until(lambda: collector.value("nginx_up", nginx="stopped") == 1, message="the one that goes on")
        assert of_killed == of_stopped == {1, None}, "it never says 0"
        assert of_living == {1}


def test_it_is_absent_at_once_after_a_graceful_end(socket_path: Path) -> None:
    with Collector(socket_path) as collector, running(collector) as nginx:
        nginx.quit()
        wait_until(lambda: collector.value("nginx_up") is None, BEAT_SECONDS, "nginx_up to go")
        assert collector.value("resty_metrics_source_up", source="lua") == 0


def test_it_stays_1_while_nginx_lives(socket_path: Path) -> None:
    """A worker that is killed, and a reload, make no gap."""
    with Collector(socket_path) as collector, running(collector) as nginx, watched(collector) as values:
        victim = nginx.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in nginx.worker_pids() and len(nginx.worker_pids()) == 2, message="its successor")
        wait_beats(collector, 2)
        nginx.reload()
        wait_until(
            lambda: collector.value("resty_metrics_nginx_reload_generation") == 2, message="the reload on the page"
        )
        wait_beats(collector, 1)
        assert values == {1}


def test_a_collector_that_begins_again_never_says_that_nginx_is_down(socket_path: Path) -> None:
    with Collector(socket_path) as collector, running(collector):
        collector.kill()
        collector.start()
        with watched(collector) as values:
            wait_until(lambda: collector.value("nginx_up") == 1, message="a heartbeat")
            wait_beats(collector, 1)
        assert values <= {1, None}
