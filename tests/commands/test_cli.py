"""The command line: what it prints, what it touches, how it ends."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from resty_metrics import app
from resty_metrics.commands.cli import main, serve
from resty_metrics.commands.install.interruption import handlers_kept
from resty_metrics.config import values
from resty_metrics.config.values import TcpAddress, UnixAddress
from resty_metrics.wire.datagram import VERSION, Header, Kind, Reason, Verdict, write_datagram
from support.collector import COMMAND, Collector
from support.users import NOBODY, as_user
from support.wait import free_port, wait_until
from support.worker import Worker, counter

Listing = dict[str, tuple[int, int, int, bytes]]


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
    """Every file below a directory: inode, mode, time of change, bytes."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_ino, status.st_mode, status.st_mtime_ns, content)
    return found


HARMLESS = [
    ("-V", 0),
    ("--version", 0),
    ("--help", 0),
    ("-h", 0),
    ("", 0),
    ("serve --help", 0),
    ("serve -V", 2),
    ("serve --no-such-flag", 2),
    ("serve --socket.mode=rwx", 2),
    ("serve --web.listen-address=nowhere", 2),
    ("serve surplus", 2),
    ("no-such-command", 2),
    ("-x", 2),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with Collector(tmp_path_factory.mktemp("run") / "collector.sock") as collector:
        yield collector


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a collector that was killed leaves: its socket and its lock."""
    directory = tmp_path_factory.mktemp("left")
    with Collector(directory / "collector.sock") as collector:
        collector.kill()
    assert {"collector.sock", "collector.sock.lock"} <= {path.name for path in directory.iterdir()}
    return directory


@pytest.mark.parametrize(("arguments", "status"), HARMLESS)
def test_touches_nothing_where_nothing_runs(left: Path, arguments: str, status: int) -> None:
    before = listing(left)
    done = run(
        *arguments.split(),
        RESTY_METRICS_SOCKET_PATH=str(left / "collector.sock"),
        RESTY_METRICS_STATE_DIR=str(left / "state"),
        RESTY_METRICS_WEB_LISTEN_ADDRESS=f"unix:{left}/collector.sock",
    )
    assert done.returncode == status
    assert listing(left) == before


@pytest.mark.parametrize(("arguments", "status"), [*HARMLESS, ("serve", 3)])
def test_touches_nothing_where_a_collector_runs(running: Collector, arguments: str, status: int) -> None:
    directory = running.socket_path.parent
    before = listing(directory)
    done = run(
        *arguments.split(),
        RESTY_METRICS_SOCKET_PATH=str(running.socket_path),
        RESTY_METRICS_WEB_LISTEN_ADDRESS="127.0.0.1:0",
    )
    assert done.returncode == status
    assert listing(directory) == before
    assert running.value("resty_metrics_socket_up") == 1


def test_a_directory_that_is_missing_is_not_made(tmp_path: Path) -> None:
    for arguments in ("-V", "--help", "serve --help", "serve --no-such-flag"):
        run(*arguments.split(), RESTY_METRICS_SOCKET_PATH=str(tmp_path / "run" / "collector.sock"))
    assert listing(tmp_path) == {}


def test_what_is_heavy_is_not_imported_for_a_line_of_text() -> None:
    code = "from resty_metrics.commands.cli import main; main(['-V'], standalone_mode=False)"
    script = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {
        "aiohttp",
        "asyncio",
        "uvloop",
        "prometheus_client",
        "pydantic",
        "yaml",
        "yarl",
        "resty_metrics.app",
    }.isdisjoint(done.stdout.split())


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "resty_metrics", "-V"], capture_output=True, text=True, check=True)
    assert done.stdout == run("-V").stdout


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


def refused(*arguments: str, **environment: str) -> Result:
    """Run the command line in this process, which is cheaper by the start of an interpreter."""
    with handlers_kept(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(app, "run", lambda *_: pytest.fail("a collector would have started"))
        done = CliRunner().invoke(main, arguments, env=environment)
    assert isinstance(done.exception, SystemExit), done.exception
    return done


WRONG = [
    (("serve", "--no-such-flag"), "--no-such-flag"),
    (("no-such-command",), "no-such-command"),
    (("serve", "--socket.mode=rwx"), "--socket.mode"),
    (("serve", "--socket.path=relative"), "--socket.path"),
    (("serve", "--socket.path=/" + "x" * 120), "--socket.path"),
    (("serve", "--socket.path=/"), "--socket.path"),
    (("serve", "--socket.allow-uid=no-such-user"), "--socket.allow-uid"),
    (("serve", f"--state.dir={__file__}"), "--state.dir"),
    (("serve", "--state.dir=relative"), "--state.dir"),
    (("serve", "--source.vts=ftp://h/"), "--source.vts"),
    (("serve", "--source.stub-status=h"), "--source.stub-status"),
    (("serve", "--source.vts=http://h/", "--source.vts=http://g/"), "--source.vts=a=URL"),
    (("serve", "--source.stub-status=a=http://h/", "--source.stub-status=a=http://g/"), "--source.stub-status=a=URL"),
    (("serve", "--web.listen-address=:70000"), "--web.listen-address"),
    (("serve", "--web.telemetry-path=metrics"), "--web.telemetry-path"),
    (("serve", "--web.telemetry-path=/a{b"), "--web.telemetry-path"),
    (("serve", "--web.config.file="), "--web.config.file"),
    (("serve", "--source.vts=http://h/", "--source.timeout=0"), "--source.timeout"),
    (("serve", "--source.vts=http://h/", "--source.host=a b"), "--source.host"),
    (("serve", "--source.timeout=3s"), "--source.timeout: applies only to sources given by"),
    (("serve", "--web.max-connections=-1"), "--web.max-connections"),
    (("serve", "--web.max-requests=many"), "--web.max-requests"),
    (("serve", "--log.level=loud"), "--log.level"),
    (("serve", "--log.format=xml"), "--log.format"),
]


@pytest.mark.parametrize(("arguments", "named"), WRONG, ids=[named for _, named in WRONG])
def test_a_wrong_flag_is_named(arguments: tuple[str, ...], named: str) -> None:
    done = refused(*arguments)
    assert done.exit_code == 2
    assert named in done.stderr


def flags() -> list[str]:
    return [option.opts[0] for option in serve.params if isinstance(option, click.Option)]


def test_the_flags_are_those_that_are_documented() -> None:
    assert set(flags()) == {
        "--config.file", "--socket.path", "--socket.mode", "--socket.allow-uid", "--state.dir", "--source.stub-status",
        "--source.vts", "--source.vts.derived", "--source.timeout", "--source.host", "--source.tls.ca-file",
        "--source.tls.cert-file", "--source.tls.key-file", "--source.tls.server-name",
        "--source.tls.insecure-skip-verify", "--source.basic-auth.username", "--source.basic-auth.password-file",
        "--source.bearer-token-file",
        "--web.listen-address", "--web.telemetry-path", "--web.config.file", "--web.enable-lifecycle",
        "--web.max-connections", "--web.max-requests", "--log.level", "--log.format", "--rows.expire",
    }  # fmt: skip


@pytest.mark.parametrize("flag", flags())
def test_each_flag_has_its_variable(flag: str) -> None:
    """A wrong value in the variable is refused as it is in the flag, and says where it came from."""
    variable = "RESTY_METRICS_" + flag.removeprefix("--").replace(".", "_").replace("-", "_").upper()
    done = refused("serve", **{variable: __file__ if flag == "--state.dir" else "not/good value/"})
    assert done.exit_code == 2
    assert flag in done.stderr
    assert variable in done.stderr


def shown(*arguments: str) -> str:
    """A command's help, at the width of a terminal, without line ends."""
    return " ".join(CliRunner().invoke(main, [*arguments, "--help"], terminal_width=100).stdout.split())


def test_help_says_how_each_variable_is_called() -> None:
    """By a rule that each of them follows; docs/configuration.md lists them."""
    rule = "Each option can also be set by an environment variable: --socket.allow-uid by "
    assert rule + "RESTY_METRICS_SOCKET_ALLOW_UID." in shown("serve")
    for option in serve.params:
        assert isinstance(option, click.Option)
        assert option.envvar == "RESTY_METRICS_" + option.opts[0][2:].upper().replace(".", "_").replace("-", "_")
    assert "Each option except --json, --problems, --watch can also be set" in shown("doctor")


def test_the_first_steps_and_the_most_used_options_come_first() -> None:
    help_text = CliRunner().invoke(main, ["--help"]).stdout
    commands = re.findall(r"^  ([a-z-]+)  ", help_text.partition("Commands:")[2], re.MULTILINE)
    assert commands == [
        "serve",
        "install",
        "doctor",
        "top",
        "cost",
        "check-config",
        "healthcheck",
        "export",
        "uninstall",
    ]
    assert help_text.index("First steps:") < help_text.index("Commands:")
    first = shown("serve").partition("Most used options:")[2].partition("Socket and journal:")[0]
    assert re.findall(r"--[a-z.-]+", first) == [
        "--config.file", "--web.listen-address", "--socket.path", "--socket.allow-uid", "--state.dir",
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(main.commands))
def test_each_help_names_every_option_once_and_the_exit_statuses(name: str) -> None:
    command, text = main.commands[name], CliRunner().invoke(main, [name, "--help"]).stdout
    listed = re.findall(r"^  (?:-\w, )?(--[a-z.-]+)", text, re.MULTILINE)
    flags = [one for option in command.params if isinstance(option, click.Option) for one in option.opts]
    assert sorted(listed) == sorted([*(one for one in flags if one.startswith("--")), "--help"])
    assert name == "export" or re.search(r"^Exit status:\n  0 ", text, re.MULTILINE)


def test_started_by_variables_alone_but_for_one_flag_that_wins(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "RESTY_METRICS_SOCKET_PATH": str(tmp_path / "c.sock"),
        "RESTY_METRICS_SOCKET_MODE": "0600",
        "RESTY_METRICS_SOCKET_ALLOW_UID": "12345 54321",
        "RESTY_METRICS_SOURCE_STUB_STATUS": f"one=unix:{tmp_path}/none:/ two=unix:{tmp_path}/none:/",
        "RESTY_METRICS_WEB_LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "RESTY_METRICS_WEB_TELEMETRY_PATH": "/numbers",
        "RESTY_METRICS_LOG_LEVEL": "error",
    }
    process = subprocess.Popen(
        [COMMAND, "serve", "--socket.mode=0660"], env=os.environ | environment, stderr=subprocess.PIPE
    )
    try:
        page = wait_until(lambda: fetched(f"http://127.0.0.1:{port}/numbers"), message="the page")
        assert stat.S_IMODE((tmp_path / "c.sock").stat().st_mode) == 0o660
    finally:
        process.terminate()
        log = process.communicate(timeout=10)[1]
    assert log == b""
    for name in ("one", "two"):
        assert f'resty_metrics_source_up{{source="stub_status",nginx="{name}"}} 0' in page


def fetched(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return str(response.read().decode())
    except OSError:
        return ""


LONGEST = "/" + "x" * 97  # of 108 bytes with their end, nine go to the temporary name
READ = [
    (values.read_listen_address, ":19145", TcpAddress(None, 19145)),
    (values.read_listen_address, "127.0.0.1:0", TcpAddress("127.0.0.1", 0)),
    (values.read_listen_address, "[::1]:80", TcpAddress("::1", 80)),
    (values.read_listen_address, "host.example:65535", TcpAddress("host.example", 65535)),
    (values.read_listen_address, "unix:/run/web.sock", UnixAddress(Path("/run/web.sock"))),
    (values.read_listen_address, f"unix:/{'x' * 106}", UnixAddress(Path("/" + "x" * 106))),
    (values.read_listen_address, f"unix:/{'x' * 107}", None),
    (values.read_listen_address, "unix:web.sock", None),
    (values.read_listen_address, "127.0.0.1", None),
    (values.read_listen_address, "::1:80", None),
    (values.read_listen_address, ":65536", None),
    (values.read_listen_address, ":-1", None),
    (values.read_listen_address, "", None),
    (values.read_mode, "0666", 0o666),
    (values.read_mode, "660", 0o660),
    (values.read_mode, "0o660", None),
    (values.read_mode, "1777", None),
    (values.read_mode, "888", None),
    (values.read_socket_path, "/run/c.sock", Path("/run/c.sock")),
    (values.read_socket_path, "unix:/run/c.sock", Path("/run/c.sock")),
    (values.read_socket_path, LONGEST, Path(LONGEST)),
    (values.read_socket_path, LONGEST + "x", None),
    (values.read_socket_path, "c.sock", None),
    (values.read_socket_path, "/", None),
    (values.read_socket_path, "", None),
    (values.read_telemetry_path, "/metrics", "/metrics"),
    (values.read_telemetry_path, "/", None),
    (values.read_telemetry_path, "/-/ready", None),
    (values.read_telemetry_path, "metrics", None),
    (values.read_telemetry_path, "/a{b}", None),
    (values.read_telemetry_path, "/a?b", None),
    (values.read_telemetry_path, "/a#b", None),
]


@pytest.mark.parametrize(("read", "text", "expected"), READ)
def test_settings(read: Callable[[str], object], text: str, expected: object) -> None:
    """``expected`` None: refused, with words that quote what was given."""
    if expected is None:
        with pytest.raises(ValueError, match=re.escape(repr(text))):
            read(text)
    else:
        assert read(text) == expected


def test_a_second_start_says_who_runs_and_exits_3(running: Collector) -> None:
    done = run("serve", f"--socket.path={running.socket_path}", "--web.listen-address=127.0.0.1:0")
    assert done.returncode == 3
    assert f"another collector, process {running.pid}, holds" in done.stderr
    assert "Nothing was changed" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    with Worker(running.socket_path) as worker:
        worker.send(worker.next_batch(counter("after_total", 1)))
        assert worker.answer() == (Verdict.ACK, Reason.NONE, 1)
    assert running.value("after_total") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("state", ["", "none"])
def test_a_start_by_another_user_cannot_take_the_lock_and_touches_nothing(shared: Path, state: str) -> None:
    """Nor may it read who runs: the lock is the collector's user's alone."""
    with Collector(shared / "run" / "collector.sock") as collector:
        directory = collector.socket_path.parent
        before = {path: path.lstat() for path in (directory, *directory.rglob("*"))}
        words = [f"--state.dir={state or collector.state_dir}", "--web.listen-address=127.0.0.1:0"]
        done = subprocess.run(
            [*as_user(NOBODY), COMMAND, "serve", f"--socket.path={collector.socket_path}", *words],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"cannot open the lock file {collector.socket_path}.lock: permission denied. Run the" in done.stderr
        for path, there in before.items():
            now = path.lstat()
            assert (now.st_ino, now.st_mode, now.st_uid) == (there.st_ino, there.st_mode, there.st_uid), path
        with Worker(collector.socket_path) as worker:
            worker.send(worker.next_batch(counter("after_total", 1)))
            assert worker.answer() == (Verdict.ACK, Reason.NONE, 1)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The message of the only log line: a start that fails says one thing."""
    (line,) = done.stderr.splitlines()
    message = re.search(r'level=error msg="((?:[^"\\\\]|\\\\.)*)"$', line)
    assert message is not None, line
    return str(json.loads(f'"{message[1]}"'))


def test_a_taken_port_is_said_and_no_socket_is_made(shared: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", f"--socket.path={shared}/collector.sock", f"--web.listen-address=127.0.0.1:{port}")
    assert done.returncode == 1
    assert said(done) == (
        f"cannot listen on 127.0.0.1:{port}: the port is in use. Stop the program that uses it "
        f"(sudo ss -ltnp 'sport = :{port}' shows it), or set --web.listen-address to another address."
    )
    assert [path.name for path in shared.iterdir()] == ["collector.sock.lock"]


def test_several_addresses_all_or_none(shared: Path) -> None:
    """The page is at each of them; where one is taken nothing is left of the others."""
    unix, port = f"--web.listen-address=unix:{shared}/web.sock", free_port()
    with Collector(shared / "collector.sock", unix, f"--web.listen-address=127.0.0.1:{port}") as collector:
        assert b" 200 OK" in ask(shared / "web.sock")
        assert "resty_metrics_socket_up 1" in fetched(f"http://127.0.0.1:{port}/metrics")
        assert f"unix:{shared}/web.sock" in collector.log()
    before = set(shared.iterdir())
    with socket.create_server(("127.0.0.1", port)):
        address = f"--web.listen-address=127.0.0.1:{port}"
        other = shared / "other"
        other.mkdir()
        done = run("serve", f"--socket.path={other}/c.sock", f"--web.listen-address=unix:{other}/web.sock", address)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use." in said(done)
    assert [path.name for path in other.iterdir()] == ["c.sock.lock"]
    assert set(shared.iterdir()) == before | {other}


@pytest.mark.parametrize("first", ["127.0.0.1", ""])
def test_an_address_given_twice_is_said_and_no_socket_is_made(shared: Path, first: str) -> None:
    """Also where one covers the other: two sockets may be bound to one port as long as none listens."""
    port = free_port()
    addresses = [f"--web.listen-address={host}:{port}" for host in (first, "127.0.0.1")]
    done = run("serve", f"--socket.path={shared}/collector.sock", "--state.dir=none", *addresses)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use." in said(done)
    assert [path.name for path in shared.iterdir()] == ["collector.sock.lock"]


def test_a_taken_port_leaves_the_socket_of_another_time(left: Path, running: Collector) -> None:
    before = listing(left)
    done = run("serve", f"--socket.path={left}/collector.sock", f"--web.listen-address=127.0.0.1:{running.port}")
    assert done.returncode == 1
    after = listing(left)
    assert after[f"{left}/collector.sock"] == before[f"{left}/collector.sock"]
    assert after.keys() == before.keys()


def test_a_path_that_is_a_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "collector.sock").mkdir()
    done = run("serve", f"--socket.path={tmp_path}/collector.sock", "--web.listen-address=127.0.0.1:0")
    assert done.returncode == 1
    assert said(done) == (
        f"cannot create the socket {tmp_path}/collector.sock: is a directory. "
        "Remove what is there, or set --socket.path to another path."
    )
    assert {path.name for path in tmp_path.iterdir()} == {"collector.sock", "collector.sock.lock"}


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("serve", f"--socket.path={tmp_path}/file/collector.sock")
    assert done.returncode == 1
    assert said(done) == (
        f"cannot create the directory {tmp_path}/file: file exists. Set --socket.path to another path."
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_directory_that_another_user_may_not_make_is_said(shared: Path) -> None:
    (shared / "closed").mkdir(0o755)
    words = ["serve", f"--socket.path={shared}/closed/run/c.sock", "--state.dir=none"]
    done = subprocess.run([*as_user(NOBODY), COMMAND, *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert said(done) == (
        f"cannot create the directory {shared}/closed/run: permission denied. Create it for this user first "
        f"(sudo install -d -o USER {shared}/closed/run), or set --socket.path to another path."
    )
    assert list((shared / "closed").iterdir()) == []


def test_a_link_in_the_place_of_the_lock_is_said(shared: Path) -> None:
    (shared / "c.sock.lock").symlink_to("/etc/passwd")
    done = run("serve", f"--socket.path={shared}/c.sock", "--state.dir=none")
    assert done.returncode == 1
    assert said(done).startswith(f"cannot open the lock file {shared}/c.sock.lock: ")
    assert said(done).endswith("Remove it, or set --socket.path to another path.")


def test_the_start_ends_with_the_next_step_and_an_address_to_click(shared: Path) -> None:
    """Without the step once nginx has sent something."""
    with Collector(shared / "collector.sock") as collector:
        last = f"msg=ready browser={collector.url}/ prometheus={collector.url}/metrics"
        step = f'next="sudo resty-metrics install --socket.path={shared}/collector.sock"'
        wait_until(lambda: "msg=ready" in collector.log(), message="the last line of the start")
        assert collector.log().splitlines()[-1].endswith(f"level=info {last} {step}")
        with Worker(collector.socket_path) as worker:
            worker.send(worker.next_batch(counter("sent_total", 1)))
            assert worker.answer() == (Verdict.ACK, Reason.NONE, 1)
        collector.terminate()
        collector.start()
        wait_until(lambda: collector.log().count("msg=ready") == 2, message="the last line of the second start")
        assert collector.log().splitlines()[-1].endswith(last)


def batch(sequence: int) -> bytes:
    family = {"name": "sent_total", "type": "counter", "labels": [], "columns": ["value"], "rows": [[1]]}
    return write_datagram(Header(VERSION, Kind.BATCH, b"s" * 16, 1, sequence, 1), {"families": [family]})


def answers(worker: socket.socket) -> list[int]:
    """The numbers that were committed, one a drain: on a busy machine five datagrams may take several drains."""
    found = []
    worker.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(int.from_bytes(worker.recv(64)[32:40], "big"))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_socket_and_exits_0(shared: Path, number: signal.Signals) -> None:
    """What was queued when the signal came is answered before the end."""
    worker, passed = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    worker.settimeout(5)
    with Collector(shared / "collector.sock") as collector, worker, passed:
        inode = collector.socket_path.stat().st_ino
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
        assert answers(worker)[-1] == 5
        assert collector.socket_path.stat().st_ino == inode


def test_a_scrape_that_waits_for_a_source_is_answered_at_the_end(shared: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(10)
        source = f"--source.vts=http://127.0.0.1:{silent.getsockname()[1]}/"
        with Collector(shared / "collector.sock", source) as collector, ThreadPoolExecutor(1) as pool:
            page = pool.submit(collector.page)
            asked, _ = silent.accept()
            began = time.monotonic()
            assert collector.terminate() == 0
            assert time.monotonic() - began < 2
            assert 'resty_metrics_source_up{source="vts"} 0' in page.result(timeout=10)
            asked.close()
        assert "Traceback" not in collector.log()


def test_sighup_does_not_end_it(running: Collector) -> None:
    running.signal(signal.SIGHUP)
    wait_until(lambda: "configuration reloaded" in running.log(), message="a line about it")
    assert running.ready()


def test_sighup_while_it_starts_is_remembered(shared: Path) -> None:
    """One that comes before there is a loop does not end it, and has the configuration read again."""
    words = [COMMAND, "serve", f"--socket.path={shared}/collector.sock", "--web.listen-address=127.0.0.1:0"]
    with (shared / "log").open("wb") as log:
        process = subprocess.Popen(words, stderr=log)
    try:
        maps = Path(f"/proc/{process.pid}/maps")
        wait_until(lambda: "aiohttp" in maps.read_text(), 30, "its imports")
        assert "collecting" not in (shared / "log").read_text()
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration reloaded" in (shared / "log").read_text(), message="a line about it")
    finally:
        process.terminate()
        assert process.wait(10) == 0


MISSPELT = {"RESTY_METRICS_SOCKET_PAHT": "/run/x.sock"}
NAMED = "RESTY_METRICS_SOCKET_PAHT: unknown setting. Did you mean RESTY_METRICS_SOCKET_PATH?"


def test_a_misspelt_variable_is_named_at_the_start(shared: Path) -> None:
    with Collector(shared / "collector.sock", environment=MISSPELT) as collector:
        assert NAMED in collector.log()


def test_check_config_names_a_misspelt_variable(tmp_path: Path) -> None:
    done = run("check-config", **MISSPELT)
    assert (done.returncode, done.stderr) == (1, f"{NAMED}\n")
    (tmp_path / "wrong.yml").write_text("sockets: {}\n")
    done = run("check-config", str(tmp_path / "wrong.yml"), **MISSPELT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == NAMED
    assert "sockets" in done.stderr
    assert run("check-config", RESTY_METRICS_PORT="tcp://10.0.0.1:19145").returncode == 0


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


def test_the_page_on_several_addresses(shared: Path) -> None:
    """By a variable, with blanks between them."""
    ports = [free_port() for _ in range(2)]
    addresses = f"127.0.0.1:{ports[0]} 127.0.0.1:{ports[1]} unix:{shared}/web.sock"
    words = [COMMAND, "serve", f"--socket.path={shared}/collector.sock"]
    process = subprocess.Popen(
        words, env=os.environ | {"RESTY_METRICS_WEB_LISTEN_ADDRESS": addresses}, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: b" 200 OK" in ask(shared / "web.sock"), message="an answer over the unix socket")
        for port in ports:
            assert "resty_metrics_socket_up 1" in fetched(f"http://127.0.0.1:{port}/metrics")
        process.terminate()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait(timeout=10)


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
