"""A local user who may not send does so all the same, as fast as he can: workers keep what they have, all counts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.client import get
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]

STRANGER = 12345
# Whole datagrams of a batch, each of a sender of its own, into a queue that it never lets run empty.
FLOOD = """
import os, socket, sys
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sender.connect(sys.argv[1])
one = bytes(7) + b"\\1"
while True:
    sender.send(b"RSTM\\2\\1\\0\\0" + os.urandom(16) + one * 3 + b"x" * 2000)
"""


@contextmanager
def flooding(path: Path) -> Iterator[None]:
    words = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "/usr/bin/python3", "-c", FLOOD]
    with subprocess.Popen([*words, str(path)], stderr=sys.stderr) as process:
        try:
            yield
            assert process.poll() is None, "it ended before its time"
        finally:
            process.kill()


def test_who_may_not_send_and_floods_the_socket_costs_no_count(socket_path: Path) -> None:
    port = free_port()
    site = f"server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200; }} }}"
    with Collector(socket_path) as collector, Nginx(socket_path, site) as nginx, flooding(socket_path):

        def refused() -> float:
            return collector.value("resty_metrics_refusals_total", reason="uid") or 0

        wait_until(lambda: refused() > 1_000, message="a flood")
        for _ in range(5):
            get(port, "/", times=200)
            wait_until(lambda: collector.request_counts() == nginx.access_counts(), 60, "page == access_log")
        assert collector.value("resty_metrics_senders", state="open") == 2  # the workers'
        assert nginx.errors() == []
