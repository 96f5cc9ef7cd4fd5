"""The way to the socket: decide whether any user that may send can pass it.

Rule: a way is closed if no user that may send can pass. A user whose groups are not known may be in all of them: it
belongs to another machine, or another container.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from resty_metrics.kernel.access import WRITE, Node, Obstacle, User, obstacle

NOBODY = 2**32 - 1  # never a user or a group: for chown(2) it means "leave it"


@dataclass(frozen=True, slots=True)
class SendingUser:
    """A user that nginx's workers may run as. ``groups`` None: not known."""

    uid: int
    groups: frozenset[int] | None


def closed(way: Sequence[Node], users: Sequence[SendingUser]) -> Obstacle | None:
    """Return the first obstacle on a way that no user passes; None if one may pass, or that is not known.

    ``way``: the directories down to the socket, and the socket; empty: not known.
    """
    stopped = [_obstacle(user, way) for user in users or [SendingUser(NOBODY, None)]]
    if not way or any(node is None or not node.known for node in stopped):
        return None
    return stopped[0]


def is_home(path: str) -> bool:
    """Return whether a directory is somebody's home, which is not to be opened to others."""
    return path in ("/root", "/home") or PurePosixPath(path).parent == PurePosixPath("/home")


def _obstacle(user: SendingUser, way: Sequence[Node]) -> Obstacle | None:
    if user.groups is not None:
        return obstacle(User(user.uid, NOBODY, user.groups, None), way, WRITE)
    groups = (frozenset[int](), frozenset(node.gid for node in way))
    either = [obstacle(User(user.uid, NOBODY, assumed, None), way, WRITE) for assumed in groups]
    return None if None in either else either[0]
