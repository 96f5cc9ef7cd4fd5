"""The smallest FastCGI application: each request is answered with 200. Source: the FastCGI specification, 3 and 5."""

import socketserver
import struct
import threading
from types import TracebackType

_STDIN, _STDOUT, _END_REQUEST = 5, 6, 3
_ANSWER = b"Content-Type: text/plain\r\n\r\nok\n"


def _record(kind: int, request: int, content: bytes) -> bytes:
    return struct.pack("!BBHHBx", 1, kind, request, len(content), 0) + content


class _Application(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while header := self.rfile.read(8):
            _, kind, request, length, padding = struct.unpack("!BBHHBx", header)
            self.rfile.read(length + padding)
            if kind == _STDIN and length == 0:
                end = _record(_END_REQUEST, request, bytes(8))
                self.wfile.write(_record(_STDOUT, request, _ANSWER) + _record(_STDOUT, request, b"") + end)
                return


class FastCgi:
    """Listens on a free port; ``address`` is for fastcgi_pass."""

    def __init__(self) -> None:
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Application)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "FastCgi":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
