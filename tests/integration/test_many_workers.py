"""Sixty-four workers and a queue that holds ten datagrams: whoever finds it full keeps what it has."""

import signal
from pathlib import Path

import pytest
from support.collector import Collector
from support.load import Load
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

WORKERS = 64
SITE = """
    server {{
        listen 127.0.0.1:{port} reuseport backlog=1024;
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
    }}
"""


def load(port: int) -> None:
    """Connections enough that the kernel gives some to every worker."""
    with Load(f"http://127.0.0.1:{port}/", 3, connections=8 * WORKERS):
        pass


def test_all_workers_at_once_lose_nothing(socket_path: Path) -> None:
    """While the collector sleeps each has something to say; when it wakes they say it all at once."""
    port = free_port()
    with Collector(socket_path) as collector, Nginx(socket_path, SITE.format(port=port), workers=WORKERS) as nginx:
        collector.signal(signal.SIGSTOP)
        load(port)
        collector.signal(signal.SIGCONT)
        load(port)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), 60, "page == access_log")
        served = {line[7] for line in nginx.access_lines()}
        assert len(served) == WORKERS
        assert collector.value("resty_metrics_senders", state="open") == WORKERS
        full = [
            value
            for (name, labels), value in collector.samples().items()
            if name == "resty_metrics_worker_send_errors_total" and ("reason", "EAGAIN") in labels
        ]
        assert len(full) > WORKERS / 2
        lost = ("resty_metrics_worker_lost_rows_total", "resty_metrics_lost_rows_total")
        assert not [key for key, value in collector.samples().items() if key[0] in lost and value]
        asleep = "does not answer"  # true of it, and said once where the load took longer than a worker waits
        assert [line for line in nginx.errors() if asleep not in line] == []
