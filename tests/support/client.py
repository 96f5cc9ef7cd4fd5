"""Requests by HTTP to a port of loopback."""

import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import NamedTuple


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def ask(port: int, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    """One request, on a connection of its own. A header ``User-Agent`` is ``User_Agent``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with _connected(port) as connection:
        return _ask(connection, path, method, named)


def get(
    port: int, path: str = "/", headers: Mapping[str, str] | None = None, times: int = 1, kept: bool = False
) -> list[Answer]:
    """As many; each on a connection of its own, so that they spread over the workers, or ``kept``: all on one."""
    if kept:
        with _connected(port) as connection:
            return [_ask(connection, path, "GET", headers or {}) for _ in range(times)]
    return [answer for _ in range(times) for answer in get(port, path, headers, kept=True)]


def upgrade(port: int, path: str, host: str) -> None:
    """A request that is answered with status 101; the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        headers = f"Host: {host}\r\nUpgrade: websocket\r\nConnection: close\r\n"
        connection.sendall(f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode())
        with suppress(ConnectionError):
            while connection.recv(4096):
                pass


@contextmanager
def requests_begun(port: int, path: str, count: int) -> Iterator[None]:
    """So many whose bodies come at the end of the block, for a location that waits for that."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\n"
    with ExitStack() as stack:
        begun = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(count)]
        for one in begun:
            one.sendall(head.encode())
        yield
        for one in begun:
            one.sendall(b"x")
        for one in begun:
            assert one.recv(4096).startswith(b"HTTP/1.1 200 ")


def _connected(port: int) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20))


def _ask(connection: http.client.HTTPConnection, path: str, method: str, headers: Mapping[str, str]) -> Answer:
    connection.request(method, path, headers=dict(headers))
    response = connection.getresponse()
    return Answer(response.status, dict(response.getheaders()), response.read())
