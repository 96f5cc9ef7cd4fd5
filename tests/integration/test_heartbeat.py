"""What workers say of themselves and of nginx: shared dictionaries, reloads, uptime, the event loop's lag."""

import os
import signal
import time
import urllib.request
from functools import partial
from pathlib import Path

import pytest
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

GENERATION = "resty_metrics_nginx_reload_generation"
RELOADED = "resty_metrics_nginx_last_reload_timestamp_seconds"
LAG = "resty_metrics_worker_event_loop_lag_seconds"


def site(port: int) -> str:
    return f"""include {{share}}/nginx.conf.d/lifecycle.conf;
    lua_shared_dict mine 1m;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200; }}
        location /block {{ content_by_lua_block {{
            local ends = os.clock() + 0.6
            while os.clock() < ends do end
            ngx.say("done")
        }} }}
    }}"""


def has_generation(collector: Collector, wanted: int) -> bool:
    return collector.value(GENERATION) == wanted


def open_senders(collector: Collector) -> float:
    return collector.value("resty_metrics_senders", state="open") or 0


def test_reloads_are_counted_and_dated(socket_path: Path) -> None:
    began = time.time()
    with Collector(socket_path) as collector, Nginx(socket_path, site(free_port())) as nginx:
        wait_until(lambda: collector.value(GENERATION) == 1, message="the first configuration")
        first = collector.value(RELOADED)
        assert first is not None
        assert began - 1 < first <= time.time()
        for generation in (2, 3, 4):
            before = time.time()
            nginx.reload()
            wait_until(partial(has_generation, collector, generation), message="the next one")
            reloaded = collector.value(RELOADED)
            assert reloaded is not None
            assert before - 0.1 < reloaded <= time.time()
        senders, (victim, *_) = open_senders(collector), nginx.worker_pids()
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: victim not in nginx.worker_pids() and len(nginx.worker_pids()) == 2, message="another worker"
        )
        wait_until(lambda: open_senders(collector) > senders, message="its beat")
        assert collector.value(GENERATION) == 4
        assert collector.value(RELOADED) == reloaded
        nginx.reload()
        wait_until(lambda: collector.value(GENERATION) == 5, message="one more")
        nginx.upgrade()
        wait_until(lambda: collector.value(GENERATION) == 1, message="another master begins anew")


def test_reloads_while_the_collector_is_away_are_counted(socket_path: Path) -> None:
    with Collector(socket_path) as collector, Nginx(socket_path, site(free_port())) as nginx:
        wait_until(lambda: collector.value(GENERATION) == 1, message="the first configuration")
        collector.terminate()
        for _ in range(3):
            before = time.time()
            nginx.reload()
        with Collector(socket_path) as again:
            wait_until(lambda: again.value(GENERATION) == 4, message="the last one")
            assert (again.value(RELOADED) or 0) > before - 0.1


def test_shared_dictionaries_and_uptime(socket_path: Path) -> None:
    with Collector(socket_path) as collector, Nginx(socket_path, site(free_port())):
        name = "resty_metrics_shared_dict_capacity_bytes"
        wait_until(lambda: collector.value(name, dict="mine") == 2**20, message="a dictionary")
        assert collector.value(name, dict="resty_metrics_spool") == 8 * 2**20
        free = collector.value("resty_metrics_shared_dict_free_bytes", dict="mine")
        assert free is not None
        assert 2**19 < free < 2**20
        uptime = "resty_metrics_worker_uptime_seconds"
        wait_until(lambda: collector.value(uptime, worker="1") is not None, message="the other worker's beat")
        assert 0 <= (collector.value(uptime, worker="1") or 0) < 60


def test_what_blocks_the_event_loop_is_seen(socket_path: Path) -> None:
    port = free_port()
    with Collector(socket_path) as collector, Nginx(socket_path, site(port), workers=1):

        def late() -> float:
            count = collector.value(f"{LAG}_count", worker="0") or 0
            return count - (collector.value(f"{LAG}_bucket", worker="0", le="0.25") or 0)

        def block() -> bool:
            """A tick falls into what blocks for most of a second, sooner or later."""
            urllib.request.urlopen(f"http://127.0.0.1:{port}/block", timeout=10).read()
            return late() > 0

        wait_until(block, 60, "an observation above 250 ms")
        total = collector.value(f"{LAG}_sum", worker="0")
        assert total is not None
        assert total > 0.25


HOLDS_MUCH = """
server {{
    listen 127.0.0.1:{port};
    location / {{ content_by_lua_block {{
        for _ = 1, 7 do ngx.timer.at(3600, function() end) end
        ngx.timer.at(0, function() ngx.sleep(3600) end)
        package.loaded.much = ("x"):rep(20 * 1024 * 1024)
        ngx.say("done")
    }} }}
}}
"""
MEMORY, TIMERS = "resty_metrics_worker_lua_memory_bytes", "resty_metrics_worker_timers"


def test_memory_and_timers_are_those_of_the_worker(socket_path: Path) -> None:
    port = free_port()
    site = "include {share}/nginx.conf.d/lifecycle.conf;" + HOLDS_MUCH.format(port=port)
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1):
        wait_until(lambda: collector.value(MEMORY, worker="0"), message="the first beat")
        memory = collector.value(MEMORY, worker="0") or 0
        pending = collector.value(TIMERS, worker="0", state="pending") or 0
        running = collector.value(TIMERS, worker="0", state="running") or 0
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20).read()

        def has_grown() -> bool:
            return (
                (collector.value(MEMORY, worker="0") or 0) > memory + 20e6
                and (collector.value(TIMERS, worker="0", state="pending") or 0) >= pending + 7
                and (collector.value(TIMERS, worker="0", state="running") or 0) == running + 1
            )

        wait_until(has_grown, message="what the worker holds now")
