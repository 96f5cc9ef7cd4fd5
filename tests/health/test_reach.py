"""Whether any user that may send can pass the way to the socket."""

import stat
from collections.abc import Sequence

import pytest
from resty_metrics.health.reach import SendingUser, closed
from resty_metrics.kernel.access import Node

WORKER, STRANGER = SendingUser(33, frozenset({33, 500})), SendingUser(101, None)
ABOVE = Node("/", 0, 0, stat.S_IFDIR | 0o755)


def way(directory: int, socket: int, gid: int = 0, *, acl: bool = False) -> list[Node]:
    """The way to a socket of the collector's: the modes of its directory and its own."""
    return [
        ABOVE,
        Node("/run/c", 900, gid, stat.S_IFDIR | directory, acl),
        Node("/run/c/c.sock", 900, gid, stat.S_IFSOCK | socket),
    ]


@pytest.mark.parametrize(
    ("there", "users", "obstacle"),
    [
        ([], [WORKER], None),
        (way(0o755, 0o666), [WORKER], None),
        (way(0o700, 0o666), [WORKER], "/run/c"),
        (way(0o755, 0o600), [WORKER], "/run/c/c.sock"),
        (way(0o755, 0o644), [WORKER, STRANGER], "/run/c/c.sock"),
        (way(0o750, 0o660, 500), [WORKER], None),
        (way(0o750, 0o660, 501), [WORKER], "/run/c"),
        (way(0o750, 0o660, 501), [WORKER, STRANGER], None),
        (way(0o705, 0o606), [STRANGER], None),
        (way(0o700, 0o666), [STRANGER], "/run/c"),
        (way(0o700, 0o666), [SendingUser(900, frozenset())], None),
        (way(0o700, 0o666), [SendingUser(0, frozenset())], None),
        (way(0o700, 0o666), [WORKER, SendingUser(900, frozenset())], None),
        (way(0o700, 0o666, acl=True), [WORKER], None),
        (way(0o700, 0o666), [], "/run/c"),
        (way(0o755, 0o666), [], None),
    ],
)
def test_a_way_that_no_sender_passes(there: Sequence[Node], users: Sequence[SendingUser], obstacle: str | None) -> None:
    stopped = closed(there, users)
    assert (None if stopped is None else stopped.node.path) == obstacle
