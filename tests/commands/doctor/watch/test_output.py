"""Lines out: to readers of all kinds, among them those that do not read."""

import os
import pty
import select
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from resty_metrics.commands.doctor.watch import output as module
from resty_metrics.commands.doctor.watch.output import Output


def excuse(count: int) -> str:
    return f"{count} left out"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_a_line_goes_out_at_once(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    with closing(Output(writer, excuse)) as output:
        output.say("a")
        output.say("\udcff…")
        assert not output.waiting
        assert os.read(reader, 100) == "a\n\\udcff…\n".encode()
    assert os.get_blocking(writer), "those who share the pipe must not notice"


def test_a_reader_that_does_not_read_is_told_what_it_missed(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 64 * 1024)
    reader, writer = pipe
    with closing(Output(writer, excuse)) as output:
        for _ in range(200):
            output.say("x" * 1023)
        assert output.waiting
        assert len(os.read(reader, 1 << 20)) == 64 * 1024
        output.flush()
        output.say("after")
        os.set_blocking(reader, False)
        text = b""
        while not text.endswith(b"after\n"):
            text += os.read(reader, 1 << 20)
            output.flush()
    lines = text.decode().splitlines()
    assert lines[-2:] == ["72 left out", "after"]
    assert len(lines) == 64 + 2


def test_what_is_left_at_the_end_waits_for_a_slow_reader_but_not_for_ever(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_SECONDS", 0.05)
    output = Output(pipe[1], excuse)
    for _ in range(100):
        output.say("x" * 1023)
    before = time.monotonic()
    output.close()
    assert 0.05 <= time.monotonic() - before < 10


def test_a_reader_that_went_away(pipe: tuple[int, int]) -> None:
    with closing(Output(pipe[1], excuse)) as output:
        os.close(pipe[0])
        output.say("a")
        assert output.broken
        output.say("b")


def test_a_terminal_that_is_stopped() -> None:
    """As Ctrl-S does."""
    master, terminal = pty.openpty()
    output = Output(terminal, excuse)
    for _ in range(1000):
        output.say("x" * 100)
    assert output.waiting
    received = 0
    while output.waiting:
        select.select([master], [], [], 10)
        received += len(os.read(master, 65536))
        output.flush()
    output.close()
    assert received > 0
    os.close(terminal)
    os.close(master)


def test_a_socket_as_a_journal_has_it() -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        output = Output(writer.fileno(), excuse)
        while not output.waiting:
            output.say("x" * 1000)
        assert writer.getblocking()
        reader.settimeout(10)
        while output.waiting:
            reader.recv(1 << 20)
            output.flush()
        reader.close()
        output.say("a")
        assert output.broken
        output.close()


def test_a_file_is_added_to(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        file.write("before\n")
        file.flush()
        with closing(Output(file.fileno(), excuse)) as output:
            output.say("a")
    assert (tmp_path / "out").read_text() == "before\na\n"


def test_no_descriptor_is_left(pipe: tuple[int, int]) -> None:
    near, far = socket.socketpair()
    with near, far:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for descriptor in (pipe[1], near.fileno()):
            Output(descriptor, excuse).close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before
