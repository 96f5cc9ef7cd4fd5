"""A worker's end, where the requests that ngx_lua remembers are long gone."""

import signal
from pathlib import Path

import pytest
from support.client import get
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

SITE = """
    server {{
        listen 127.0.0.1:{port} reuseport;
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
    }}
"""


@pytest.mark.parametrize("gracefully", [True, False])
def test_nothing_is_logged_through_a_request_that_is_gone(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch, gracefully: bool
) -> None:
    """The C library spoils memory that is freed: a worker that logs through it crashes, and its counts are lost."""
    monkeypatch.setenv("MALLOC_PERTURB_", "165")
    port = free_port()
    nginx = Nginx(socket_path, SITE.format(port=port), workers=8)
    with Collector(socket_path) as collector, nginx:
        get(port, times=80)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        collector.terminate()
        get(port, times=80)  # most workers have not met the fault when they end
        if gracefully:
            nginx.quit()
        else:
            nginx.terminate()
        assert "exited on signal" not in nginx.log()


def test_no_sender_stays_open_after_its_worker(socket_path: Path) -> None:
    """Also where the collector's queue was full when the worker said bye, or its heir did."""
    port = free_port()
    with Collector(socket_path) as collector, Nginx(socket_path, SITE.format(port=port), workers=8) as nginx:
        get(port, times=100)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        collector.signal(signal.SIGSTOP)
        for _ in range(2):
            get(port, times=100)
            nginx.reload()
            wait_until(lambda: len(nginx.worker_pids()) == 8, message="the end of the old workers")
        get(port, times=100)
        collector.signal(signal.SIGCONT)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        senders = "resty_metrics_senders"
        wait_until(lambda: (collector.value(senders, state="open") or 99) <= 8, 30, "the end of the old senders")
