"""A load of a known rate: each request at its time, on a connection that is kept; one that is late is made up for."""

import http.client
import threading
import time
from types import TracebackType


class Pace:
    """``rate`` requests a second for ``host``, with ``paths`` in turn, until the block ends."""

    def __init__(self, port: int, host: str, rate: float, paths: tuple[str, ...]) -> None:
        self._port, self._host, self._rate, self._paths = port, host, rate, paths
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, name=f"pace {host}")

    def __enter__(self) -> "Pace":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(timeout=20)

    def _send(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        began, sent = time.monotonic(), 0
        while not self._over.wait(max(0.0, began + sent / self._rate - time.monotonic())):
            connection.request("GET", self._paths[sent % len(self._paths)], headers={"Host": self._host})
            connection.getresponse().read()
            sent += 1
        connection.close()
