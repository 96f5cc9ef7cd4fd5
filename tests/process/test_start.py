"""The messages of a start that fails."""

import errno
import os
from pathlib import Path

import pytest
from resty_metrics.process import start

RUN = Path("/run/x")
SOCKET = RUN / "c.sock"


def failed(number: int, path: Path = RUN) -> OSError:
    return OSError(number, os.strerror(number), str(path))


MESSAGES = [
    (
        start.no_directory(RUN, failed(errno.EACCES)),
        "cannot create the directory /run/x: permission denied. Create it for this user first (sudo install -d -o USER "
        "/run/x), or set --socket.path to another path.",
    ),
    (
        start.no_directory(RUN, failed(errno.EROFS, RUN.parent)),
        "cannot create the directory /run: read-only file system. Set --socket.path to another path.",
    ),
    (
        start.no_lock(SOCKET, failed(errno.EACCES)),
        "cannot open the lock file /run/x/c.sock: permission denied. Run the collector as the user that owns /run/x, "
        "or set --socket.path to another path.",
    ),
    (
        start.no_lock(SOCKET, OSError(errno.EINVAL, "not a regular file", "x")),
        "cannot open the lock file /run/x/c.sock: not a regular file. Remove it, or set --socket.path to another path.",
    ),
    (
        start.no_lock(SOCKET, failed(errno.ENOSPC)),
        "cannot open the lock file /run/x/c.sock: no space left on device. Set --socket.path to another path.",
    ),
    (
        start.no_socket(SOCKET, failed(errno.EPERM)),
        "cannot create the socket /run/x/c.sock: operation not permitted. Give this user write access to /run/x, "
        "or set --socket.path to another path.",
    ),
    (
        start.no_socket(SOCKET, failed(errno.ENOTEMPTY)),
        "cannot create the socket /run/x/c.sock: directory not empty. Remove what is there, or set --socket.path to "
        "another path.",
    ),
    (
        str(start.no_tcp_listener(":80", 80, failed(errno.EACCES))),
        "cannot listen on :80: permission denied. Ports below 1024 need root: set --web.listen-address to another "
        "address.",
    ),
    (
        str(start.no_tcp_listener("h:1", 1, OSError(-2, "Name or service not known"))),
        "cannot listen on h:1: name or service not known. Set --web.listen-address to another address.",
    ),
    (
        str(start.no_unix_listener(SOCKET, failed(errno.ENOENT))),
        "cannot listen on unix:/run/x/c.sock: the directory /run/x does not exist. Create it, or set "
        "--web.listen-address to another address.",
    ),
]


@pytest.mark.parametrize(("message", "expected"), MESSAGES, ids=[expected[:60] for _, expected in MESSAGES])
def test_each_names_the_thing_and_ends_with_what_to_do(message: str, expected: str) -> None:
    assert message == expected
