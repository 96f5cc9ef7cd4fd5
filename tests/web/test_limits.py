"""How much the server takes on, and clients that are slow: in this process, with limits that a test can wait for."""

import asyncio
import fcntl
import socket
import ssl
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from resty_metrics.web import connection, door, policy
from resty_metrics.web.limits import Limits
from resty_metrics.web.policy import Access
from resty_metrics.web.room import Room
from resty_metrics.web.tally import Tally
from support.certificates import LOCAL, Authority
from support.page_server import Running, ended, serving, status
from support.wait import wait_until

pytestmark = pytest.mark.slow

BODY = b"x" * 64_000_000  # more than the kernel takes for a client that does not read


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SWEEP_SECONDS", 0.05)


@pytest.fixture
def running() -> Iterator[Running]:
    with serving(Access(), Limits(max_connections=8, max_requests=3)) as running:
        yield running


def test_scrapes_above_the_limit_are_told_so(running: Running) -> None:
    held = [running.ask("/metrics") for _ in range(3)]
    wait_until(lambda: running.pages.asked == 3, message="three scrapes")
    with running.ask("/metrics") as fourth:
        answer = fourth.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert answer.endswith(b"3 scrapes are in progress. Try again later, or raise --web.max-requests\n")
    with running.ask() as second:
        assert status(second) == 200
    running.pages.let_go()
    assert [status(client) for client in held] == [200] * 3
    for client in held:
        client.close()
    with running.ask("/metrics") as later:
        assert status(later) == 200
    assert running.tally.refused == {"busy": 1}


def test_the_limits_can_be_lifted(running: Running) -> None:
    running.limits.max_requests = running.limits.max_connections = 0
    held = [running.ask("/metrics") for _ in range(40)]
    wait_until(lambda: running.pages.asked == 40, message="forty scrapes")
    running.pages.let_go()
    for client in held:
        assert status(client) == 200
        client.close()


def test_whoever_only_holds_connections_makes_room(running: Running) -> None:
    """The one that has waited longest goes, whether it said half a request or nothing; who is served stays."""
    scrape = running.ask("/metrics")
    wait_until(lambda: running.pages.asked == 1, message="a scrape")
    idle = [running.connect() for _ in range(7)]
    for client in idle[:3]:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
    wait_until(lambda: running.tally.connections == 8, message="eight connections")
    for number in range(5):
        with running.ask() as fresh:
            assert status(fresh) == 200, number
    assert running.tally.closed["evicted"] >= 1
    assert running.tally.closed["limit"] == 0
    assert ended(idle[0])
    running.pages.let_go()
    assert status(scrape) == 200
    for client in (scrape, *idle[1:]):
        client.close()
    wait_until(lambda: running.tally.connections == 0, message="the end of all")


def test_where_all_are_served_a_new_one_is_closed_at_once(running: Running) -> None:
    running.limits.max_requests = 0
    held = [running.ask("/metrics") for _ in range(8)]
    wait_until(lambda: running.pages.asked == 8, message="eight scrapes")
    assert ended(running.connect())
    assert running.tally.closed == {"limit": 1}
    running.pages.let_go()
    for client in held:
        assert status(client) == 200
        client.close()


def test_whoever_does_not_read_makes_room(running: Running) -> None:
    running.limits.max_requests = 0
    running.pages.body = BODY
    running.pages.let_go()
    deaf = [running.ask("/metrics") for _ in range(8)]
    wait_until(lambda: running.pages.asked == 8, message="eight scrapes")

    def served() -> bool:
        with running.ask() as fresh:
            return status(fresh) == 200

    wait_until(served, message="an answer to another")
    assert running.tally.closed["evicted"] >= 1
    for client in deaf:
        client.close()


def trickle(client: socket.socket) -> bool:
    """One more byte of a head that never ends; whether the server has had enough."""
    try:
        client.sendall(b"x")
    except OSError:
        return True
    return False


