"""doctor against a real nginx and a real collector that are healthy: settings, what it must not do, how it looks."""

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from resty_metrics.commands.doctor.observe import nginx as observed
from resty_metrics.commands.doctor.observe.nginx_commands import Command
from support.collector import COMMAND, Collector, Samples
from support.doctor import Diagnosis, bad, diagnose, heard_of, needs_root, site, words
from support.nginx import ROOT, Nginx, shared_directory
from support.users import NOBODY, as_user
from support.wait import free_port, wait_until

Listing = dict[str, tuple[int, int, int, int]]


@pytest.fixture(scope="module")
def running() -> Iterator[Collector]:
    """A collector for the tests that change nothing of it."""
    directory = shared_directory()
    with Collector(directory / "collector.sock") as collector:
        yield collector
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def serving(running: Collector) -> Iterator[Nginx]:
    """A healthy nginx of that collector, whose workers were heard of."""
    with Nginx(running.socket_path, site()) as nginx:
        heard_of(running)
        yield nginx


@pytest.fixture(scope="module")
def printed(running: Collector, serving: Nginx) -> str:
    """The text of one run."""
    done = subprocess.run(words(running.socket_path, serving), capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return done.stdout


# healthy --------------------------------------------------------------------------------------------------------------


def test_healthy(running: Collector, serving: Nginx) -> None:
    found = diagnose(running.socket_path, serving)
    assert (found.status, found.report["verdict"], bad(found)) == (0, "OK", set())
    assert found.verdicts("SKIP") == {"page.coverage"}
    assert found.verdicts("OK") - {"reach.apparmor", "reach.selinux"} == {
        "collector.process", "collector.settings", "collector.descriptors",
        "socket.path", "socket.lock", "socket.holder", "socket.open",
        "socket.senders", "socket.probe", "socket.queue", "processes", "nginx.configuration", "nginx.include",
        "nginx.shadowed", "nginx.spool", "nginx.socket", "nginx.durations", "nginx.lua", "nginx.workers",
        "reach.socket", "reach.uid", "reach.lua",
        "page.answers", "page.ready", "page.socket", "page.overflow", "page.labels", "page.conflicts",
        "page.lost", "page.refusals", "page.gauges",
        "workers.seen", "workers.errors", "workers.died", "page.rebinds", "journal", "source.lua", "versions",
    }  # fmt: skip
    assert found.report["collector"] == {
        "pid": running.pid,
        "settings": {
            "--state.dir": [str(running.state_dir)],
            "--web.listen-address": [f"127.0.0.1:{running.port}"],
        },
    }
    assert f"{serving.share}/nginx.conf.d/resty-metrics.conf:" in found.seen("nginx.include", "OK")
    assert "2 workers run as www-data" in found.seen("nginx.workers", "OK")


@pytest.mark.parametrize("check", ["socket.path", "nginx.shadowed", "versions"])
def test_each_line_of_text_has_verdict_and_check(printed: str, check: str) -> None:
    assert [line for line in printed.splitlines() if line.startswith("OK ") and line.split()[1] == check]
    assert "\x1b" not in printed


def test_every_check_is_documented(running: Collector, serving: Nginx) -> None:
    text = (ROOT / "docs" / "doctor.md").read_text()
    for check in diagnose(running.socket_path, serving).findings:
        assert f"`{check}`" in text


@pytest.mark.parametrize("ill", [True, False])
def test_problems_alone(running: Collector, serving: Nginx, ill: bool) -> None:
    """The first to fix first, and nothing where there are none; the exit status is the same."""
    address = (f"--web.listen-address=127.0.0.1:{free_port()}",) if ill else ()
    arguments = words(running.socket_path, serving, "--problems", *address)
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == diagnose(running.socket_path, serving, *address).status == (2 if ill else 0)
    assert [line.split()[:2] for line in done.stdout.splitlines()[::2]] == ([["FAIL", "page.answers"]] if ill else [])
    shown = diagnose(running.socket_path, serving, "--problems", *address)
    assert [one["check"] for one in shown.report["findings"]] == (["page.answers"] if ill else [])
    assert shown.status == done.returncode


def test_what_is_given_wins_over_what_runs(running: Collector) -> None:
    port = free_port()
    found = diagnose(running.socket_path, None, f"--web.listen-address=127.0.0.1:{port}")
    assert f":{port}/metrics" in found.seen("page.answers", "FAIL")
    assert "--web.listen-address" not in found.report["collector"]["settings"]


def test_flags_from_the_environment_of_the_collector(
    shared: Path, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTY_METRICS_WEB_TELEMETRY_PATH", "/numbers")
    monkeypatch.setenv("RESTY_METRICS_SOURCE_STUB_STATUS", f"unix:{shared}/none:/")
    with Collector(socket_path):
        found = diagnose(socket_path, None)
    assert "/numbers" in found.seen("page.answers", "OK")
    assert "refused" in found.seen("source.stub_status", "FAIL")


@needs_root
@pytest.mark.parametrize("by_flag", [False, True])
def test_no_secret_of_ours_is_sent_where_another_user_wants_it(shared: Path, by_flag: bool) -> None:
    """A collector that runs as somebody else names a file that only root may read, and where to send what is in it."""
    secret = shared / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    directory = shared / "run"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        theirs.setblocking(False)
        url = f"http://127.0.0.1:{theirs.getsockname()[1]}/"
        flags = [f"--source.vts={url}", f"--source.bearer-token-file={secret}"]
        file = shared / "resty-metrics.yml"
        file.write_text(f"sources: [{{kind: vts, url: '{url}', authorization: {{credentials_file: {secret}}}}}]\n")
        with Collector(directory / "c.sock", *(flags if by_flag else [f"--config.file={file}"]), under=as_user(NOBODY)):
            found = diagnose(directory / "c.sock", None)
            with pytest.raises(BlockingIOError):
                theirs.accept()
            assert "doctor does not read the files of this source" in found.seen("source.vts", "SKIP")
            diagnose(directory / "c.sock", None, f"--config.file={file}")  # root's own word
            with theirs.accept()[0] as client:
                assert b"Authorization: Bearer hunter2" in client.recv(4096)


@pytest.mark.slow
@needs_root
def test_where_several_run_and_none_at_the_default_socket_each_command_asks_which(shared: Path) -> None:
    """In a mount namespace of their own, where no other collector of this machine is, nor the socket of one."""
    paths = [shared / "one.sock", shared / "two.sock"]
    without_run = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh")
    with Collector(paths[0], under=without_run) as first:
        there = ("nsenter", f"--target={first.pid}", "--mount")
        found = diagnose(None, None, under=there)
        assert found.verdicts("FAIL").isdisjoint({"collector.process", "socket.probe"})
        with Collector(paths[1], under=there):
            found = diagnose(None, None, under=there)
            assert found.verdicts("FAIL") == {"collector.process"}
            message = found.seen("collector.process", "FAIL")
            assert f"Choose one: --socket.path={paths[0]} or --socket.path={paths[1]}" in message
            assert "start it" not in message
            for other, status in (("top --once", 2), ("doctor --watch", 2), ("install --dry-run", 1)):
                done = subprocess.run(
                    [*there, COMMAND, *other.split()], capture_output=True, text=True, timeout=30, check=False
                )
                assert done.returncode == status, other
                assert f"--socket.path={paths[1]}" in done.stderr


def test_the_file_of_the_collector(shared: Path, socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found where the collector was started, and what doctor is told itself wins over it."""
    web = shared / "web.sock"
    file = shared / "resty-metrics.yml"
    file.write_text(
        f"web: {{telemetry_path: /numbers}}\nsources: [{{kind: stub_status, url: 'unix:{shared}/none:/'}}]\n"
        f"socket: {{path: {socket_path}}}\n"
    )
    monkeypatch.chdir(shared)
    with Collector(socket_path, "--config.file=resty-metrics.yml", f"--web.listen-address=unix:{web}") as collector:
        monkeypatch.chdir("/")
        found = diagnose(socket_path, None)
        assert "/numbers" in found.seen("page.answers", "OK")
        assert "refused" in found.seen("source.stub_status", "FAIL")
        assert "--config.file=resty-metrics.yml" in found.seen("collector.settings", "OK")
        own = shared / "own.yml"
        own.write_text(f"web: {{listen_address: ['unix:{web}'], telemetry_path: /numbers}}\nsources: []\n")
        found = diagnose(socket_path, None, f"--config.file={own}")
        assert "web.sock:/numbers" in found.seen("page.answers", "OK")
        assert "source.stub_status" not in found.verdicts("FAIL")
        file.write_text("web: {telemetry_path: numbers}\n")
        found = diagnose(socket_path, None, f"--web.listen-address=127.0.0.1:{collector.port}")
        assert f"{file}:1: web.telemetry_path: 'numbers'" in found.seen("collector.configuration", "WARN")


@needs_root
def test_a_file_that_became_wrong_is_the_first_problem_and_what_it_may_say_is_not_judged(shared: Path) -> None:
    """What was read before is in force; a restart, the remedy of other findings, would end the collector."""
    path, file, port = shared / "own.sock", shared / "resty-metrics.yml", free_port()
    file.write_text(
        f"socket: {{path: {path}, allow_uid: [1]}}\nweb: {{listen_address: ['127.0.0.1:{port}']}}\n"
        f"state: {{dir: {shared}/state}}\n"
    )
    server = Nginx(path, site())
    server.conf.write_text(server.conf.read_text().replace("user www-data;", "user daemon;"))
    serve = subprocess.Popen([COMMAND, "serve", f"--config.file={file}"], stderr=subprocess.DEVNULL)
    try:
        wait_until(path.is_socket, message="the socket")
        with server:
            file.write_text("socket: {mode: 9}\nweb: {telemetry_path: numbers}\n")
            found = diagnose(path, server)
    finally:
        serve.terminate()
        serve.wait(timeout=10)
    assert (found.status, bad(found)) == (1, {"collector.configuration"})
    assert found.report["findings"][0]["check"] == "collector.configuration"
    words = found.seen("collector.configuration", "WARN")
    assert f"; {file}:2: web.telemetry_path" in words
    assert "do not restart the collector" in words
    assert f"resty-metrics check-config {file}" in words
    assert f"kill -HUP {serve.pid}" in words
    for check in ("reach.uid", "page.answers"):
        assert "follows from collector.configuration" in found.seen(check, "SKIP")


ALONE = """
import os, sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from support.collector import COMMAND, Collector
from support.nginx import Nginx
from support.wait import wait_until
path = Path({path!r})
with Collector(path) as collector, Nginx(path, {site!r}):
    wait_until(lambda: collector.value("resty_metrics_workers_seen") == 2)
    sys.exit(os.spawnv(os.P_WAIT, COMMAND, [COMMAND, "doctor"]))
"""


@pytest.mark.slow
@needs_root
def test_without_any_flag_it_finds_collector_and_nginx(socket_path: Path) -> None:
    """In a pid namespace of its own, where only this collector and this nginx run."""
    script = ALONE.format(tests=str(ROOT / "tests"), path=str(socket_path), site=site())
    under = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    done = subprocess.run(
        [*under, sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"--socket.path={socket_path}" in done.stdout
    assert "WARN" not in done.stdout


# what it must not do --------------------------------------------------------------------------------------------------


def listing(directory: Path) -> Listing:
    """Every file below a directory, and itself: inode, mode, times of change."""
    found = {}
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_mode, status.st_mtime_ns, status.st_ctime_ns)
    return found


def counters(collector: Collector) -> Samples:
    """What a probe and the page itself do not change."""
    changing = ("process_", "resty_metrics_render_", "resty_metrics_datagram_bytes_total")
    probe = ("resty_metrics_datagrams_total", frozenset({("result", "probe")}))
    return {
        key: value for key, value in collector.samples().items() if not key[0].startswith(changing) and key != probe
    }


def test_it_changes_nothing(collector: Collector) -> None:
    files, numbers = listing(collector.socket_path.parent), counters(collector)
    log = collector.log()
    for _ in range(2):
        diagnose(collector.socket_path, None)
    assert listing(collector.socket_path.parent) == files
    assert counters(collector) == numbers
    assert collector.log() == log


def test_it_changes_nothing_of_a_running_nginx(running: Collector, serving: Nginx) -> None:
    def files() -> Listing:
        return {path: one for path, one in listing(serving.prefix).items() if Path(path) != serving.error_log}

    before, workers = files(), serving.worker_pids()
    diagnose(running.socket_path, serving)
    assert files() == before
    assert serving.worker_pids() == workers


def test_a_wrong_flag_is_named() -> None:
    done = subprocess.run(words(None, "'"), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "--nginx.command" in done.stderr


HELP = """
import sys
from resty_metrics.commands.cli import main
main(["doctor", "--help"], standalone_mode=False)
print(*sys.modules)
"""


def test_nothing_heavy_is_imported_for_help() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=30, check=True)
    assert {"aiohttp", "asyncio", "crossplane", "prometheus_client"}.isdisjoint(done.stdout.split())


AS_NOBODY = """
import os, sys
import resty_metrics.commands.cli, resty_metrics.commands.doctor.examination
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
resty_metrics.commands.cli.main(sys.argv[1:])
"""


@needs_root
def test_without_root_it_says_what_is_not_known(running: Collector, serving: Nginx) -> None:
    """Changed to the user when all is imported: the interpreter may lie where nobody can read it."""
    arguments = words(running.socket_path, serving, "--json", f"--web.listen-address=127.0.0.1:{running.port}")
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments[1:]], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    found = Diagnosis(done.returncode, json.loads(done.stdout))
    assert found.status == 1
    assert "run doctor as root" in found.seen("socket.holder", "WARN")
    assert found.seen("socket.probe", "OK")


@needs_root
def test_a_program_of_another_user_is_not_run_as_root() -> None:
    command = Command(("/bin/sh", "-c", "id -u >&2; exit 1"), None, 33, 33, None)
    found = observed.examine(command, "/run/c.sock")
    assert found.trouble is not None
    assert found.trouble.evidence == "33"


# on a terminal --------------------------------------------------------------------------------------------------------


def on_terminal(socket_path: Path, **environment: str) -> str:
    """The output where stdout is a terminal."""
    leader, terminal = pty.openpty()
    try:
        with subprocess.Popen(words(socket_path, None), stdout=terminal, env=os.environ | environment) as process:
            os.close(terminal)
            pieces = []
            while piece := _read(leader):
                pieces.append(piece)
            assert process.wait(timeout=30) in (0, 1, 2)
    finally:
        os.close(leader)
    return b"".join(pieces).decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.slow
def test_colour_on_a_terminal_unless_told_not_to(running: Collector) -> None:
    assert "\x1b[32mOK" in on_terminal(running.socket_path, NO_COLOR="")
    assert "\x1b" not in on_terminal(running.socket_path, NO_COLOR="1")
