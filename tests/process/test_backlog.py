"""A log that nobody reads: nothing waits for it, and what it lost is counted and said."""

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from resty_metrics.process.backlog import FLUSH_SECONDS, MAX_LINES, Backlog
from support.client import ask
from support.collector import COMMAND, Collector
from support.full_pipe import BYTES, blocked_in_write, fill, small_pipe
from support.nginx import Nginx
from support.wait import free_port, wait_until


def log(backlog: Backlog, text: str, *arguments: object) -> None:
    backlog.handle(logging.LogRecord("resty-metrics", logging.WARNING, __file__, 1, text, arguments, None))


def read(reading: int) -> str:
    """What is in a pipe now."""
    os.set_blocking(reading, False)
    data = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(reading, BYTES):
            data += piece
    return data.decode()


def test_lines_are_written_in_order() -> None:
    with small_pipe() as (reading, writing):
        backlog = Backlog(writing)
        for number in range(10):
            log(backlog, f"line {number}")
        backlog.flush()
        assert read(reading).splitlines() == [f"line {number}" for number in range(10)]
        assert backlog.dropped == 0


def test_what_does_not_fit_is_dropped_counted_and_said_in_its_place() -> None:
    with small_pipe() as (reading, writing):
        backlog = Backlog(writing)
        fill(writing)
        log(backlog, "in the thread's hands")
        wait_until(lambda: blocked_in_write(os.getpid()), message="the thread to hang")
        for number in range(MAX_LINES + 7):
            log(backlog, f"line {number}")
        assert backlog.dropped == 7
        output = ""

        def line_is_there(text: str) -> bool:
            nonlocal output
            output += read(reading)
            return text in output

        wait_until(lambda: line_is_there("dropped"), message="the report")
        log(backlog, "the last")
        wait_until(lambda: line_is_there("the last"), message="the last line")
        lines = output.lstrip("x").splitlines()
        assert lines[0] == "in the thread's hands"
        assert lines[1:-2] == [f"line {number}" for number in range(MAX_LINES)]
        assert lines[-2:] == ["log lines were dropped because stderr did not accept them", "the last"]
        assert backlog.dropped == 7


def test_a_flush_waits_for_nobody() -> None:
    with small_pipe() as (_, writing):
        backlog = Backlog(writing)
        fill(writing)
        log(backlog, "a line")
        began = time.monotonic()
        backlog.flush()
        assert FLUSH_SECONDS <= time.monotonic() - began < 5


def test_a_reader_that_has_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    backlog = Backlog(writing)
    log(backlog, "first")
    log(backlog, "second")
    backlog.flush()
    assert backlog.dropped == 2
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_that_has_room_again(tmp_path: Path) -> None:
    writing = os.open("/dev/full", os.O_WRONLY)
    backlog = Backlog(writing)
    log(backlog, "lost")
    backlog.flush()
    with (tmp_path / "log").open("wb") as file:
        os.dup2(file.fileno(), writing)
    log(backlog, "kept")
    backlog.flush()
    os.close(writing)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["log lines were dropped because stderr did not accept them", "kept"]
    assert backlog.dropped == 1


def test_a_file_that_others_have_made_non_blocking() -> None:
    with small_pipe() as (reading, writing):
        os.set_blocking(writing, False)
        backlog, text = Backlog(writing), "y" * 3 * BYTES
        log(backlog, text)
        output = ""

        def all_of_it() -> bool:
            nonlocal output
            output += read(reading)
            return output == text + "\n"

        wait_until(all_of_it, message="the whole line")
        assert backlog.dropped == 0


def test_a_line_that_cannot_be_formatted_costs_itself() -> None:
    with small_pipe() as (reading, writing):
        backlog = Backlog(writing)
        log(backlog, "%d", "no number")
        log(backlog, "next")
        log(backlog, "half a pair: \ud800")
        backlog.flush()
        bug, *rest = read(reading).splitlines()
        assert bug == "a log line cannot be formatted because of a bug, please report it"
        assert rest == ["next", "half a pair: \\ud800"]


def test_where_no_thread_can_be_had_the_lines_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with small_pipe() as (reading, writing):
        backlog = Backlog(writing)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            log(backlog, "first")
            backlog.flush()
        assert read(reading) == ""
        log(backlog, "second")
        backlog.flush()
        assert read(reading).splitlines() == ["first", "second"]


def make_lines(collector: Collector, number: int) -> None:
    """Have the collector read its configuration again, which is a log line each time."""
    for _ in range(number):
        collector.reload()


def dropped(collector: Collector) -> float:
    return collector.value("resty_metrics_log_dropped_lines_total") or 0.0


@pytest.mark.slow
def test_a_collector_whose_log_nobody_reads(socket_path: Path) -> None:
    port = free_port()
    site = f"server {{ listen 127.0.0.1:{port}; server_name one.example; location / {{ return 200; }} }}"
    with (
        small_pipe() as (reading, writing),
        Collector(socket_path, "--web.enable-lifecycle", stderr=writing) as collector,
        Nginx(socket_path, site, workers=1) as nginx,
    ):
        fill(writing)
        make_lines(collector, MAX_LINES + 50)
        assert blocked_in_write(collector.pid)
        ask(port)
        wait_until(lambda: sum(collector.request_counts().values()) == 1, message="the request on the page")
        assert dropped(collector) >= 49
        assert nginx.errors() == []
        text = ""

        def reported() -> bool:
            nonlocal text
            text += read(reading)
            return "log lines were dropped" in text

        wait_until(reported, message="the report")
        fill(writing)
        assert collector.terminate() == 0


@pytest.mark.slow
def test_the_end_waits_for_no_log(socket_path: Path) -> None:
    with small_pipe() as (_, writing), Collector(socket_path, stderr=writing) as collector:
        fill(writing)
        assert collector.terminate() == 0


@pytest.mark.slow
def test_a_start_that_is_refused_waits_for_no_log(socket_path: Path) -> None:
    with Collector(socket_path), small_pipe() as (_, writing):
        fill(writing)
        words = [COMMAND, "serve", f"--socket.path={socket_path}", "--web.listen-address=127.0.0.1:0"]
        assert subprocess.run(words, stderr=writing, timeout=30).returncode == 3


@pytest.mark.slow
@pytest.mark.parametrize("closed", [[2], [0], [0, 1, 2]], ids=str)
def test_closed_descriptors(socket_path: Path, closed: Sequence[int]) -> None:
    """No file of ours gets their numbers, and the end is as it always is."""
    redirections = " ".join(f"{number}>&-" for number in closed)
    collector = Collector(socket_path, under=["sh", "-c", f'exec "$@" {redirections}', "sh"])
    with collector:
        for number in closed:
            assert Path(f"/proc/{collector.pid}/fd/{number}").readlink() == Path(os.devnull)
        collector.signal(signal.SIGHUP)
        assert collector.page("/-/healthy")
        assert collector.terminate() == 0


@pytest.mark.slow
def test_a_reader_that_has_gone_costs_the_collector_nothing(socket_path: Path) -> None:
    reading, writing = os.pipe()
    with Collector(socket_path, "--web.enable-lifecycle", stderr=writing) as collector:
        os.close(reading)
        make_lines(collector, 3)
        wait_until(lambda: dropped(collector) >= 3, message="the count")
        assert collector.terminate() == 0
    os.close(writing)
