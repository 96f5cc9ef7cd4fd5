"""Waiting for a condition, never for a time."""

import itertools
import random
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SHORTEST, LONGEST = 0.02, 0.1  # seconds between two looks

# below those that the kernel gives to who connects, which under load are thousands
FIRST_PORT, PORTS = 10_000, 20_000
MOST_HELD = 250  # more than the tests of a fixture take; each is a descriptor
_ports = itertools.count(random.randrange(PORTS))
_held: deque[socket.socket] = deque()


def wait_until(condition: Callable[[], T], timeout: float = 20.0, message: str = "the condition") -> T:
    """Call ``condition`` until it gives something true, and return that; AssertionError after ``timeout`` seconds."""
    begun = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - begun
        if waited > timeout:
            raise AssertionError(f"{message} did not come within {timeout} s; last seen: {value!r}")
        # A condition may be a whole page, rendered and parsed: what takes long is asked for less often.
        time.sleep(min(max(SHORTEST, waited / 20), LONGEST))


def free_port() -> int:
    """A TCP port of loopback that is free and stays so until the service of the test listens on it.

    It is bound by us until MOST_HELD others were given: exclusively, so that no other test process and no other program
    gets it, and with SO_REUSEADDR only from then on. A service that sets that too, as servers do, may bind and listen
    beside us, since we do not listen; a client is refused until one does. It may end and come back.
    """
    while True:
        port = FIRST_PORT + next(_ports) % PORTS
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _held.append(holder)
        if len(_held) > MOST_HELD:
            _held.popleft().close()
        return port
