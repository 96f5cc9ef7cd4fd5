"""The end of a process: it waits for nobody who looks up a name, and the first of a container hears of it at once."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.collector import COMMAND, Collector
from support.wait import wait_until

STARTS = 30.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a process another resolv.conf"),
]
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


@contextmanager
def first_of_all(shared: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """``serve`` with pid 1 in a namespace of its own: who waits for it, and its pid as we see it."""
    words = ["unshare", "--pid", "--fork", "--kill-child", COMMAND, "serve", f"--socket.path={shared}/collector.sock"]
    with (shared / "log").open("wb") as log:
        process = subprocess.Popen([*words, "--web.listen-address=127.0.0.1:0"], stderr=log)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        yield process, int(wait_until(children.read_text, message="its process"))
    finally:
        process.kill()
        process.wait(10)


def test_sigterm_is_not_lost_on_the_first_process_that_has_just_begun(shared: Path) -> None:
    with first_of_all(shared) as (process, pid):

        def ends() -> bool:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            return process.poll() is not None

        wait_until(ends, STARTS, "its end")
        assert process.returncode in (0, 128 + signal.SIGTERM)
        assert "collecting" not in (shared / "log").read_text()
        assert not (shared / "collector.sock").exists()


def test_sigterm_ends_the_first_process_well_while_it_is_starting(shared: Path) -> None:
    """One signal, while what is heavy is imported."""
    with first_of_all(shared) as (process, pid):
        maps = Path(f"/proc/{pid}/maps")
        wait_until(lambda: "aiohttp" in maps.read_text(), STARTS, "its imports")
        os.kill(pid, signal.SIGTERM)
        assert process.wait(STARTS) == 0
