"""What clients do to a server of nginx that is to fail, or to seem so: a cause is that server, and one of these."""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from select import select

from support.certificates import Certificate
from support.client import ask, get
from support.misbehaving import Misbehaving
from support.wait import wait_until

PATIENCE = 20.0
GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True)
class Site:
    """What a cause needs to bring itself about."""

    ports: dict[str, int]  # of the causes' servers, by their names
    upstream: Misbehaving
    stranger: Certificate  # whose authority nginx does not trust


Drive = Callable[[Site, str], None]


@dataclass(frozen=True)
class Cause:
    """A server of nginx, what a client does to it, and what is counted.

    In ``server`` and ``http`` upper-case words are files, or ports: UPSTREAM misbehaves by path, DOWN refuses, SILENT
    accepts and never answers, FULL drops each SYN, ENCRYPTED has an untrusted certificate, SELF is the server's own.
    ``wanted`` has "status origin reason" of each request that failed.
    """

    name: str
    server: str
    wanted: tuple[str, ...]
    drive: Drive
    http: str = ""
    listen: str = ""
    polled: bool = False  # how often each of ``wanted`` comes depends on the cache's clock


def connected(site: Site, name: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.ports[name]), PATIENCE)


def _read(connection: socket.socket) -> None:
    """Read until nginx closes."""
    with suppress(ConnectionError, ssl.SSLError):
        while connection.recv(65536):
            pass


def gets(*paths: str) -> Drive:
    """Return what asks for each of these, one after the other."""

    def drive(site: Site, name: str) -> None:
        for path in paths:
            get(site.ports[name], path)

    return drive


def asks(method: str = "GET", **headers: str) -> Drive:
    """Return what sends one request."""

    def drive(site: Site, name: str) -> None:
        ask(site.ports[name], "/", method, **headers)

    return drive


def one_by_one(*drives: Drive) -> Drive:
    """Return what does one after the other."""

    def drive(site: Site, name: str) -> None:
        for each in drives:
            each(site, name)

    return drive


def sends(text: str, leaves: bool = False) -> Drive:
    """Return what sends these bytes, then reads until nginx closes, or ``leaves`` at once."""

    def drive(site: Site, name: str) -> None:
        with connected(site, name) as connection:
            connection.sendall(text.encode("latin-1"))
            if not leaves:
                _read(connection)

    return drive


def reads_a_little(site: Site, name: str) -> None:
    """Go away in the middle of an answer."""
    with connected(site, name) as connection:
        connection.sendall(GET.encode())
        assert connection.recv(12) == b"HTTP/1.1 200"


def hangs(meanwhile: Drive | None = None) -> Drive:
    """Return what begins a request whose upstream hangs, does something else, and goes away."""

    def drive(site: Site, name: str) -> None:
        with connected(site, name) as connection:
            connection.sendall(GET.encode())
            wait_until(lambda: site.upstream.begun(f"hang/{name}") == 1, message="the request at the upstream")
            if meanwhile is not None:
                meanwhile(site, name)

    return drive


def encrypts(certificate: bool = False, host: str = "a") -> Drive:
    """Return what sends a request by TLS, with the stranger's certificate as the client's or with none."""

    def drive(site: Site, name: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(site.stranger.certificate, site.stranger.key)
        with connected(site, name) as plain, context.wrap_socket(plain, server_hostname=name) as connection:
            connection.sendall(GET.replace("Host: a", f"Host: {host}").encode())
            _read(connection)

    return drive


def until_cache(state: str) -> Drive:
    """Return what asks until the cache answers like that: what it has becomes old in a second or two."""

    def drive(site: Site, name: str) -> None:
        wait_until(lambda: get(site.ports[name])[0].headers.get("X-Cache") == state, message=f"{state} by the cache")

    return drive


def updates(site: Site, name: str) -> None:
    """Ask until a request hangs while it refreshes what is old; another one then gets the old answer."""
    path = f"404-then-hang/{name}"

    def refreshes() -> bool:
        with connected(site, name) as connection:
            connection.sendall(GET.encode())
            wait_until(
                lambda: site.upstream.begun(path) == 2 or select([connection], [], [], 0)[0], message="an answer"
            )
            hung = site.upstream.begun(path) == 2
            if hung:
                assert get(site.ports[name])[0].headers["X-Cache"] == "UPDATING"
                site.upstream.release(path)
            _read(connection)
            return hung

    wait_until(refreshes, message="the end of what the cache has")
