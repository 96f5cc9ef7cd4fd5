"""Counted exactly once: the page against the same nginx's access_log, no tolerance.

Requests by (server, method, status), their durations by (server, status_class).
"""

import contextlib
import signal
import socket
import time
from bisect import bisect_left
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from support.collector import Collector
from support.load import Load
from support.nginx import Counts, Nginx, with_durations
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

MIXED = """
    client_header_timeout 1s;
    keepalive_timeout 30s;
    upstream backend {{ server 127.0.0.1:{port}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096 reuseport;
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
        location /created {{ return 201 "made\\n"; }}
        location /missing {{ return 404; }}
        location /broken {{ return 500; }}
        location /slow {{ echo_sleep 0.2; echo slow; }}
        location /never {{ echo_sleep 5; echo never; }}
        location /hang {{ proxy_pass http://127.0.0.1:{port}/never; }}
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name b.example;
        location / {{ return 200 "b\\n"; }}
    }}
"""

SCRIPT = """
local paths = { "/", "/created", "/missing", "/broken", "/slow", "/", "/created" }
local methods = { "GET", "POST", "PUT", "DELETE", "BREW" }
local hosts = { "a.example", "b.example" }
local n = 0
request = function()
    n = n + 1
    return wrk.format(methods[n % #methods + 1], paths[n % #paths + 1], { Host = hosts[n % #hosts + 1] })
end
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def script(shared: Path) -> str:
    path = shared / "mixed.lua"
    path.write_text(SCRIPT)
    return str(path)


def bad_requests(port: int) -> None:
    """A 400, a 408 and a 499: what never reaches a location, or never gets its answer."""
    with socket.create_connection(("127.0.0.1", port)) as bad:
        bad.sendall(b"BAD\x00 / \r\n\r\n")
        bad.recv(4096)
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\n")
        silent.settimeout(10)
        silent.recv(4096)
    with socket.create_connection(("127.0.0.1", port)) as impatient:
        impatient.sendall(b"GET /hang HTTP/1.1\r\nHost: a.example\r\n\r\n")
        time.sleep(0.1)


def assert_conserved(nginx: Nginx, collector: Collector, before: Counts | None = None, timeout: float = 20) -> Counts:
    """Wait until page and log agree; then they must be equal to the last request."""
    logged: Counts = Counter()

    def agree() -> bool:
        nonlocal logged
        logged = nginx.access_counts() - (before or Counter())
        return collector.both_families() == with_durations(logged)

    try:
        wait_until(agree, timeout, "page == access_log")
    except AssertionError:
        assert collector.both_families() == with_durations(logged)
    return logged


def test_steady_load_with_everything_that_goes_wrong(socket_path: Path, port: int, script: str) -> None:
    with Collector(socket_path) as collector, Nginx(socket_path, MIXED.format(port=port)) as nginx:
        with Load(f"http://127.0.0.1:{port}/", 5, script=script):
            bad_requests(port)
        logged = assert_conserved(nginx, collector)
        statuses = {status for _, _, status in logged}
        assert {"200", "201", "400", "404", "408", "499", "500"} <= statuses
        assert ("a.example", "other", "200") in logged
        assert sum(logged.values()) > 1000
        assert_columns_agree(nginx, collector)
        assert nginx.errors() == []


def columns_of_page(collector: Collector) -> tuple[int, ...]:
    """Bytes received, bytes sent, milliseconds and requests, in sum."""
    sums: Counter[str] = Counter()
    for (name, _), value in collector.samples().items():
        sums[name] += value  # type: ignore[assignment]
    milliseconds = round(sums["nginx_http_request_duration_seconds_sum"] * 1000)
    names = ("request_bytes_total", "response_bytes_total", "request_duration_seconds_count")
    received, sent, count = (int(sums[f"nginx_http_{name}"]) for name in names)
    return received, sent, milliseconds, count


def columns_of_log(nginx: Nginx) -> tuple[int, ...]:
    lines = nginx.access_lines()
    milliseconds = sum(round(float(line[5]) * 1000) for line in lines)
    return sum(int(line[3]) for line in lines), sum(int(line[4]) for line in lines), milliseconds, len(lines)


def assert_columns_agree(nginx: Nginx, collector: Collector) -> None:
    """What nobody awaited any more may end after everything else: it is waited for too."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: columns_of_page(collector) == columns_of_log(nginx))
    assert columns_of_page(collector) == columns_of_log(nginx)


