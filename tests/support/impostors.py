"""Programs that take the collector's path, as the one of the incident did."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

_TAKE = """
import os, socket, sys, time
path = sys.argv[1]
def take():
    while True:  # the collector may be the faster one
        other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        try:
            other.bind(path)
        except OSError:
            other.close()
            continue
        try:
            os.chmod(path, 0o666)
        except FileNotFoundError:
            pass
        return other
"""
_SWALLOW = """
other = take()
print(flush=True)
while True:
    other.recv(65536)
"""
_RETURN = """
print(flush=True)
while True:
    other = take()
    time.sleep(1)
    other.close()
"""


@contextmanager
def _running(script: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-c", _TAKE + script, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.read(1)
            yield process
        finally:
            process.kill()


def taken(path: Path) -> int:
    """Unlinks the path, binds its own socket and exits. The pid that it had."""
    with subprocess.Popen([sys.executable, "-c", f"{_TAKE}\ntake()", str(path)]) as process:
        assert process.wait(timeout=30) == 0
        return process.pid


def exits(path: Path) -> None:
    """The same, as a fault among others."""
    taken(path)


def swallows(path: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Takes the path once, stays, and reads whatever comes."""
    return _running(_SWALLOW, path)


def returns(path: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Takes the path each second."""
    return _running(_RETURN, path)