def test_a_head_that_trickles_in_is_not_waited_for(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as the first of a connection nor later; a connection that rests is left alone."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    first, second, resting = running.connect(), running.ask(), running.ask()
    assert (status(second), status(resting)) == (200, 200)
    for client in (first, second):
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nX: ")
    wait_until(lambda: trickle(first), message="the end of the first")
    wait_until(lambda: trickle(second), message="the end of the second")
    assert running.tally.closed == {"slow_request": 2}
    resting.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(resting) == 200
    for client in (first, second, resting):
        client.close()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool) -> None:
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 0.3)
    access: Access = Access()
    wrap: Callable[[socket.socket], socket.socket] = _as_it_is
    if tls:
        authority = Authority(tmp_path)
        authority.issue("server", LOCAL)
        (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}")
        access, wrap = policy.load(tmp_path / "web.yml"), _by_tls(authority)
    with serving(access, Limits()) as running:
        running.pages.body = BODY
        running.pages.let_go()
        client = wrap(running.connect())
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(10)
        wait_until(lambda: running.tally.closed == {"slow_read": 1}, message="the end of it")
        wait_until(lambda: running.tally.connections == 0, message="the end of the connection")
        client.close()
        second = wrap(running.connect())
        second.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status(second) == 200
        second.close()


def test_a_client_that_reads_slowly_is_waited_for() -> None:
    """As long as it takes any of what was sent between two looks."""

    async def run(client: socket.socket, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        handler = connection.Connection(web.Server(_never), loop, None, Tally(0.0), Room())
        await loop.connect_accepted_socket(lambda: handler, accepted)
        assert handler.transport is not None
        handler.transport.write(bytes(100_000))  # all in the kernel, which sends no more than the client has room for

        async def settled() -> int:
            before, now = -1, waiting(accepted)
            while now != before:
                await asyncio.sleep(0.05)
                before, now = now, waiting(accepted)
            return now

        assert await settled() > 0
        handler.begin()
        assert handler.overdue(0.0) is None
        assert handler.waits_since is None  # a page that is being sent
        assert handler.overdue(1.0) is None
        assert handler.waits_since == 0.0  # nothing of it was read meanwhile
        for at in (1, 2):
            left = await settled()
            while waiting(accepted) == left:
                await loop.sock_recv(client, 4096)
            assert 0 < await settled() < left
            assert handler.overdue(at * connection.UNREAD_SECONDS + at) is None
            assert handler.waits_since is None  # who reads, however slowly, gives nobody its place
        assert handler.overdue(4 * connection.UNREAD_SECONDS) == "slow_read"
        handler.abort()

    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listening.getsockname())
        accepted, _ = listening.accept()
        for sock in (client, accepted):
            sock.setblocking(False)
        asyncio.run(run(client, accepted))


async def _never(_: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError


def waiting(sock: socket.socket) -> int:
    """The bytes that were sent and are not taken."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _as_it_is(client: socket.socket) -> socket.socket:
    return client


def _by_tls(authority: Authority) -> Callable[[socket.socket], socket.socket]:
    context = ssl.create_default_context(cafile=authority.file)
    return lambda client: context.wrap_socket(client, server_hostname="localhost", suppress_ragged_eofs=True)


def test_a_handshake_that_does_not_come_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HANDSHAKE_SECONDS", 0.3)
    authority = Authority(tmp_path)
    authority.issue("server", LOCAL)
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}")
    with serving(policy.load(tmp_path / "web.yml"), Limits(max_connections=3)) as running:
        assert ended(running.connect())
        wait_until(lambda: running.tally.closed == {"handshake": 1}, message="its count")
        monkeypatch.setattr(door, "HANDSHAKE_SECONDS", 60.0)
        silent = [running.connect() for _ in range(3)]
        wait_until(lambda: running.tally.connections == 3, message="three handshakes under way")
        wrap = _by_tls(authority)
        client = wrap(running.connect())
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status(client) == 200
        assert ended(silent[0])
        client.close()
        for client in silent[1:]:
            client.close()
        wait_until(lambda: running.tally.connections == 0, message="the end of all")


# what is sent, the status it is answered with, the reason it is counted under
UNREADABLE = [
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 431, "too_large"),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431, "too_large"),
    (b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % number for number in range(100)) + b"\r\n", 400, "malformed"),
    (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "malformed"),
    (b"\x16\x03\x01\x02\x00\x01", 400, "malformed"),
]


@pytest.mark.parametrize(("sent", "expected", "reason"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_cannot_be_read(
    running: Running, caplog: pytest.LogCaptureFixture, sent: bytes, expected: int, reason: str
) -> None:
    with running.connect() as client:
        client.sendall(sent)
        assert status(client) == expected
    assert running.tally.refused == {reason: 1}
    assert "Traceback" not in caplog.text
    assert "xxx" not in caplog.text


def test_a_body_that_nobody_reads_is_not_waited_for(running: Running) -> None:
    with running.connect() as client:
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nabc")
        assert status(client) == 200
        assert client.recv(1) == b""
