"""The kernel's own answers about real sockets."""

import errno
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from resty_metrics.kernel import sock_diag
from resty_metrics.kernel.sock_diag import UnixSocket, bound_to, peer, sockets
from support.child import Child


def inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def file(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def datagram(path: Path | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if path is not None:
        sock.bind(str(path))
    return sock


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[socket.socket]:
    with datagram(tmp_path / "a") as sock:
        yield sock


def test_the_peer_of_a_connected_socket(tmp_path: Path, bound: socket.socket) -> None:
    with datagram() as sender:
        assert peer(inode(sender)) is None
        sender.connect(str(tmp_path / "a"))
        assert peer(inode(sender)) == inode(bound)
    assert peer(inode(bound)) is None


def test_a_sender_stays_with_the_socket_when_the_path_is_taken(tmp_path: Path, bound: socket.socket) -> None:
    with datagram() as sender, datagram(tmp_path / "b") as impostor:
        sender.connect(str(tmp_path / "a"))
        (tmp_path / "b").rename(tmp_path / "a")
        assert peer(inode(sender)) == inode(bound)
        sender.connect(str(tmp_path / "a"))
        assert peer(inode(sender)) == inode(impostor)


def test_a_peer_that_was_closed_is_nobody(tmp_path: Path) -> None:
    receiver = datagram(tmp_path / "a")
    with datagram() as sender:
        sender.connect(str(tmp_path / "a"))
        receiver.close()
        assert peer(inode(sender)) is None


def test_a_socket_that_does_not_exist() -> None:
    sock = datagram()
    gone = inode(sock)
    sock.close()
    with pytest.raises(FileNotFoundError):
        peer(gone)


def test_a_number_that_no_socket_has() -> None:
    with pytest.raises(OSError, match=re.escape(os.strerror(errno.EINVAL))) as refused:
        peer(0)
    assert refused.value.errno == errno.EINVAL


def test_who_is_bound_to_a_file(tmp_path: Path, bound: socket.socket) -> None:
    assert bound_to(*file(tmp_path / "a")) == [
        UnixSocket(inode(bound), socket.SOCK_DGRAM, str(tmp_path / "a"), file(tmp_path / "a"), None)
    ]
    assert bound_to(*file(tmp_path)) == []


def test_a_socket_whose_file_was_unlinked_is_still_known_by_it(tmp_path: Path, bound: socket.socket) -> None:
    before = file(tmp_path / "a")
    (tmp_path / "a").unlink()
    assert [sock.inode for sock in bound_to(*before)] == [inode(bound)]


def test_a_file_that_was_renamed_over_another(tmp_path: Path, bound: socket.socket) -> None:
    """Each socket keeps its own file: whoever was renamed away, and whoever took the place, under its old name."""
    before = file(tmp_path / "a")
    with datagram(tmp_path / ".a.7") as impostor:
        (tmp_path / ".a.7").rename(tmp_path / "a")
        assert [sock.inode for sock in bound_to(*before)] == [inode(bound)]
        (renamed,) = bound_to(*file(tmp_path / "a"))
        assert (renamed.inode, renamed.name) == (inode(impostor), str(tmp_path / ".a.7"))


def test_a_listening_stream_socket_is_found_too(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        assert [(listener.inode, listener.type) for listener in bound_to(*file(tmp_path / "s"))] == [
            (inode(sock), socket.SOCK_STREAM)
        ]


def test_all_sockets_of_ours(tmp_path: Path, bound: socket.socket) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far, datagram() as hidden:
        hidden.bind("\0resty-metrics test")
        by_inode = {sock.inode: sock for sock in sockets()}
        assert by_inode[inode(bound)].file == file(tmp_path / "a")
        assert by_inode[inode(near)].peer == inode(far)
        assert by_inode[inode(hidden)].name == "\0resty-metrics test"


def test_more_sockets_than_fit_one_answer() -> None:
    pairs = [socket.socketpair() for _ in range(400)]
    inodes = {sock.inode for sock in sockets()}
    assert {inode(sock) for pair in pairs for sock in pair} <= inodes
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_a_path_of_any_bytes_and_of_the_greatest_length(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\n")
    path = path.with_name(path.name + "x" * (107 - len(os.fsencode(path))))
    with datagram(path) as sock:
        assert [(listed.inode, listed.name) for listed in bound_to(*file(path))] == [(inode(sock), str(path))]


def test_a_user_without_rights_may_ask(tmp_path: Path, bound: socket.socket) -> None:
    script = f"""
from resty_metrics.kernel import sock_diag
os.setuid(65534)
assert [one.inode for one in sock_diag.bound_to({file(tmp_path / "a")[0]}, {file(tmp_path / "a")[1]})]
"""
    with Child(script):
        pass


def test_a_socket_of_another_network_namespace_is_not_known(tmp_path: Path) -> None:
    script = "sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); sock.bind(sys.argv[1])"
    with Child(script, str(tmp_path / "a"), under=("unshare", "--net")):
        assert bound_to(*file(tmp_path / "a")) == []


def test_no_descriptor_is_left(tmp_path: Path, bound: socket.socket) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    sockets()
    with pytest.raises(OSError, match="Invalid"):
        peer(0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_answer_of_another_kernel_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that a kernel of today does not send, so they cannot be had from it."""
    monkeypatch.setattr(sock_diag, "_receive", lambda sock: b"\xff" * 20)
    with pytest.raises(OSError, match="netlink") as refused:
        sockets()
    assert refused.value.errno == errno.EBADMSG
    header = (16 + 0).to_bytes(4, sys.byteorder) + (99).to_bytes(2, sys.byteorder) + bytes(2)
    monkeypatch.setattr(sock_diag, "_receive", lambda sock: header + (1).to_bytes(4, sys.byteorder) + bytes(4))
    with pytest.raises(OSError, match="without a socket"):
        peer(1)
