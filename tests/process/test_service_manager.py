"""What a service manager hears: of a real collector, on a real socket."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from resty_metrics.process.service_manager import status, watchdog_seconds
from support.collector import COMMAND, Collector
from support.full_pipe import blocked_in_write, fill, main_thread_held, small_pipe
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

BEAT_SECONDS = 0.1
USEC = str(int(2 * BEAT_SECONDS * 1e6))


@pytest.fixture(params=["", "@"], ids=["file", "abstract"])
def manager(request: pytest.FixtureRequest, shared: Path) -> Iterator[socket.socket]:
    """A service manager's socket."""
    with bound(f"{request.param}{shared}/notify.sock") as sock:
        yield sock


@contextlib.contextmanager
def bound(name: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(20)
        yield sock


def name_of(manager: socket.socket) -> str:
    name = manager.getsockname()
    return "@" + name[1:].decode() if isinstance(name, bytes) else str(name)


def hear(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().splitlines()


def hear_all(manager: socket.socket) -> list[str]:
    """What is queued."""
    lines = []
    manager.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            lines += hear(manager)
    manager.settimeout(20)
    return lines


def test_ready_when_page_and_socket_are_there_then_beats_then_stopping(
    manager: socket.socket, shared: Path, socket_path: Path
) -> None:
    collector = Collector(socket_path, environment={"NOTIFY_SOCKET": name_of(manager), "WATCHDOG_USEC": USEC})
    with collector:
        assert hear(manager) == ["READY=1", "STATUS=collecting"]
        for _ in range(3):
            assert hear(manager) == ["WATCHDOG=1", "STATUS=collecting"]
        assert collector.terminate() == 0
        assert hear_all(manager)[-1] == "STOPPING=1"


def test_ready_is_not_said_before_both_can_be_used(shared: Path, socket_path: Path) -> None:
    port, began = free_port(), time.monotonic()
    with bound(f"{shared}/notify.sock") as manager:
        words = [COMMAND, "serve", f"--socket.path={socket_path}", f"--web.listen-address=127.0.0.1:{port}"]
        environment = {**os.environ, "NOTIFY_SOCKET": name_of(manager)}
        process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert hear(manager)[0] == "READY=1", f"after {time.monotonic() - began} s"
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as worker:
                worker.connect(str(socket_path))
        finally:
            process.terminate()
            process.wait(timeout=10)


def test_a_reload_is_announced_and_ends(shared: Path, socket_path: Path) -> None:
    with (
        bound(f"{shared}/notify.sock") as manager,
        Collector(socket_path, environment={"NOTIFY_SOCKET": name_of(manager)}) as collector,
    ):
        assert hear(manager)[0] == "READY=1"
        collector.signal(signal.SIGHUP)
        assert [hear(manager), hear(manager)] == [["RELOADING=1"], ["READY=1"]]


def test_a_beat_that_another_process_is_asked_for_is_not_ours(shared: Path, socket_path: Path) -> None:
    with bound(f"{shared}/notify.sock") as manager:
        environment = {"NOTIFY_SOCKET": name_of(manager), "WATCHDOG_USEC": USEC, "WATCHDOG_PID": "1"}
        with Collector(socket_path, environment=environment) as collector:
            assert hear(manager)[0] == "READY=1"
            manager.settimeout(10 * BEAT_SECONDS)
            with pytest.raises(TimeoutError):
                hear(manager)
            manager.settimeout(20)
            collector.terminate()
            assert hear(manager) == ["STOPPING=1"]


def test_what_is_degraded_is_in_the_status(shared: Path, socket_path: Path) -> None:
    with bound(f"{shared}/notify.sock") as manager:
        environment = {"NOTIFY_SOCKET": name_of(manager), "WATCHDOG_USEC": USEC}
        (shared / "file").touch()
        with Collector(socket_path, f"--state.dir={shared}/file/state", environment=environment):
            wait_until(
                lambda: any("STATUS=degraded: the journal cannot be written" in line for line in hear(manager)),
                message="the degradation",
            )


def test_a_loop_that_hangs_is_silent(shared: Path, socket_path: Path) -> None:
    with bound(f"{shared}/notify.sock") as manager:
        environment = {"NOTIFY_SOCKET": name_of(manager), "WATCHDOG_USEC": USEC}
        with Collector(socket_path, environment=environment) as collector:
            assert [hear(manager)[0], hear(manager)[0]] == ["READY=1", "WATCHDOG=1"]
            with main_thread_held(collector.pid):
                hear_all(manager)
                manager.settimeout(10 * BEAT_SECONDS)
                with pytest.raises(TimeoutError):
                    hear(manager)
            manager.settimeout(20)
            wait_until(lambda: hear(manager)[0] == "WATCHDOG=1", message="a beat")


def test_the_beat_goes_on_while_nobody_reads_the_log(shared: Path, socket_path: Path) -> None:
    with (
        bound(f"{shared}/notify.sock") as manager,
        small_pipe() as (_, writing),
        serving(socket_path, manager, writing) as process,
    ):
        assert [hear(manager)[0], hear(manager)[0]] == ["READY=1", "WATCHDOG=1"]
        fill(writing)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: blocked_in_write(process.pid), message="a log line to hang")
        hear_all(manager)
        assert [hear(manager)[0] for _ in range(5)] == ["WATCHDOG=1"] * 5


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_the_watchdog_ends_a_collector_whose_log_nobody_reads(shared: Path, socket_path: Path, kind: str) -> None:
    with bound(f"{shared}/notify.sock") as manager, contextlib.ExitStack() as stack:
        if kind == "pipe":
            _, writing = stack.enter_context(small_pipe())
        else:  # as journald's
            _, writer = map(stack.enter_context, socket.socketpair())
            writing = writer.fileno()
        with serving(socket_path, manager, writing) as process:
            assert [hear(manager)[0], hear(manager)[0]] == ["READY=1", "WATCHDOG=1"]
            fill(writing)
            process.send_signal(signal.SIGABRT)
            assert process.wait(timeout=20) == -signal.SIGABRT


@contextlib.contextmanager
def serving(socket_path: Path, manager: socket.socket, stderr: int) -> Iterator["subprocess.Popen[bytes]"]:
    words = [COMMAND, "serve", f"--socket.path={socket_path}", f"--web.listen-address=127.0.0.1:{free_port()}"]
    environment = {**os.environ, "NOTIFY_SOCKET": name_of(manager), "WATCHDOG_USEC": USEC}
    process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def test_who_is_ended_by_the_watchdog_says_where_it_hung(shared: Path, socket_path: Path) -> None:
    with bound(f"{shared}/notify.sock") as manager:
        environment = {"NOTIFY_SOCKET": name_of(manager), "WATCHDOG_USEC": USEC}
        with Collector(socket_path, environment=environment) as collector:
            assert [hear(manager)[0], hear(manager)[0]] == ["READY=1", "WATCHDOG=1"]
            collector.signal(signal.SIGABRT)
            assert collector.process is not None
            assert collector.process.wait(timeout=20) == -signal.SIGABRT
            assert "most recent call first" in collector.log()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_time(environment: dict[str, str], expected: float | None) -> None:
    assert watchdog_seconds(environment, 7) == expected


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([], "STATUS=collecting"),
        (["degraded: one\nREADY=0", "degraded: two"], "STATUS=degraded: one READY=0; degraded: two"),
        (["é" * 300], "STATUS=" + "é" * 200),
    ],
)
def test_the_status_is_one_line(faults: list[str], expected: str) -> None:
    assert status(faults) == expected
