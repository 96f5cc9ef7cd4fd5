"""The listener to process events: a real one, and what a kernel says that refuses."""

import errno
import os
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from resty_metrics.commands.doctor.watch import connector as module
from resty_metrics.commands.doctor.watch import process_events
from resty_metrics.commands.doctor.watch.connector import Connector
from resty_metrics.commands.doctor.watch.errors import RefusedError
from resty_metrics.commands.doctor.watch.process_events import Answer, Ended, Executed, Forked, Lost, ProcessEvent
from support.wait import wait_until


def connector() -> Connector:
    try:
        return Connector()
    except RefusedError as error:
        pytest.skip(str(error))


def test_the_life_of_a_process() -> None:
    with closing(connector()) as listener:
        process = subprocess.Popen(["/bin/sh", "-c", "exit 3"])
        process.wait(timeout=20)
        events: list[ProcessEvent] = []

        def ended() -> bool:
            events.extend(listener.read())
            return Ended(process.pid, 3 << 8) in events

        wait_until(ended)
    assert Executed(process.pid) in events
    assert any(isinstance(event, Forked) and event.child == process.pid for event in events)


def test_what_does_not_fit_is_told_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUFFER_BYTES", 1)
    with closing(connector()) as listener:
        for _ in range(40):
            subprocess.run(["/bin/true"], check=True)
        wait_until(lambda: Lost() in listener.read())


@pytest.mark.parametrize(
    ("call", "number", "capability", "words"),
    [
        ("bind", errno.EPERM, "CAP_NET_ADMIN", "administrator of the network"),
        ("sendto", errno.EPERM, "CAP_NET_ADMIN", "administrator of the network"),
        ("sendto", errno.ECONNREFUSED, None, "initial network"),
        ("sendto", errno.EINVAL, None, "refuses"),
    ],
)
def test_a_kernel_that_refuses(
    monkeypatch: pytest.MonkeyPatch, call: str, number: int, capability: str | None, words: str
) -> None:
    """An older one does so at the bind, where ours no longer does."""

    class Refusing(socket.socket):
        pass

    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    setattr(Refusing, call, refuse)
    monkeypatch.setattr("resty_metrics.commands.doctor.watch.connector.socket.socket", Refusing)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(RefusedError, match=words) as refused:
        Connector()
    assert refused.value.capability == capability
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def answering(events: list[ProcessEvent]) -> Callable[[bytes], list[ProcessEvent]]:
    return lambda data: events


def test_a_kernel_that_answers_no(monkeypatch: pytest.MonkeyPatch) -> None:
    connector().close()
    monkeypatch.setattr(process_events, "parse", answering([Answer(os.getpid(), errno.EPERM)]))
    with pytest.raises(RefusedError) as refused:
        Connector()
    assert refused.value.capability == "CAP_NET_ADMIN"


def test_a_kernel_that_answers_others_only(monkeypatch: pytest.MonkeyPatch) -> None:
    connector().close()
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(process_events, "parse", answering([Answer(0, 0)]))
    with pytest.raises(RefusedError, match="does not answer"):
        Connector()
