"""A worker that a reload has told to go, and whose connections last: what it reports counts until it has ended."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from resty_metrics.ingest.beats import GAUGES_SECONDS
from support.client import get, requests_begun
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

SITE = """
lua_package_path "{{share}}/lua/?.lua;;";
init_by_lua_block {{
    held = require("resty.metrics").gauge("requests_held", "Requests that are held.")
    longest = require("resty.metrics").gauge("longest", "The longest.", nil, {{combine = "max"}})
}}
server {{
    listen 127.0.0.1:{port};
    server_name a.example;
    location / {{ content_by_lua_block {{ held:set(0) ngx.say("ok") }} }}
    location /hold {{
        content_by_lua_block {{
            held:inc(1)
            longest:set(5)
            ngx.req.read_body()
            held:dec(1)
            ngx.say("released")
        }}
    }}
}}
"""
MEMORY, AGE = "resty_metrics_worker_lua_memory_bytes", "resty_metrics_last_datagram_age_seconds"
UPTIME = "resty_metrics_worker_uptime_seconds"


class Site(NamedTuple):
    nginx: Nginx
    collector: Collector
    port: int


@contextmanager
def site(socket_path: Path) -> Iterator[Site]:
    port = free_port()
    nginx = Nginx(socket_path, SITE.format(port=port).replace("{{", "{").replace("}}", "}"), workers=1)
    nginx.conf.write_text(nginx.conf.read_text().replace("worker_shutdown_timeout 20s;", ""))
    with Collector(socket_path) as collector, nginx:
        yield Site(nginx, collector, port)


def leave(site: Site, requests: int) -> int:
    """Reload, and wait for as long as gauges live without a heartbeat. Returns the pid of the worker that leaves."""
    (pid,) = site.nginx.worker_pids()
    wait_until(lambda: site.collector.value("requests_held") == requests, message="the gauge")
    site.nginx.reload()
    wait_until(lambda: (site.collector.value(AGE) or 0) > GAUGES_SECONDS + 1, 40, "a long silence")
    return pid


def test_what_a_leaving_worker_reports_holds_until_it_ends(socket_path: Path) -> None:
    with site(socket_path) as where:
        collector = where.collector
        with requests_begun(where.port, "/hold", 1):
            with requests_begun(where.port, "/hold", 20):
                pid = leave(where, 21)
                assert collector.value("requests_held") == 21
                assert collector.value("longest") == 5
                alone = collector.value(MEMORY, worker="0")
                assert alone is not None
                get(where.port)  # the new worker is there as well: what adds up is added up
                wait_until(lambda: (collector.value(MEMORY, worker="0") or 0) > 1.3 * alone, message="both workers")
                assert (collector.value(UPTIME, worker="0") or 0) > GAUGES_SECONDS
                assert collector.value("resty_metrics_workers_seen") == 1
                assert collector.value("requests_held") == 21
            wait_until(lambda: collector.value("requests_held") == 1, message="the end of most, as the old worker says")
            ended = ("a.example", "POST", "200")
            wait_until(lambda: collector.request_counts()[ended] == 20, message="their rows")
        where.nginx.wait_gone(pid)
        wait_until(lambda: collector.value("requests_held") == 0, message="the old worker's bye")
        assert collector.value("longest") is None
        assert where.nginx.errors() == []


def test_what_a_leaving_worker_reported_goes_when_it_is_killed(socket_path: Path) -> None:
    head = b"POST /hold HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\n"
    with site(socket_path) as where, ExitStack() as connections:
        for _ in range(2):
            address = ("127.0.0.1", where.port)
            connections.enter_context(socket.create_connection(address)).sendall(head)
        pid = leave(where, 2)
        assert where.collector.value("requests_held") == 2
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: where.collector.value("requests_held") is None, message="the end of what it reported")
        assert where.collector.value(MEMORY, worker="0") is None
