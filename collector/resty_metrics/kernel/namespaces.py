"""Asking the kernel from within another network namespace, since its answer depends on where it is asked.

Rules:
- A separate thread enters the namespace, asks and ends, so that nothing else of ours is ever in there.
- This takes CAP_SYS_ADMIN; without it, PermissionError is raised.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def in_network(pid: int, question: Callable[[], T]) -> T:
    """Return the answer that a process in the network namespace of ``pid`` gets. Raises OSError."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_ask, pid, question).result()


def _ask(pid: int, question: Callable[[], T]) -> T:
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # os.setns came with Python 3.12
        if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
    return question()
