"""A port that a test was given stays its own until its service listens, whatever runs beside it."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support import wait
from support.client import ask
from support.nginx import Nginx
from support.wait import FIRST_PORT, MOST_HELD, PORTS, free_port

BIND = """
import socket, sys
taker = socket.socket()
if sys.argv[2] == "server":
    taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
taker.bind(("127.0.0.1", int(sys.argv[1])))
taker.listen()
"""


def binds(port: int, kind: str) -> bool:
    """Return whether another process gets the port."""
    done = subprocess.run([sys.executable, "-c", BIND, str(port), kind], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 or "Address already in use" in done.stderr
    return done.returncode == 0


def test_only_a_server_that_was_given_the_port_gets_it() -> None:
    port = free_port()
    assert not binds(port, "other")
    assert binds(port, "server")
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", port))


def test_no_other_test_process_is_given_it() -> None:
    """Another one looks for ports in the same order, whatever worker of pytest-xdist or run it is."""
    port = free_port()
    code = (
        "import itertools; from support import wait;"
        f"wait._ports = itertools.count({port - FIRST_PORT}); print(wait.free_port())"
    )
    tests = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=tests, capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    assert int(done.stdout) != port


def test_the_kernel_gives_it_to_no_client() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert FIRST_PORT + PORTS <= first <= last


def test_the_ports_of_a_test_differ_and_are_let_go_again() -> None:
    ports = [free_port() for _ in range(MOST_HELD + 1)]
    assert len(set(ports)) == len(ports)
    assert [holder.getsockname()[1] for holder in wait._held] == ports[1:]


@pytest.mark.slow
def test_nginx_listens_ends_and_comes_back(socket_path: Path) -> None:
    port = free_port()
    site = f"server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }}"
    with Nginx(socket_path, site, workers=1) as nginx:
        ask(port)
        nginx.quit()
        assert not binds(port, "other")
        nginx.start()
        ask(port)
