"""What a worker is to the collector: a sender of datagrams, and answers on a socketpair."""

import contextlib
import os
import select
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from resty_metrics.wire.datagram import VERSION, Header, Kind, Reason, Verdict, write_datagram


def counter(name: str, value: float, labels: dict[str, Any] | None = None) -> dict[str, Any]:
    """The body of a batch with one row of one counter."""
    labels = labels or {}
    family = {
        "name": name,
        "type": "counter",
        "labels": list(labels),
        "columns": ["value"],
        "rows": [[*labels.values(), value]],
    }
    return {"families": [family]}


class Worker:
    """One sender. ``send`` and ``batch`` pass the descriptor for answers along, unless told otherwise."""

    def __init__(self, path: Path) -> None:
        self.sender = os.urandom(16)
        self.sequence = 0
        self._answers, self._passed = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(path))
        self._answers.settimeout(10)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for one in (self._socket, self._answers, self._passed):
            one.close()

    def header(self, kind: Kind, sequence: int, version: int = VERSION, base: int = 1) -> Header:
        return Header(version, kind, self.sender, 1, sequence, base)

    def next_batch(self, body: Mapping[str, Any], version: int = VERSION) -> bytes:
        """The datagram of the next batch; everything before is acknowledged, as far as it says."""
        self.sequence += 1
        return write_datagram(self.header(Kind.BATCH, self.sequence, version, self.sequence), body)

    def send(self, datagram: bytes, descriptors: int = 1) -> None:
        socket.send_fds(self._socket, [datagram], [self._passed.fileno()] * descriptors)

    def send_if_there_is_room(self, datagram: bytes) -> None:
        """Without a descriptor for answers."""
        with contextlib.suppress(BlockingIOError):
            self._socket.send(datagram, socket.MSG_DONTWAIT)

    def answer(self) -> tuple[Verdict, Reason, int]:
        """The next answer: verdict, reason and the number that is committed."""
        answer = self._receive()
        return Verdict(answer[5]), Reason(answer[6]), int.from_bytes(answer[32:40], "big")

    def answer_to_last_batch(self) -> tuple[Verdict, Reason, int]:
        """The answer to the newest batch: those to earlier ones may come behind the answer to a probe."""
        while True:
            answer = self._receive()
            if answer[7] == Kind.BATCH and int.from_bytes(answer[24:32], "big") == self.sequence:
                return Verdict(answer[5]), Reason(answer[6]), int.from_bytes(answer[32:40], "big")

    def has_answer(self) -> bool:
        return bool(select.select([self._answers], [], [], 0)[0])

    def probe(self) -> None:
        """Return when everything that was sent before has been read; what was read may be answered later."""
        number = 2**40
        while True:
            self.send(write_datagram(self.header(Kind.PROBE, number), {}))
            if int.from_bytes(self._receive()[24:32], "big") == number:
                return

    def _receive(self) -> bytes:
        """The next answer to this sender; a test may send those of others through the same socket."""
        while True:
            answer = self._answers.recv(64)
            if answer[8:24] == self.sender:
                return answer
