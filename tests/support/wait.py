"""Waiting for a condition, never for a time."""

import itertools
import os
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

# below those that the kernel gives to who connects, which under load are thousands
FIRST_PORT, PORTS, PROCESSES = 10_000, 2_500, 8
_ports = itertools.count(random.randrange(PORTS))


def wait_until(condition: Callable[[], T], timeout: float = 20.0, message: str = "the condition") -> T:
    """Call ``condition`` until it gives something true, and return that; AssertionError after ``timeout`` seconds."""
    ends = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends:
            raise AssertionError(f"{message} did not come within {timeout} s; last seen: {value!r}")
        time.sleep(0.02)


def free_port() -> int:
    """A TCP port of loopback that is free now, and that no other process of pytest-xdist gives."""
    while True:
        port = FIRST_PORT + next(_ports) % PORTS * PROCESSES + _process() % PROCESSES
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def _process() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
