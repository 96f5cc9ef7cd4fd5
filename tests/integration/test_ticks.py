"""The worker's timer: one flush a second whatever the traffic, and a first tick that ngx_lua may drop."""

from pathlib import Path

import pytest
from support.client import get
from support.collector import Collector
from support.load import Load
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
ALL_TIMERS_RUN = """
    lua_max_running_timers 1;
    init_worker_by_lua_block { ngx.timer.at(0, function() ngx.sleep(2) ngx.log(ngx.NOTICE, "it ends") end) }
"""


def test_load_makes_no_more_batches_than_ticks(socket_path: Path) -> None:
    """What gets dirty during a flush waits for the next: the cost of sending does not grow with the traffic."""
    port, seconds = free_port(), 5
    with Collector(socket_path) as collector, Nginx(socket_path, SITE.format(port=port), workers=1) as nginx:
        with Load(f"http://127.0.0.1:{port}/", seconds):
            pass
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        assert collector.request_counts().total() > 1000
        batches = collector.value("resty_metrics_datagrams_total", result="applied")
        assert batches is not None
        assert batches <= 2 * (seconds + 3)
        assert nginx.errors() == []


def test_a_first_tick_that_was_dropped_is_asked_for_again(socket_path: Path) -> None:
    port = free_port()
    site = ALL_TIMERS_RUN + SITE.format(port=port)
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        get(port)
        wait_until(lambda: "lua_max_running_timers are not enough" in nginx.log(), message="the drop")
        wait_until(lambda: "it ends" in nginx.log(), message="room for a timer")
        get(port)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        assert collector.request_counts().total() == 2
