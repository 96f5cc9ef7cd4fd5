"""POSIX modes, from the root directory down."""

import stat

import pytest
from resty_metrics.kernel.access import READ, SEARCH, WRITE, Node, User, may, obstacle

DIRECTORY, SOCKET = stat.S_IFDIR, stat.S_IFSOCK
WORKER = User(33, 33, frozenset({44}), "www-data")
ROOT = User(0, 0, frozenset(), "root")


def node(mode: int, uid: int = 0, gid: int = 0, path: str = "/run/x", acl: bool = False) -> Node:
    return Node(path, uid, gid, mode, acl)


MAY = [
    ("all others", WORKER, node(0o002), WRITE, True),
    ("not all others", WORKER, node(0o775), WRITE, False),
    ("the owner", WORKER, node(0o200, uid=33), WRITE, True),
    ("the owner is refused what others may", WORKER, node(0o022, uid=33), WRITE, False),
    ("its group", WORKER, node(0o020, gid=33), WRITE, True),
    ("a supplementary group", WORKER, node(0o020, gid=44), WRITE, True),
    ("its group is refused what others may", WORKER, node(0o002, gid=44), WRITE, False),
    ("root", ROOT, node(0o000, uid=33), WRITE, True),
    ("search is not read", WORKER, node(0o004), SEARCH, False),
]


@pytest.mark.parametrize(("name", "user", "at", "need", "expected"), MAY, ids=[case[0] for case in MAY])
def test_bits(name: str, user: User, at: Node, need: int, expected: bool) -> None:
    assert may(user, at, need) is expected


def way(*modes: int, acl_at: int | None = None) -> list[Node]:
    paths = ["/", "/run", "/run/x.sock"]
    return [node(mode, path=path, acl=at == acl_at) for at, (path, mode) in enumerate(zip(paths, modes, strict=True))]


WAYS = [
    ("free", way(0o755, 0o755, 0o666), None, True),
    ("a directory above", way(0o755, 0o700, 0o666), "/run", True),
    ("the first of two", way(0o700, 0o700, 0o666), "/", True),
    ("the file itself", way(0o755, 0o755, 0o644), "/run/x.sock", True),
    ("a list decides", way(0o755, 0o700, 0o666, acl_at=1), "/run", False),
    ("search is enough above", way(0o711, 0o711, 0o666), None, True),
]


@pytest.mark.parametrize(("name", "nodes", "path", "known"), WAYS, ids=[case[0] for case in WAYS])
def test_the_first_obstacle(name: str, nodes: list[Node], path: str | None, known: bool) -> None:
    stopped = obstacle(WORKER, nodes, WRITE)
    assert (None if stopped is None else stopped.node.path) == path
    assert stopped is None or stopped.known is known
    assert obstacle(ROOT, nodes, WRITE) is None


def test_what_is_needed_is_said() -> None:
    above, itself = obstacle(WORKER, way(0o755, 0o700, 0o666), READ), obstacle(WORKER, way(0o755, 0o755, 0o600), READ)
    assert above is not None
    assert itself is not None
    assert (above.need_word, itself.need_word) == ("search", "read")
    assert itself.node.label == "/run/x.sock (mode 0600, owner 0:0)"
