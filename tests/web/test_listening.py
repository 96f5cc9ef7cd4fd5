"""Where the page is served: real sockets, and names that have several addresses."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from resty_metrics.config.values import TcpAddress, UnixAddress
from resty_metrics.web import listening


@pytest.mark.parametrize(
    ("host", "reached"), [(None, ["127.0.0.1", "::1"]), ("127.0.0.1", ["127.0.0.1"]), ("::1", ["::1"])]
)
def test_a_tcp_address(host: str | None, reached: list[str]) -> None:
    (bound,) = listening.bind(TcpAddress(host, 0))
    with bound:
        for address in ("127.0.0.1", "::1"):
            try:
                socket.create_connection((address, bound.getsockname()[1]), timeout=5).close()
            except ConnectionRefusedError:
                assert address not in reached
            else:
                assert address in reached


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    for _ in range(2):
        (bound,) = listening.bind(UnixAddress(path))
        with bound, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def status_of(path: Path) -> tuple[int, int, int]:
    """What tells a file from another one made in its place; a look at it does not change it."""
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_mtime_ns


def a_file(path: Path) -> None:
    path.write_text("precious")


def a_directory(path: Path) -> None:
    path.mkdir()


def a_link_to_a_file(path: Path) -> None:
    path.with_name("file").write_text("precious")
    path.symlink_to(path.with_name("file"))


@pytest.mark.parametrize("make", [a_file, a_directory, a_link_to_a_file], ids=lambda make: make.__name__)
def test_what_is_no_socket_is_not_removed_for_the_page(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "web.sock")
    before = status_of(tmp_path / "web.sock")
    with pytest.raises(OSError, match=r"cannot listen on unix:.*/web\.sock: the file is in use, or is not a socket"):
        listening.bind(UnixAddress(tmp_path / "web.sock"))
    assert status_of(tmp_path / "web.sock") == before


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_unix_socket_in_use_is_not_taken(tmp_path: Path, kind: socket.SocketKind) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX, kind) as used:
        used.bind(str(path))
        if kind != socket.SOCK_DGRAM:
            used.listen()
        before = status_of(path)
        with pytest.raises(OSError, match="the file is in use"):
            listening.bind(UnixAddress(path))
        assert status_of(path) == before


def test_a_unix_socket_whose_queue_is_full_does_not_keep_us_waiting(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as used, socket.socket(socket.AF_UNIX) as waiting:
        used.bind(str(path))
        used.listen(0)
        waiting.connect(str(path))
        with pytest.raises(OSError, match="the file is in use"):
            listening.bind(UnixAddress(path))


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot listen on unix:.*/web\.sock: the directory .*/none does not exist"):
        listening.bind(UnixAddress(tmp_path / "none" / "web.sock"))


def test_all_addresses_or_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        port = occupant.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: the port is in use"):
            listening.bind_all([UnixAddress(tmp_path / "w.sock"), TcpAddress("127.0.0.1", port)])
    assert list(tmp_path.iterdir()) == []


def named(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Have each name resolve to these addresses, in this order."""

    def getaddrinfo(_: str, port: int, **__: object) -> list[tuple[object, ...]]:
        families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in hosts]
        ends = [(0, 0) if ":" in host else () for host in hosts]
        return [(family, 1, 6, "", (host, port, *end)) for family, host, end in zip(families, hosts, ends, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


# what a name resolves to, and where the page is then
NAMES = [
    (["::1", "127.0.0.1"], ["::1", "127.0.0.1"]),
    (["127.0.0.1", "127.0.0.2"], ["127.0.0.1", "127.0.0.2"]),
    (["127.0.0.1", "127.0.0.1"], ["127.0.0.1"]),
    (["2001:db8::1", "127.0.0.1"], ["127.0.0.1"]),  # the first is not of this machine
]


@pytest.mark.parametrize(("hosts", "reached"), NAMES, ids=["+".join(hosts) for hosts, _ in NAMES])
def test_a_name_listens_on_every_address(monkeypatch: pytest.MonkeyPatch, hosts: list[str], reached: list[str]) -> None:
    named(monkeypatch, *hosts)
    bound = listening.bind(TcpAddress("name", 0))
    assert [sock.getsockname()[0] for sock in bound] == reached
    assert len({sock.getsockname()[1] for sock in bound}) == 1
    for sock in bound:
        with socket.socket(sock.family) as client:
            client.connect(sock.getsockname())
        sock.close()


def test_a_name_of_which_one_address_is_taken_is_not_served_by_half(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "127.0.0.2", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        port = occupant.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on name:{port}: the port is in use"):
            listening.bind(TcpAddress("name", port))
        socket.create_server(("127.0.0.2", port)).close()


def test_a_name_without_an_address_of_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "192.0.2.1", "2001:db8::1")
    with pytest.raises(OSError, match="cannot listen on name:1: this machine does not have that address"):
        listening.bind(TcpAddress("name", 1))
