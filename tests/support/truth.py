"""What nginx itself says was asked of it: its access_log, read as it grows."""

import threading
from collections import Counter
from pathlib import Path

from support.nginx import SEPARATOR, Counts, method_label

_LABELS = 3  # server, method, status are a line's first fields
_SEPARATOR = SEPARATOR.encode()


class Truth:
    """Requests by (server, method, status) of one access_log; any thread may ask."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._counts: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def counts(self) -> Counts:
        """Everything that has been logged by now."""
        with self._lock:
            self._read()
            return Counter({_label(raw): count for raw, count in self._counts.items()})

    def total(self) -> int:
        with self._lock:
            self._read()
            return self._counts.total()

    def _read(self) -> None:
        try:
            with self._path.open("rb") as log:
                log.seek(self._offset)
                new = log.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._counts.update(_SEPARATOR.join(line.split(_SEPARATOR, _LABELS)[:_LABELS]) for line in whole.splitlines())


def _label(raw: bytes) -> tuple[str, str, str]:
    server, method, status = raw.decode(errors="replace").split(SEPARATOR)
    return server or "_", method_label(method), status
