"""Clients that send without reading, end their stream, or have aiohttp answer by itself: by HTTP, TLS and a path."""

import asyncio
import gc
import http.client
import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import bcrypt
import pytest
from aiohttp import web
from resty_metrics.config.values import UnixAddress
from resty_metrics.web import connection, door, library, link, policy, secure
from resty_metrics.web.bucket import Rate
from resty_metrics.web.limits import Limits
from resty_metrics.web.policy import Access
from resty_metrics.web.room import MOST_BYTES, Holder, Room
from support.certificates import LOCAL, Authority
from support.page_server import ANYWHERE, Running, serving, status
from support.wait import wait_until

HEALTHY = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"resty-metrics is healthy\n"
Wrap = Callable[[socket.socket], socket.socket]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SWEEP_SECONDS", 0.05)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory)
    authority.issue("server", LOCAL)
    (directory / "web.yml").write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}")
    return authority


def as_it_is(client: socket.socket) -> socket.socket:
    return client


@pytest.fixture(params=["http", "https", "unix"])
def running(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> Iterator[tuple[Running, Wrap]]:
    """A server, and how a client's socket becomes what it speaks with there."""
    access, wrap, at = Access(), as_it_is, UnixAddress(tmp_path / "w.sock") if request.param == "unix" else ANYWHERE
    if request.param == "https":
        access = policy.load(authority.file.with_name("web.yml"))
        context = ssl.create_default_context(cafile=authority.file)

        def wrap(client: socket.socket) -> socket.socket:
            return context.wrap_socket(client, server_hostname="localhost")

    with serving(access, Limits(), at) as running:
        yield running, wrap


def all_of(client: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    received = b""
    with suppress(ConnectionError):
        while piece := client.recv(65536):
            received += piece
    client.close()
    return received


def test_pipelined_requests_are_answered_in_their_order(running: tuple[Running, Wrap]) -> None:
    server, wrap = running
    server.pages.let_go()
    last = HEALTHY.replace(b"x\r\n", b"x\r\nConnection: close\r\n")
    client = wrap(server.connect())
    client.sendall((METRICS + HEALTHY) * 100 + last)
    answers = all_of(client)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 201
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in answers.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"page\n", ANSWER] * 100 + [ANSWER]


def test_a_request_waits_for_the_answer_to_the_one_before(running: tuple[Running, Wrap]) -> None:
    """While one is answered, no other is begun."""
    server, wrap = running
    client = wrap(server.connect())
    client.sendall(METRICS * 50)
    wait_until(lambda: server.pages.asked == 1, message="the first request")
    second = wrap(server.connect())
    second.sendall(HEALTHY)
    assert status(second) == 200
    assert server.pages.asked == 1
    server.pages.let_go()
    wait_until(lambda: server.pages.asked == 50, message="the others")
    for connected in (client, second):
        connected.close()


def test_what_does_not_read_is_asked_no_more_than_the_kernel_takes(running: tuple[Running, Wrap]) -> None:
    """The answers that wait are in the kernel's buffers; behind them one is held, and its page is not copied."""
    server, wrap = running
    server.pages.body = b"x" * 1_000_000
    server.pages.let_go()
    client = wrap(server.connect())
    client.setblocking(False)
    rest = memoryview(METRICS * 2_000)

    def settled() -> bool:
        nonlocal rest
        with suppress(BlockingIOError, ssl.SSLWantWriteError):
            while rest:
                rest = rest[client.send(rest[:16_384]) :]
        before = server.pages.asked
        time.sleep(0.3)
        return 0 < before == server.pages.asked

    wait_until(settled, message="an end of the answers")
    assert server.pages.asked < 60
    client.close()
    wait_until(lambda: server.tally.connections == 0, message="the end of the connection")


def end_of(client: socket.socket) -> None:
    """End what the client sends; by TLS without its own word for that too, as many clients do."""
    if isinstance(client, ssl.SSLSocket):
        socket.socket.shutdown(client, socket.SHUT_WR)
    else:
        client.shutdown(socket.SHUT_WR)


def test_a_client_that_ends_its_stream_gets_its_answers(running: tuple[Running, Wrap]) -> None:
    server, wrap = running
    client = wrap(server.connect())
    client.sendall(METRICS + HEALTHY * 3)
    with suppress(NotImplementedError):
        end_of(client)
    wait_until(lambda: server.pages.asked == 1, message="the first request")
    server.pages.let_go()
    answers = all_of(client)
    assert answers.count(ANSWER) == 3
    assert answers.count(b"page\n") == 1
    wait_until(lambda: server.tally.connections == 0, message="the end of the connection")


@pytest.mark.parametrize("together", [True, False])
def test_a_client_that_says_so_by_tls_gets_its_answer(authority: Authority, together: bool) -> None:
    """Its request, and in the same packet or behind it TLS's own word for the end of a stream."""
    context = ssl.create_default_context(cafile=authority.file)
    with serving(policy.load(authority.file.with_name("web.yml")), Limits()) as server, server.connect() as client:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.sendall(outgoing.read())
                incoming.write(client.recv(65536))
        tls.write(METRICS)
        if not together:
            client.sendall(outgoing.read())
        with suppress(ssl.SSLWantReadError):
            tls.unwrap()
        client.sendall(outgoing.read())
        wait_until(lambda: server.pages.asked == 1, message="the request")
        server.pages.let_go()
        sent = len(all_of(client))
        assert sent > len("HTTP/1.1 200 OK\r\n") + len("page\n")
        wait_until(lambda: server.tally.connections == 0, message="the end of the connection")


def test_a_head_is_bounded(running: tuple[Running, Wrap]) -> None:
    server, wrap = running
    client = wrap(server.connect())
    lines = b"".join(b"X%d: %b\r\n" % (number, b"y" * 1000) for number in range(17))
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
    assert status(client) == 431
    assert server.tally.refused == {"too_large": 1}
    client.close()


def test_all_clients_together_are_bounded(running: tuple[Running, Wrap]) -> None:
    """Those that have most are cut off; the others go on."""
    server, wrap = running
    small = wrap(server.connect())
    small.sendall(b"GET /-/healthy HTTP/1.1\r\n")
    half = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 8_000 + b"\r\nX: " + b"x" * 7_000
    clients = [wrap(server.connect()) for _ in range(MOST_BYTES // len(half) + 5)]
    for client in clients:
        with suppress(OSError):
            client.sendall(half)
    wait_until(lambda: server.tally.closed["room"] >= 5, message="those that are cut off")
    assert server.tally.closed == {"room": 5}
    small.sendall(b"Host: x\r\n\r\n")
    assert status(small) == 200
    for client in (*clients, small):
        client.close()


def send_half_a_record(client: socket.socket) -> None:
    """Send the beginning of a record of TLS, of 16 KiB, whose end never comes."""
    socket.socket.send(client, b"\x17\x03\x03\x40\x10" + bytes(15_000))


def ask_for_a_large_page(client: socket.socket) -> None:
    client.sendall(METRICS)


class Noted(Room):
    """A room that notes what each connection holds."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[Holder, int] = {}

    def hold(self, holder: Holder, count: int) -> None:
        self.counts[holder] = count
        self.counts = {holder: held for holder, held in self.counts.items() if held}
        super().hold(holder, count)


@pytest.mark.parametrize("waits", [send_half_a_record, ask_for_a_large_page])
def test_all_that_waits_for_a_client_by_tls_is_counted(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, waits: Callable[[socket.socket], None]
) -> None:
    """What OpenSSL waits for the end of, and what the kernel has not taken. How much that is depends on the kernel."""
    room = Noted()
    monkeypatch.setattr("resty_metrics.web.door.Room", lambda: room)
    context = ssl.create_default_context(cafile=authority.file)
    with serving(policy.load(authority.file.with_name("web.yml")), Limits()) as server:
        server.pages.body = b"x" * 64_000_000  # more than the kernel takes
        server.pages.let_go()
        clients = [context.wrap_socket(server.connect(), server_hostname="localhost") for _ in range(7)]
        for client in clients[:6]:
            waits(client)
        held_by_each = wait_until(lambda: len(room.counts) == 6 and min(room.counts.values()), message="what six hold")
        room.most = 3 * held_by_each
        waits(clients[6])
        wait_until(lambda: server.tally.closed["room"] >= 3, message="those that are cut off")
        assert server.tally.closed.keys() == {"room"}
        for client in clients:
            client.close()
        wait_until(lambda: server.tally.connections == 0, message="the end of all")


# a request, and what it is answered with by a server that all may ask, and by one that wants a password
BESIDE = [
    ("GET /-/healthy", "Expect: 100-continue", 200),
    ("GET /none", "Expect: 100-continue", 404),
    ("POST /metrics", "Expect: 100-continue", 405),
    ("GET /-/healthy", "Expect: something", 200),
    ("GET /none", "Expect: 100-cont\xffnue", 404),
    ("GET /none", "Expect: ", 404),
    ("GET /-/healthy", "Expect: 100-continue\r\nX: \xff", 200),
    ("GET /none", "Expect: x\r\nExpect: 100-continue", 404),
    ("OPTIONS /metrics", "X: y", 405),
    ("HEAD /none", "X: y", 404),
    ("CONNECT x:1", "X: y", 404),
    ("GET /-/healthy", "Connection: upgrade\r\nUpgrade: websocket", 200),
    ("GET /none", "Transfer-Encoding: chunked", 404),
    ("POST /-/reload", "Content-Length: 5", 403),
]
NAMES = [f"{line} {header!r}" for line, header, _ in BESIDE]


def answered(server: Running, line: str, header: str) -> tuple[int, bytes]:
    """Return status and whole answer of a request on a connection that ends with it."""
    with server.connect() as client:
        client.sendall(f"{line} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode("latin-1"))
        client.shutdown(socket.SHUT_WR)
        answer = all_of(client)
    return int(answer.split()[1]), answer


@pytest.mark.parametrize(("line", "header", "expected"), BESIDE, ids=NAMES)
def test_every_request_passes_the_front(line: str, header: str, expected: int) -> None:
    """What aiohttp would answer by itself obeys passwords and the limit of requests, and no interim answer is sent."""
    users = {b"prom": bcrypt.hashpw(b"secret", bcrypt.gensalt(4))}
    for access, status_ in (
        (Access(headers={"X-Frame-Options": "deny"}), expected),
        (Access(headers={"X-Frame-Options": "deny"}, users=users), 401),
        (Access(headers={"X-Frame-Options": "deny"}, rate=Rate(interval=3600.0, burst=0)), 429),
    ):
        with serving(access, Limits()) as server:
            actual, answer = answered(server, line, header)
            assert actual == status_
            assert answer.count(b"HTTP/1.1 ") == 1
            assert b"\r\nX-Frame-Options: deny\r\n" in answer
            assert b"\r\nServer: resty-metrics\r\n" in answer
            assert sum(server.tally.refused.values()) == (status_ in (401, 429))


def test_a_head_of_which_the_parser_makes_nothing_is_not_waited_for(
    running: tuple[Running, Wrap], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as HTTP/2's, which llhttp stops at."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    server, wrap = running
    client = wrap(server.connect())
    client.sendall(b"PRI /metrics HTTP/1.1\r\n\r\n")
    assert b"HTTP/1.1 200" not in all_of(client)
    wait_until(lambda: server.tally.closed == {"slow_request": 1}, message="its end")


def test_no_answer_says_a_version(running: tuple[Running, Wrap]) -> None:
    server, wrap = running
    server.pages.let_go()
    for sent in (METRICS, HEALTHY, b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", b"nonsense\r\n\r\n"):
        client = wrap(server.connect())
        client.sendall(sent)
        head = client.recv(65536).partition(b"\r\n\r\n")[0].lower()
        client.close()
        assert b"\r\nserver: resty-metrics" in head
        for word in (b"python", b"aiohttp", b"uvloop"):
            assert word not in head


def test_clients_that_are_gone_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Requests of all kinds, each on a connection that is reset at once."""
    with caplog.at_level(logging.INFO), serving(Access(), Limits()) as server:
        server.pages.body = b"x" * 1_000_000
        server.pages.let_go()
        for number in range(400):
            line, header, _ = BESIDE[number % len(BESIDE)]
            with server.connect() as client, suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(f"{line} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode("latin-1") + METRICS)
        wait_until(lambda: server.tally.connections == 0, message="the end of all")
    assert "Traceback" not in caplog.text
    assert {record.name for record in caplog.records} <= {"resty-metrics"}
    assert all(getattr(record, "fields", {}).get("reason") for record in caplog.records[1:])


def test_what_the_library_logs_is_a_line_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    library.take_over(loop)
    for name in ("aiohttp.server", "aiohttp.web", "aiohttp.access", "asyncio"):
        logging.getLogger(name).error("words of %s", "a client", exc_info=ValueError("inside"))
    loop.call_exception_handler({"message": "words of a client", "exception": OSError("lost")})
    loop.close()
    assert {record.name for record in caplog.records} == {"resty-metrics"}
    reasons = [record.fields["reason"] for record in caplog.records]  # type: ignore[attr-defined]
    assert reasons == ["ValueError"] * 4 + ["OSError"]
    assert "words of" not in caplog.text


def test_a_handler_with_a_bug_is_said_once_and_gives_nothing_away(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    with serving(Access(), Limits()) as server:
        monkeypatch.setattr(server.front, "_in_rate", broken)
        status, answer = answered(server, "GET /-/healthy", "X: y")
        assert status == 500
        assert b"secret" not in answer
        assert server.tally.refused == {"failed": 1}
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.fields["reason"] == "failed"  # type: ignore[attr-defined]


# headers of a browser, and whether a reload by them is refused
ORIGINS = [
    ("X: y", False),
    ("Sec-Fetch-Site: same-origin", False),
    ("Sec-Fetch-Site: none", False),
    ("Sec-Fetch-Site: cross-site", True),
    ("Sec-Fetch-Site: same-site", True),
    ("Origin: http://x", False),
    ("Origin: https://X", False),
    ("Origin: http://x:81", True),
    ("Origin: http://evil.example", True),
    ("Origin: null", True),
    ("Origin: http://x\r\nOrigin: http://evil.example", True),
    ("Origin: http://x\r\nSec-Fetch-Site: cross-site", True),
]


@pytest.mark.parametrize(("header", "refused"), ORIGINS, ids=[header for header, _ in ORIGINS])
def test_a_page_of_another_origin_cannot_reload(header: str, refused: bool) -> None:
    reloads = 0

    async def reload() -> list[str]:
        nonlocal reloads
        reloads += 1
        return []

    with serving(Access(), Limits()) as server:
        server.front.reload = reload
        for method in ("POST", "PUT"):
            assert answered(server, f"{method} /-/reload", header)[0] == (403 if refused else 200)
    assert reloads == (0 if refused else 2)
    assert server.tally.refused["foreign_origin"] == (2 if refused else 0)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


# what a client sends before it goes, and whether it makes a handshake first where the server wants one
LAST_WORDS = {
    "a request": (HEALTHY, True),
    "nonsense": (b"nonsense nonsense\r\n\r\n", True),
    "a head that is too large": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 4_000, True),
    "half a head": (HEALTHY[:-2], True),
    "requests": (METRICS * 500, True),
    "half a handshake": (b"\x16\x03\x01\x00\x05", False),
    "no handshake": (HEALTHY, False),
    "nothing": (b"", False),
}


@pytest.mark.parametrize("sent", LAST_WORDS.values(), ids=LAST_WORDS)
def test_a_connection_that_ended_leaves_nothing(running: tuple[Running, Wrap], sent: tuple[bytes, bool]) -> None:
    """The collector looks for cycles once in 100,000 objects: what had one would be kept by the thousand."""
    server, wrap = running
    server.pages.body = b"x" * 1_000_000
    server.pages.let_go()
    gc.collect()
    gc.disable()
    try:
        before = kept()
        for number in range(20):
            client = wrap(server.connect()) if sent[1] else server.connect()
            with suppress(OSError):
                client.sendall(sent[0])
            reset(client) if number % 2 else client.close()
        wait_until(lambda: server.tally.connections == 0, message="the end of all")
        wait_until(lambda: kept() <= before, message="the end of what they had")
    finally:
        gc.enable()


def kept() -> int:
    """Return the connections, and what belongs to each, that are not freed."""
    kinds = (connection.Connection, secure.Secure, link.Link, ssl.SSLObject, web.BaseRequest)
    return sum(isinstance(instance, kinds) for instance in gc.get_objects())


def test_handshakes_under_way_are_bounded(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more takes the place of the oldest, so that who only begins them keeps nobody out."""
    monkeypatch.setattr(door, "MOST_HANDSHAKES", 3)
    context = ssl.create_default_context(cafile=authority.file)
    with serving(policy.load(authority.file.with_name("web.yml")), Limits()) as server:
        silent = [server.connect() for _ in range(5)]
        wait_until(lambda: server.tally.closed["evicted"] == 2, message="two that gave their places")
        assert [client.recv(1) for client in silent[:2]] == [b"", b""]
        with context.wrap_socket(server.connect(), server_hostname="localhost") as client:
            client.sendall(HEALTHY)
            assert status(client) == 200
        for connection in silent:
            connection.close()


def test_a_large_page_comes_whole(running: tuple[Running, Wrap]) -> None:
    """However little a client reads at a time."""
    server, wrap = running
    server.pages.body = bytes(range(256)) * 20_000
    server.pages.let_go()
    client = wrap(server.connect())
    client.sendall(METRICS)
    response = http.client.HTTPResponse(client)
    response.begin()
    body = b""
    while piece := response.read(10_007):
        body += piece
    assert body == server.pages.body
    client.close()
    assert response.headers["Server"] == connection.SERVER
