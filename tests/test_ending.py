"""The end of a process does not wait for who looks up a name."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.collector import COMMAND, Collector

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a process another resolv.conf")
NAME_SERVER = f"127.53.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"  # each run its own
SOURCE = "--source.stub-status=http://nobody-answers.example/stub_status"


@pytest.fixture
def under(shared: Path) -> Iterator[list[str]]:
    """What a command line begins with whose names are looked up where nobody ever answers."""
    configuration = shared / "resolv.conf"
    configuration.write_text(f"nameserver {NAME_SERVER}\noptions timeout:10 attempts:3\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((NAME_SERVER, 53))
        yield ["unshare", "--mount", "sh", "-c", script, str(configuration)]


def test_the_collector_ends_though_no_name_server_answers(shared: Path, under: list[str]) -> None:
    with Collector(shared / "collector.sock", SOURCE, under=under) as collector:
        collector.page(X_Prometheus_Scrape_Timeout_Seconds="1")
        assert collector.value("resty_metrics_source_up", source="stub_status") == 0
        began = time.monotonic()
        assert collector.terminate() == 0
        assert time.monotonic() - began < 2


def test_doctor_ends_though_no_name_server_answers(shared: Path, under: list[str]) -> None:
    words = [*under, COMMAND, "doctor", f"--socket.path={shared}/collector.sock", SOURCE]
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert time.monotonic() - began < 12
    assert done.returncode == 2
    assert "nobody-answers.example/stub_status: timeout" in done.stdout
