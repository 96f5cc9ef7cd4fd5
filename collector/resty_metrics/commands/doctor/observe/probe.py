"""A probe: one datagram through the path, and whether an answer comes. It makes no sender and passes every uid rule."""

import errno
import os
import socket
import time
from pathlib import Path

from resty_metrics.commands.doctor.socket_file import Outcome, Probe
from resty_metrics.wire.datagram import VERSION, Header, Kind, Verdict, WireError, read_answer, write_datagram

SECONDS = 2.0
_PAUSE_SECONDS = 0.02
_SEQUENCE = 1
_OUTCOMES: dict[int, Outcome] = {
    errno.ECONNREFUSED: "refused",
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.EACCES: "denied",
    errno.EPERM: "refused",  # the socket at the path is connected to another
    errno.EPROTOTYPE: "wrong_type",
    errno.ENOTSOCK: "refused",
}


def send(path: Path, seconds: float = SECONDS) -> Probe:
    """Send one and wait for its answer, at most ``seconds`` in all."""
    began = time.monotonic()
    sender = os.urandom(16)
    header = Header(VERSION, Kind.PROBE, sender, time.time_ns() // 1_000_000, _SEQUENCE, 1)
    answers, passed = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with answers, passed, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
            if not _sent(client, write_datagram(header, {}), passed, began + seconds):
                return Probe("full", "", time.monotonic() - began)
        except OSError as error:
            outcome = _OUTCOMES.get(error.errno or 0, "error")
            return Probe(outcome, os.strerror(error.errno or 0), time.monotonic() - began)
        return _answer(answers, sender, began, began + seconds)


def _sent(client: socket.socket, datagram: bytes, passed: socket.socket, ends: float) -> bool:
    """Send the datagram with its descriptor. Return False if the queue stays full until ``ends``."""
    while True:
        try:
            socket.send_fds(client, [datagram], [passed.fileno()])
        except BlockingIOError:
            if time.monotonic() > ends:
                return False
            time.sleep(_PAUSE_SECONDS)
        else:
            return True


def _answer(answers: socket.socket, sender: bytes, began: float, ends: float) -> Probe:
    answers.settimeout(max(0.001, ends - time.monotonic()))
    try:
        answer = read_answer(answers.recv(64))
    except TimeoutError:
        return Probe("no_answer", f"waited {SECONDS:g} s", time.monotonic() - began)
    except WireError as error:
        return Probe("stranger", str(error), time.monotonic() - began)
    seconds = time.monotonic() - began
    if answer.sender != sender:
        return Probe("stranger", "it names another sender", seconds)
    if answer.verdict is not Verdict.ACK:
        return Probe("held", answer.reason.name.lower(), seconds)
    return Probe("answered", "", seconds)
