"""The sockets that the page is served on. They listen from the start: a socket that is only bound does not keep the
port from other processes, not even from ourselves.

Rule: a name listens on each of its addresses that this machine has.
"""

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from resty_metrics.config.values import ListenAddress, TcpAddress, UnixAddress, show_listen_address
from resty_metrics.process import start

BACKLOG = 512
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # such as ::1 from /etc/hosts, where IPv6 is off

Place = tuple[int, tuple[object, ...]]  # an address family, and an address of it


def bind_all(addresses: Sequence[ListenAddress]) -> list[socket.socket]:
    """Bind all addresses, or none, and return their sockets. Raises StartError."""
    bound: list[socket.socket] = []
    try:
        for address in addresses:
            bound += bind(address)
    except OSError:
        for sock in bound:
            _give_back(sock)
        raise
    return bound


def _give_back(sock: socket.socket) -> None:
    name = sock.getsockname() if sock.family == socket.AF_UNIX else None
    sock.close()
    if name is not None:
        with suppress(OSError):
            Path(name).unlink()


def bind(address: ListenAddress) -> list[socket.socket]:
    """Bind an address and return its sockets, which listen. Raises StartError."""
    try:
        return [_bind_unix(address.path)] if isinstance(address, UnixAddress) else _bind_tcp(address)
    except OSError as error:
        if isinstance(address, UnixAddress):
            raise start.no_unix_listener(address.path, error) from None
        raise start.no_tcp_listener(show_listen_address(address), address.port, error) from None


def _bind_unix(path: Path) -> socket.socket:
    """Bind a unix socket that anybody may connect to, as to a TCP port.

    nginx's workers, which run as another user, may serve the page. The socket's directory can restrict access.
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o666)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_tcp(address: TcpAddress) -> list[socket.socket]:
    if address.host is None and socket.has_dualstack_ipv6():
        return [_bind_place((socket.AF_INET6, ("::", address.port, 0, 0)), dualstack=True)]
    bound: list[socket.socket] = []
    missing: OSError | None = None
    for place in _places(address):
        try:
            bound.append(_bind_place(_on_port_of(bound, place)))
        except OSError as error:
            if error.errno not in _NOT_HERE:
                for sock in bound:
                    sock.close()
                raise
            missing = error
    if missing is not None and not bound:
        raise missing
    return bound


def _places(address: TcpAddress) -> Iterator[Place]:
    """Yield the places where a name listens, each once."""
    infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    yield from dict.fromkeys((int(family), place) for family, _, _, _, place in infos)


def _on_port_of(bound: Sequence[socket.socket], place: Place) -> Place:
    """Return the place on the first bound socket's port: all share one, even if any free one was asked for."""
    family, (host, port, *rest) = place
    return family, (host, bound[0].getsockname()[1] if bound else port, *rest)


def _bind_place(place: Place, dualstack: bool = False) -> socket.socket:
    family, name = place
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dualstack))
        sock.bind(name)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: Path) -> None:
    """Remove a unix socket that nobody listens on. Anything else stays at the path, and bind reports it.

    A file that is not a socket refuses a connection too, so its type is checked first. A socket whose queue is full
    would keep us waiting, so connect does not block.
    """
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return
