"""An HTTP upstream that does what the path of a request says, most of it wrong; and addresses where nobody answers."""

import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from types import TracebackType

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close is an RST
_MODIFIED = "Sat, 01 Jan 2022 00:00:00 GMT"
_PATIENCE = 20.0  # seconds that a request hangs at most


def _answer(status: int, *headers: str, body: bytes = b"upstream\n") -> bytes:
    if status == HTTPStatus.NOT_MODIFIED:
        body = b""
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Misbehaving:
    """A server on ``port``. The first part of a path is what it does, the rest keeps requests apart that are counted.

    /200 to /599 (a status), /reset, /close, /hang, /bad, /half, /large, /garbage, /cut, /stall, /body, /accelerated;
    and, for a cache, /404-then-reset: the first request is answered with that status, the others are reset.
    """

    def __init__(self) -> None:
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                head = b""
                while b"\r\n\r\n" not in head and (new := self.request.recv(65536)):
                    head += new
                    if b"HTTP/1." not in head:  # TLS, FastCGI
                        self.request.sendall(_answer(400))
                        return
                with suppress(ConnectionError):  # a client that goes away
                    outer.behave(self.request, head.split()[1].decode().strip("/"))

        self._counts: Counter[str] = Counter()
        self._released: set[str] = set()
        self._changed = threading.Condition()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> "Misbehaving":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def begun(self, path: str) -> int:
        """Return how many requests with this path have come."""
        with self._changed:
            return self._counts[path]

    def release(self, path: str) -> None:
        """Close the connections of those that hang."""
        with self._changed:
            self._released.add(path)
            self._changed.notify_all()

    def behave(self, connection: socket.socket, path: str) -> None:
        """Do what the path says."""
        with self._changed:
            self._counts[path] += 1
            first = self._counts[path] == 1
        kind, _, then = path.split("/")[0].partition("-then-")
        if then and not first:
            kind = then
        if kind == "stall":
            connection.sendall(_answer(200, body=bytes(100))[:-50])
        if kind in ("hang", "stall"):
            with self._changed:
                self._changed.wait_for(lambda: path in self._released, _PATIENCE)
        elif kind.isdigit():
            connection.sendall(_answer(int(kind), f"Last-Modified: {_MODIFIED}"))
        else:
            _KINDS[kind](connection)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


_KINDS: dict[str, Callable[[socket.socket], None]] = {
    "reset": _reset,
    "close": lambda connection: None,
    "bad": lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nbad\x00header: x\r\n\r\n"),
    "half": lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nX-Half: "),
    "large": lambda connection: connection.sendall(_answer(200, f"X-Large: {'x' * 100_000}")),
    "garbage": lambda connection: connection.sendall(b"this is no HTTP\r\n\r\n"),
    "cut": lambda connection: connection.sendall(_answer(200, body=bytes(100_000))[:50_000]),
    "body": lambda connection: connection.sendall(_answer(200, body=bytes(50_000_000))),
    "accelerated": lambda connection: connection.sendall(_answer(200, "X-Accel-Redirect: /inner")),
}


@contextmanager
def silent() -> Iterator[int]:
    """A port where the kernel accepts connections and nobody ever reads or writes."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener.getsockname()[1]


@contextmanager
def full() -> Iterator[int]:
    """A port whose queue is full: the kernel drops each SYN."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        while True:
            client = stack.enter_context(socket.socket())
            client.settimeout(0.3)
            try:
                client.connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()[1]
