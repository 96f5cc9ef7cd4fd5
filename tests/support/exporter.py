"""Debian's prometheus-nginx-exporter, the tool whose names and values stub_status has on the page."""

import subprocess
import urllib.request
from types import TracebackType

from support.wait import free_port, wait_until


class Exporter:
    """The exporter on one stub_status address. Each ``page`` is one fetch of that address."""

    def __init__(self, stub_status_url: str) -> None:
        self._url = stub_status_url
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Exporter":
        words = [
            "prometheus-nginx-exporter",
            f"--nginx.scrape-uri={self._url}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._ready, message="prometheus-nginx-exporter")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=10)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def page(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as response:
            return str(response.read().decode())
