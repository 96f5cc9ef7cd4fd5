"""The command line: what it prints, what it touches, how it ends."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import click
import pytest
from support.collector import COMMAND, Collector
from support.wait import wait_until

from collector.cli import serve
from collector.ingest.wire import Header, Kind, write_datagram

Listing = dict[str, tuple[int, int, int, int]]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
    )


def listing(directory: Path) -> Listing:
    """Every file below a directory: inode, mode, size, time of change."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)
    return found


HARMLESS = [
    ("-V",),
    ("--version",),
    ("--help",),
    ("-h",),
    (),
    ("serve", "--help"),
    ("serve", "-V"),
    ("serve", "--no-such-flag"),
    ("serve", "--socket.mode=rwx"),
    ("serve", "--web.listen-address=nowhere"),
    ("serve", "surplus"),
    ("no-such-command",),
    ("-x",),
]


@pytest.mark.parametrize("arguments", HARMLESS, ids=" ".join)
def test_touches_nothing_where_nothing_runs(shared: Path, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, RESTY_METRICS_SOCKET_PATH=str(shared / "run" / "collector.sock"))
    assert listing(shared) == {}
    assert done.returncode in (0, 2)


@pytest.mark.parametrize("arguments", [*HARMLESS, ("serve",)], ids=" ".join)
def test_touches_nothing_where_a_collector_runs(running: Collector, arguments: tuple[str, ...]) -> None:
    directory = running.socket_path.parent
    before = listing(directory)
    done = run(*arguments, RESTY_METRICS_SOCKET_PATH=str(running.socket_path), RESTY_METRICS_WEB_LISTEN_ADDRESS=":0")
    assert done.returncode in (0, 2, 3)
    assert listing(directory) == before
    assert running.value("resty_metrics_socket_up") == 1


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> object:
    with Collector(tmp_path_factory.mktemp("run") / "collector.sock") as collector:
        yield collector


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(flag: str) -> None:
    done = run(flag)
    assert done.returncode == 0
    assert re.fullmatch(r"resty-metrics \d+\.\d+\.\d+\n", done.stdout)
    assert done.stderr == ""


def test_bare_prints_help() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: resty-metrics")
    assert "serve" in done.stdout


WRONG = [
    (("serve", "--no-such-flag"), "--no-such-flag"),
    (("no-such-command",), "no-such-command"),
    (("serve", "--socket.mode=rwx"), "--socket.mode"),
    (("serve", "--socket.path=relative"), "--socket.path"),
    (("serve", "--socket.path=/" + "x" * 120), "--socket.path"),
    (("serve", "--socket.allow-uid=no-such-user"), "--socket.allow-uid"),
    (("serve", "--source.vts=ftp://h/"), "--source.vts"),
    (("serve", "--source.stub-status=h"), "--source.stub-status"),
    (("serve", "--web.listen-address=:70000"), "--web.listen-address"),
    (("serve", "--web.telemetry-path=metrics"), "--web.telemetry-path"),
    (("serve", "--log.level=loud"), "--log.level"),
    (("serve", "--log.format=xml"), "--log.format"),
]


@pytest.mark.parametrize(("arguments", "named"), WRONG, ids=[named for _, named in WRONG])
def test_a_wrong_flag_is_named(arguments: tuple[str, ...], named: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert named in done.stderr


def flags() -> list[str]:
    return [option.opts[0] for option in serve.params if isinstance(option, click.Option)]


def test_the_flags_are_those_that_are_documented() -> None:
    assert set(flags()) == {
        "--socket.path", "--socket.mode", "--socket.allow-uid", "--state.dir", "--source.stub-status", "--source.vts",
        "--web.listen-address", "--web.telemetry-path", "--log.level", "--log.format",
    }  # fmt: skip


@pytest.mark.parametrize("flag", [flag for flag in flags() if flag not in ("--state.dir",)])
def test_each_flag_has_its_variable(flag: str) -> None:
    """A wrong value in the variable is refused as it is in the flag, and says where it came from."""
    variable = "RESTY_METRICS_" + flag.removeprefix("--").replace(".", "_").replace("-", "_").upper()
    done = run("serve", **{variable: "not/good value"})
    assert done.returncode == 2
    assert variable in run("serve", "--help").stdout.replace("\n", "")
    assert flag in done.stderr


def test_a_second_start_says_who_runs_and_exits_3(running: Collector) -> None:
    done = run("serve", f"--socket.path={running.socket_path}", "--web.listen-address=127.0.0.1:0")
    assert done.returncode == 3
    assert f"process {running.pid} already collects" in done.stderr
    assert "nothing was touched" in done.stderr


def test_a_taken_port_is_said_and_no_socket_is_made(shared: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", f"--socket.path={shared}/collector.sock", f"--web.listen-address=127.0.0.1:{port}")
    assert done.returncode == 1
    assert "--web.listen-address" in done.stderr
    assert [path.name for path in shared.iterdir()] == ["collector.sock.lock"]


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("serve", f"--socket.path={tmp_path}/file/collector.sock")
    assert done.returncode == 1
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


def batch(sequence: int) -> bytes:
    family = {"name": "sent_total", "type": "counter", "labels": [], "columns": ["value"], "rows": [[1]]}
    return write_datagram(Header(1, Kind.BATCH, b"s" * 16, 1, sequence, 1), {"families": [family]})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_socket_and_exits_0(shared: Path, number: signal.Signals) -> None:
    """What was queued when the signal came is answered before the end."""
    worker, passed = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    worker.settimeout(5)
    with Collector(shared / "collector.sock") as collector, worker, passed:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(collector.socket_path))
            collector.signal(signal.SIGSTOP)
            for sequence in range(1, 6):
                socket.send_fds(sender, [batch(sequence)], [passed.fileno()])
            began = time.monotonic()
            collector.signal(number)
            collector.signal(signal.SIGCONT)
            assert collector.process is not None
            assert collector.process.wait(timeout=10) == 0
            assert time.monotonic() - began < 2
        answer = worker.recv(64)
        assert int.from_bytes(answer[32:40], "big") == 5
        assert collector.socket_path.is_socket()


def test_sighup_does_not_end_it(running: Collector) -> None:
    running.signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP" in running.log(), message="a line about SIGHUP")
    assert running.ready()


def test_the_page_on_a_unix_socket(shared: Path) -> None:
    words = [COMMAND, "serve", f"--socket.path={shared}/collector.sock", f"--web.listen-address=unix:{shared}/web.sock"]
    for _ in range(2):  # the second one finds the leftover of the first
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: b" 200 OK" in ask(shared / "web.sock"), message="an answer over the unix socket")
        finally:
            process.kill()
            process.wait(timeout=10)


def ask(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
        except OSError:
            return b""
        client.sendall(b"GET /-/ready HTTP/1.0\r\n\r\n")
        return client.recv(4096)


def test_json_log_lines(shared: Path) -> None:
    with Collector(shared / "collector.sock", "--log.format=json") as collector:
        lines = collector.log().splitlines()
    assert lines
    assert all(line.startswith('{"ts": "') and '"level": "info"' in line for line in lines)


def test_a_free_port_of_its_own(shared: Path) -> None:
    """A second collector on another socket is nobody's business."""
    with Collector(shared / "one.sock") as one, Collector(shared / "two.sock") as two:
        assert one.port != two.port
        assert one.ready()
        assert two.ready()
