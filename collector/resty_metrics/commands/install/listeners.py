"""Sockets that nginx listens on, each with its servers, as nginx puts its ``listen`` directives together. Pure.

Rules:
- Two ``listen`` of one socket address are one listener, however they are written: ``8080``, ``*:8080``,
  ``0.0.0.0:8080``. A flag of one of them (ssl, http2, proxy_protocol) holds for the listener.
- The default server is the one with ``default_server``, else the first.
- A connection to 127.0.0.1 belongs to the listener of that address where there is one, and not to that of ``*``.

Sources: nginx's src/http/ngx_http_core_module.c (``ngx_http_core_listen``), src/http/ngx_http.c
(``ngx_http_add_addresses``), src/http/ngx_http_request.c (``ngx_http_init_connection``).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from resty_metrics.nginx_config.dump import Configuration, Directive

DEFAULT_PORT = 80
ANY, ANY_IPV6 = "0.0.0.0", "::"
_ADDRESS = re.compile(
    r"(?:(?P<host>\[[^\]]*\]|[^:]+):)?(?P<first>\d+)(?:-(?P<last>\d+))?\Z|(?P<alone>\[[^\]]*\]|[^:]+)\Z"
)
_DEFAULT = ("default_server", "default")
_UDP = ("quic", "http3")

Resolve = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket. ``servers``: the default server, then the others.

    ``host`` and ``port``: an address that reaches it, ``host`` "" where there is none; or ``unix``, a path.
    """

    host: str
    port: int
    unix: str | None
    flags: frozenset[str]
    servers: tuple[Directive, ...]

    @property
    def udp(self) -> bool:
        return any(flag in self.flags for flag in _UDP)


@dataclass(frozen=True, slots=True)
class _Listen:
    """One ``listen`` for one address. ``first`` and ``last``: its ports."""

    host: str
    first: int
    last: int
    unix: str | None
    flags: frozenset[str]
    server: Directive

    @property
    def udp(self) -> bool:
        return any(flag in self.flags for flag in _UDP)

    @property
    def is_default(self) -> bool:
        return any(flag in self.flags for flag in _DEFAULT)

    @property
    def address(self) -> tuple[str, str | None, bool]:
        return self.host, self.unix, self.udp

    def has(self, port: int) -> bool:
        return self.first <= port <= self.last


def find(configuration: Configuration, resolve: Resolve) -> list[Listener]:
    """Return the listeners, in the order of the configuration. ``resolve``: returns the addresses of a host name.

    Of a range of ports, only the first is listed.
    """
    listens = [
        listen
        for server in servers(configuration)
        for words in _words(server)
        for listen in _read(words, server, resolve)
    ]
    by_address: dict[tuple[str, str | None, bool], list[_Listen]] = {}
    first: dict[object, _Listen] = {}
    for listen in listens:
        by_address.setdefault(listen.address, []).append(listen)
        first.setdefault((listen.address, listen.first), listen)
    return [
        _listener(listen, [member for member in by_address[listen.address] if member.has(listen.first)], listens)
        for listen in first.values()
    ]


def servers(configuration: Configuration) -> list[Directive]:
    directives = (directive for http in configuration.blocks("http") for directive in http.block or ())
    return [directive for directive in directives if directive.name == "server" and directive.block is not None]


def hosts(configuration: Configuration) -> frozenset[str]:
    """Return the host names that ``listen`` directives have, which nginx looks up."""
    names: list[str] = []

    def note(host: str) -> Sequence[str]:
        names.append(host)
        return ()

    for server in servers(configuration):
        for words in _words(server):
            list(_read(words, server, note))
    return frozenset(names)


def _words(server: Directive) -> list[tuple[str, ...]]:
    listens = [directive.args for directive in server.block or () if directive.name == "listen" and directive.args]
    return listens or [(f"*:{DEFAULT_PORT}",)]


def _read(words: tuple[str, ...], server: Directive, resolve: Resolve) -> Iterator[_Listen]:
    address, flags = words[0], frozenset(words[1:])
    if address.startswith("unix:"):
        yield _Listen("", 0, 0, address.removeprefix("unix:"), flags, server)
        return
    match = _ADDRESS.match(address)
    if match is None:
        return
    first = int(match["first"] or DEFAULT_PORT)
    for host in _addresses((match["host"] or match["alone"] or "*").strip("[]"), resolve):
        yield _Listen(host, first, int(match["last"] or first), None, flags, server)


def _addresses(host: str, resolve: Resolve) -> Sequence[str]:
    if host == "*":
        return [ANY]
    try:
        return [str(ip_address(host))]
    except ValueError:
        return list(dict.fromkeys(resolve(host)))


def _listener(listen: _Listen, members: Sequence[_Listen], listens: Sequence[_Listen]) -> Listener:
    flags = frozenset(flag for member in members for flag in member.flags)
    default = next((member for member in members if member.is_default), members[0]).server
    further = dict.fromkeys(id(member.server) for member in members if member.server is not default)
    by_id = {id(member.server): member.server for member in members}
    host = listen.host
    if host in (ANY, ANY_IPV6):
        host = _near(host, {member.host for member in listens if member.has(listen.first) and not member.udp})
    return Listener(host, listen.first, listen.unix, flags, (default, *(by_id[member] for member in further)))


def _near(host: str, hosts_in_use: set[str]) -> str:
    """Return an address of this machine that reaches ``*`` or ``[::]``; "" where each has a listener of its own.

    All of 127.0.0.0/8 is the loopback interface.
    """
    if host == ANY:
        loopbacks = (f"127.0.0.{last}" for last in range(1, 255))
        return next((address for address in loopbacks if address not in hosts_in_use), "")
    return "" if "::1" in hosts_in_use else "::1"