def test_twenty_reloads_and_a_binary_upgrade(socket_path: Path, port: int, script: str) -> None:
    with Collector(socket_path) as collector, Nginx(socket_path, MIXED.format(port=port)) as nginx:
        with Load(f"http://127.0.0.1:{port}/", 16, script=script) as load:
            for _ in range(20):
                nginx.reload()
                time.sleep(0.2)
            old = nginx.upgrade()
            nginx.wait_gone(old, 40)
            assert load.running(), "the load ended before the upgrade did"
        logged = assert_conserved(nginx, collector)
        assert sum(logged.values()) > 1000
        assert nginx.errors() == []


def test_sigterm_of_nginx_under_load(socket_path: Path, port: int, script: str) -> None:
    with Collector(socket_path) as collector, Nginx(socket_path, MIXED.format(port=port)) as nginx:
        with Load(f"http://127.0.0.1:{port}/", 4, script=script):
            wait_until(lambda: sum(nginx.access_counts().values()) > 1000, message="load")
            nginx.terminate()
        logged = assert_conserved(nginx, collector)
        assert sum(logged.values()) > 1000


def test_collector_stopped_ten_seconds_while_workers_are_born(socket_path: Path, port: int, script: str) -> None:
    with Collector(socket_path) as collector, Nginx(socket_path, MIXED.format(port=port)) as nginx:
        with Load(f"http://127.0.0.1:{port}/", 14, script=script):
            wait_until(lambda: sum(collector.request_counts().values()) > 100, message="requests on the page")
            collector.signal(signal.SIGSTOP)
            stopped = time.monotonic()
            nginx.reload()
            time.sleep(3)
            nginx.reload()
            time.sleep(max(0.0, stopped + 10 - time.monotonic()))
            collector.signal(signal.SIGCONT)
        logged = assert_conserved(nginx, collector, timeout=30)
        assert sum(logged.values()) > 1000


def test_collector_ended_killed_and_started_under_load(socket_path: Path, port: int, script: str) -> None:
    """What was counted before is there again, what was sent meanwhile is neither missing nor double."""
    with Collector(socket_path) as collector, Nginx(socket_path, MIXED.format(port=port)) as nginx:
        with Load(f"http://127.0.0.1:{port}/", 16, script=script):
            counted = 0
            for life in range(6):
                wait_until(partial(has_more_than, collector, counted + 100), message="requests on the page")
                if life % 2:
                    collector.kill()
                else:
                    assert collector.terminate() == 0
                collector.start()
                counted = total(collector)
        logged = assert_conserved(nginx, collector, timeout=30)
        assert sum(logged.values()) > 1000
        time.sleep(2)  # long enough for a batch that would come a second time
        assert collector.both_families() == with_durations(logged)


def total(collector: Collector) -> int:
    return sum(collector.request_counts().values())


def has_more_than(collector: Collector, count: int) -> bool:
    return total(collector) > count


def test_freshness(socket_path: Path, port: int) -> None:
    """A finished request is on the page within 2 s at p99."""
    with Collector(socket_path) as collector, Nginx(socket_path, MIXED.format(port=port)) as nginx:
        seen: list[tuple[float, int]] = []  # (when, how many requests were on the page)
        with Load(f"http://127.0.0.1:{port}/", 8, connections=2) as load:
            while load.running():
                seen.append((time.time(), sum(collector.request_counts().values())))
                time.sleep(0.1)
        ended = sorted(float(line[6]) for line in nginx.access_lines())
        counts = [count for _, count in seen]
        known = counts[-1]
        assert known > 1000
        delays = sorted(seen[bisect_left(counts, number)][0] - ended[number - 1] for number in range(1, known + 1))
        assert delays[int(known * 0.99)] <= 2.0
