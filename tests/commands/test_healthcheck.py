"""``resty-metrics healthcheck``, of a real collector. TLS and its demands: test_access.py."""

import signal
import subprocess
from pathlib import Path

import pytest
from support.collector import COMMAND, Collector
from support.wait import free_port


def healthcheck(*addresses: str) -> int:
    words = [COMMAND, "healthcheck", *(f"--web.listen-address={address}" for address in addresses)]
    return subprocess.run(words, timeout=60, check=False).returncode


@pytest.fixture
def unix(shared: Path) -> str:
    return f"unix:{shared}/web.sock"


def test_who_listens_is_healthy(socket_path: Path, unix: str) -> None:
    with Collector(socket_path, f"--web.listen-address={unix}") as collector:
        port = collector.port
        assert healthcheck(f"127.0.0.1:{port}") == 0
        assert healthcheck(f":{port}", unix) == 0
        assert healthcheck(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}") == 1
        words = [COMMAND, "healthcheck", f"--web.listen-address=:{port}", "--web.listen-address=127.0.0.1:1"]
        said = subprocess.run(words, timeout=60, check=False, capture_output=True, text=True).stderr
        assert said == (
            "no healthy collector answers at 127.0.0.1:1. Check that resty-metrics serve runs, with the same "
            "--web.listen-address\n"
        )
    assert healthcheck(f"127.0.0.1:{port}") == 1
    assert healthcheck(unix) == 1


def test_who_does_not_answer_is_not(socket_path: Path) -> None:
    with Collector(socket_path) as collector:
        collector.signal(signal.SIGSTOP)
        assert healthcheck(f"127.0.0.1:{collector.port}") == 1
