"""Waiting for a condition, never for a time."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

T = TypeVar("T")


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
    """A TCP port of loopback that is free now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many that differ: asked for one by one, two of a hundred are soon the same."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
