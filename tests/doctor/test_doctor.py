"""doctor against a real nginx and a real collector: healthy, then one fault at a time."""

import contextlib
import json
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from support.child import Child
from support.collector import COMMAND, Collector, Samples
from support.doctor import Diagnosis, diagnose, words
from support.nginx import ROOT, Nginx
from support.wait import free_port, wait_until

from collector.doctor.observe import nginx as observed

SITE = """include {{share}}/nginx.conf.d/lifecycle.conf;
server {{
    listen 127.0.0.1:{port};
    server_name a.example;
    location / {{ return 200 ok; }}
    {more}
}}
"""
TAKES = """
os.unlink(sys.argv[1])
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(sys.argv[1])
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
Listing = dict[str, tuple[int, int, int, int]]


def site(more: str = "") -> str:
    return SITE.format(port=free_port(), more=more)


def heard_of(collector: Collector, workers: int = 2) -> None:
    wait_until(lambda: collector.value("resty_metrics_workers_seen") == workers, message="the workers' heartbeats")


@pytest.fixture
def collector(socket_path: Path) -> Iterator[Collector]:
    with Collector(socket_path) as running:
        yield running


@pytest.fixture
def nginx(collector: Collector) -> Iterator[Nginx]:
    """A healthy nginx whose workers were heard of."""
    with Nginx(collector.socket_path, site()) as running:
        heard_of(collector)
        yield running


def bad(found: Diagnosis) -> set[str]:
    return found.verdicts("WARN", "FAIL")


# healthy --------------------------------------------------------------------------------------------------------------


def test_healthy(collector: Collector, nginx: Nginx) -> None:
    found = diagnose(collector.socket_path, nginx)
    assert (found.status, found.report["verdict"], bad(found)) == (0, "OK", set())
    assert found.verdicts("SKIP") == {"page.coverage"}
    assert found.verdicts("OK") - {"reach.apparmor", "reach.selinux"} == {
        "collector.process", "collector.settings", "collector.descriptors",
        "socket.path", "socket.lock", "socket.holder", "socket.open",
        "socket.senders", "socket.probe", "socket.queue", "processes", "nginx.configuration", "nginx.include",
        "nginx.shadowed", "nginx.spool", "nginx.socket", "nginx.lua", "nginx.workers", "reach.socket", "reach.uid",
        "reach.lua", "page.answers", "page.ready", "page.socket", "page.overflow", "page.labels", "page.conflicts",
        "page.lost", "page.refusals",
        "workers.seen", "workers.errors", "workers.died", "page.rebinds", "journal", "source.lua", "versions",
    }  # fmt: skip
    assert found.report["collector"] == {
        "pid": collector.pid,
        "settings": {
            "--state.dir": [str(collector.state_dir)],
            "--web.listen-address": [f"127.0.0.1:{collector.port}"],
        },
    }
    assert f"{nginx.share}/nginx.conf.d/resty-metrics.conf:" in found.seen("nginx.include", "OK")
    assert "2 workers run as www-data" in found.seen("nginx.workers", "OK")


@pytest.mark.parametrize("check", ["socket.path", "nginx.shadowed", "versions"])
def test_each_line_of_text_has_verdict_and_check(collector: Collector, nginx: Nginx, check: str) -> None:
    done = subprocess.run(
        words(collector.socket_path, nginx), capture_output=True, text=True, timeout=30, check=True, env=os.environ
    )
    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if line.startswith("OK ") and line.split()[1] == check]
    assert "\x1b" not in done.stdout


def test_every_check_is_documented(collector: Collector, nginx: Nginx) -> None:
    text = (ROOT / "docs" / "doctor.md").read_text()
    for check in diagnose(collector.socket_path, nginx).findings:
        assert f"`{check}`" in text


def test_what_is_given_wins_over_what_runs(collector: Collector) -> None:
    port = free_port()
    found = diagnose(collector.socket_path, None, f"--web.listen-address=127.0.0.1:{port}")
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
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        theirs.setblocking(False)
        url = f"http://127.0.0.1:{theirs.getsockname()[1]}/"
        flags = [f"--source.vts={url}", f"--source.bearer-token-file={secret}"]
        file = shared / "resty-metrics.yml"
        file.write_text(f"sources: [{{kind: vts, url: '{url}', authorization: {{credentials_file: {secret}}}}}]\n")
        with Collector(directory / "c.sock", *(flags if by_flag else [f"--config.file={file}"]), under=nobody):
            found = diagnose(directory / "c.sock", None)
            with pytest.raises(BlockingIOError):
                theirs.accept()
            assert "the files it names are for the collector" in found.seen("source.vts", "SKIP")
            diagnose(directory / "c.sock", None, f"--config.file={file}")  # root's own word
            with theirs.accept()[0] as client:
                assert b"Authorization: Bearer hunter2" in client.recv(4096)


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
            for check in ("collector.process", "socket.path", "socket.lock", "socket.probe"):
                assert f"say which one: --socket.path={paths[0]} or --socket.path={paths[1]}" in found.seen(
                    check, "FAIL"
                )
                assert "start it" not in found.seen(check, "FAIL")
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


# one fault at a time --------------------------------------------------------------------------------------------------


def diagnose_socket(collector: Collector) -> Diagnosis:
    """Of the socket alone: neither nginx nor the page, for which a stopped collector would keep us waiting."""
    return diagnose(collector.socket_path, None, f"--web.listen-address=127.0.0.1:{free_port()}")


@pytest.fixture
def helpless(collector: Collector) -> Collector:
    """A collector that cannot put its socket back."""
    collector.signal(signal.SIGSTOP)
    return collector


def no_socket(path: Path) -> None:
    path.unlink()


def regular_file(path: Path) -> None:
    path.unlink()
    path.write_text("not a socket")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere.sock"))
    path.symlink_to("elsewhere.sock")


AT_THE_PATH = [
    (no_socket, "does not exist", "no socket at the path"),
    (regular_file, "a regular file", "nobody receives"),
    (directory, "a directory", "nobody receives"),
    (link, "a symbolic link", "no answer"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("harm", "there", "probed"), AT_THE_PATH, ids=[one[0].__name__ for one in AT_THE_PATH])
def test_something_else_at_the_path(helpless: Collector, harm: Callable[[Path], None], there: str, probed: str) -> None:
    harm(helpless.socket_path)
    found = diagnose_socket(helpless)
    assert found.status == 2
    assert there in found.seen("socket.path", "FAIL")
    assert probed in found.seen("socket.probe", "FAIL")


def test_a_stream_socket(helpless: Collector) -> None:
    helpless.socket_path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(helpless.socket_path))
        other.listen()
        found = diagnose_socket(helpless)
    assert found.status == 2
    assert "another type than datagram" in found.seen("socket.path", "FAIL")
    assert "not a datagram socket" in found.seen("socket.probe", "FAIL")


@needs_root
def test_an_impostor(helpless: Collector) -> None:
    with Child(TAKES, str(helpless.socket_path)) as impostor:
        found = diagnose_socket(helpless)
        assert found.status == 2
        assert f"process {impostor.pid} (" in found.seen("socket.holder", "FAIL")
        assert "no answer" in found.seen("socket.probe", "FAIL")
    gone = diagnose_socket(helpless)
    assert gone.status == 2
    assert "no process holds the socket" in gone.seen("socket.holder", "FAIL")
    assert "nobody receives" in gone.seen("socket.probe", "FAIL")


@pytest.mark.slow
def test_a_socket_that_is_taken_away_again_and_again(collector: Collector) -> None:
    def take() -> bool:
        collector.socket_path.unlink(missing_ok=True)
        return collector.value("resty_metrics_socket_contended") == 1

    wait_until(take, message="contention")
    found = diagnose(collector.socket_path, None)
    assert found.status == 2
    assert "again and again" in found.seen("page.socket", "FAIL")
    assert "missing " in found.seen("page.rebinds", "WARN")


def test_two_faults_within_seconds_are_not_called_an_attack(collector: Collector) -> None:
    """As of an operator who tries things out."""
    rebinds = partial(collector.value, "resty_metrics_socket_rebinds_total", reason="missing")
    collector.socket_path.unlink()
    wait_until(lambda: rebinds() == 1, message="the first healing")
    collector.socket_path.unlink()
    wait_until(lambda: rebinds() == 2, message="the second healing")
    found = diagnose(collector.socket_path, None)
    assert found.verdicts("FAIL") == set()
    assert found.seen("page.socket", "OK")
    assert f"resty-metrics doctor --socket.path={collector.socket_path} --watch" in found.seen("page.rebinds", "WARN")


@needs_root
def test_few_descriptors_are_left(collector: Collector) -> None:
    used = len(list(Path(f"/proc/{collector.pid}/fd").iterdir()))
    _, hard = resource.prlimit(collector.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (used + 2, hard))
    found = diagnose(collector.socket_path, None)
    assert f"may have {used + 2}: few are left" in found.seen("collector.descriptors", "WARN")
    assert f"prlimit --pid {collector.pid} " in found.seen("collector.descriptors", "WARN")


def test_an_nginx_that_was_ended(collector: Collector, nginx: Nginx) -> None:
    nginx.quit()
    found = diagnose(collector.socket_path, nginx)
    assert f"nginx does not run here: {nginx.pid_file}" in found.seen("nginx.workers", "WARN")
    assert found.verdicts("FAIL") == set()


@pytest.mark.slow
@needs_root
def test_a_full_queue(helpless: Collector) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(BlockingIOError):
        sender.setblocking(False)
        while True:
            sender.sendto(b"full", str(helpless.socket_path))
    found = diagnose_socket(helpless)
    assert "stays full" in found.seen("socket.probe", "FAIL")
    assert "is stopped" in found.seen("collector.process", "FAIL")


@pytest.mark.slow
@needs_root
def test_modes(collector: Collector, nginx: Nginx) -> None:
    path = collector.socket_path
    collector.signal(signal.SIGSTOP)
    aside = f"--web.listen-address=127.0.0.1:{free_port()}"
    path.chmod(0o000)
    socket = diagnose(path, nginx, aside)
    path.chmod(0o666)
    path.parent.chmod(0o700)
    above = diagnose(path, nginx, aside)
    path.parent.chmod(0o755)
    collector.signal(signal.SIGCONT)
    assert f"www-data (uid 33) may not write {path} (mode 0000" in socket.seen("reach.socket", "FAIL")
    assert f"may not search {path.parent} (mode 0700" in above.seen("reach.socket", "FAIL")
    assert f"chmod o+x {path.parent}" in above.seen("reach.socket", "FAIL")
    assert (socket.status, above.status) == (2, 2)
    wait_until(lambda: diagnose(path, nginx).status == 0, message="health after the faults")


@pytest.mark.slow
def test_a_stopped_collector_and_a_bounded_examination(collector: Collector, nginx: Nginx) -> None:
    collector.signal(signal.SIGSTOP)
    began = time.monotonic()
    found = diagnose(collector.socket_path, nginx)
    assert time.monotonic() - began < 12
    assert found.status == 2
    assert "is stopped" in found.seen("collector.process", "FAIL")
    assert "no answer" in found.seen("socket.probe", "FAIL")
    assert "no answer within" in found.seen("page.answers", "FAIL")
    assert found.seen("reach.socket", "OK")


def test_a_collector_that_was_killed(collector: Collector, nginx: Nginx) -> None:
    collector.kill()
    found = diagnose(collector.socket_path, nginx, f"--web.listen-address=127.0.0.1:{collector.port}")
    assert found.status == 2
    for check in ("collector.process", "socket.lock", "socket.holder", "socket.probe", "page.answers"):
        assert found.seen(check, "FAIL")
    assert found.seen("socket.path", "OK")
    assert found.seen("nginx.include", "OK")
    assert found.report["collector"]["pid"] is None


def test_a_collector_that_was_never_started(socket_path: Path) -> None:
    found = diagnose(socket_path, None, f"--web.listen-address=127.0.0.1:{free_port()}")
    assert found.status == 2
    assert {"collector.process", "socket.path", "socket.lock", "socket.probe", "page.answers"} <= found.verdicts("FAIL")
    assert list(socket_path.parent.iterdir()) == []


@pytest.mark.slow
@needs_root
def test_a_user_who_may_not_send(collector: Collector) -> None:
    server = Nginx(collector.socket_path, site())
    server.conf.write_text(server.conf.read_text().replace("user www-data;", "user daemon;"))
    with server:
        wait_until(lambda: collector.value("resty_metrics_refusals_total", reason="uid"), message="a refusal")
        found = diagnose(collector.socket_path, server)
    assert found.status == 2
    assert "--socket.allow-uid=1" in found.seen("reach.uid", "FAIL")
    assert "uid " in found.seen("page.refusals", "WARN")
    assert found.seen("reach.socket", "OK")


@pytest.mark.slow
@needs_root
def test_a_user_who_may_send_by_a_flag(socket_path: Path) -> None:
    server = Nginx(socket_path, site())
    server.conf.write_text(server.conf.read_text().replace("user www-data;", "user daemon;"))
    with Collector(socket_path, "--socket.allow-uid=daemon") as collector, server:
        heard_of(collector)
        assert bad(diagnose(socket_path, server)) == set()


def line_of(nginx: Nginx, words: str) -> int:
    return next(at for at, line in enumerate(nginx.conf.read_text().splitlines(), 1) if words in line)


@pytest.mark.slow
def test_a_hook_that_shadows_ours(collector: Collector) -> None:
    more = 'location /x { log_by_lua_block { local brace = "}" } return 200 x; }'
    with Nginx(collector.socket_path, site(more)) as server:
        heard_of(collector)
        found = diagnose(collector.socket_path, server)
        place = f"{server.conf}:{line_of(server, 'local brace')}: log_by_lua_block in server a.example, location /x"
        line = found.seen("nginx.shadowed", "WARN").partition("-> add as the first line: ")[2].partition("; then")[0]
        assert found.status == 1
        assert bad(found) == {"nginx.shadowed"}
        assert place in found.seen("nginx.shadowed", "WARN")
        server.configure(site(more.replace("local brace", f"{line} local brace")))
        server.reload()
        wait_until(lambda: diagnose(collector.socket_path, server).status == 0, message="health with the line added")


def test_no_include(collector: Collector) -> None:
    with Nginx(collector.socket_path, "", include="") as server:
        found = diagnose(collector.socket_path, server)
    assert found.status == 2
    assert "include" in found.seen("nginx.include", "FAIL")
    assert bad(found) == {"nginx.include", "source.lua"}


def test_another_socket_in_nginx(collector: Collector) -> None:
    with Nginx(collector.socket_path.with_name("other.sock"), site()) as server:
        found = diagnose(collector.socket_path, server)
        conf = server.share / "nginx.conf.d"
    assert found.status == 2
    for name in ("resty-metrics.conf", "lifecycle.conf"):
        assert f"{conf}/{name}:" in found.seen("nginx.socket", "FAIL")
    assert f"write {collector.socket_path} there" in found.seen("nginx.socket", "FAIL")


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["log_by_lua_block { }", "log_by_lua_file x.lua;"])
def test_a_configuration_that_nginx_refuses(collector: Collector, nginx: Nginx, hook: str) -> None:
    nginx.configure(f"{site()} {hook}")
    found = diagnose(collector.socket_path, nginx)
    assert found.status == 2
    assert f"is duplicate in {nginx.conf}:" in found.seen("nginx.configuration", "FAIL")
    assert "own-hook" in found.seen("nginx.configuration", "FAIL")
    assert found.seen("socket.probe", "OK")


def test_a_source_that_is_down(socket_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/stub_status"
    with Collector(socket_path, f"--source.stub-status={url}") as collector, Nginx(socket_path, site()) as server:
        heard_of(collector)
        found = diagnose(socket_path, server)
    assert found.status == 2
    assert f"{url}: refused: [Errno 111]" in found.seen("source.stub_status", "FAIL")
    assert "the collector could not read stub_status" in found.seen("source.stub_status", "WARN")
    assert bad(found) == {"source.stub_status"}


def test_a_source_that_is_something_else(collector: Collector, nginx: Nginx) -> None:
    port = next(line for line in nginx.conf.read_text().splitlines() if "listen" in line).split(":")[1].strip(" ;")
    found = diagnose(collector.socket_path, nginx, f"--source.vts=http://127.0.0.1:{port}/")
    assert "/: parse: " in found.seen("source.vts", "FAIL")


@pytest.mark.slow
def test_versions_that_differ(collector: Collector) -> None:
    server = Nginx(collector.socket_path, site())
    module = server.share / "lua" / "resty" / "metrics.lua"
    module.write_text(module.read_text().replace('_VERSION = "', '_VERSION = "9.'))
    with server:
        heard_of(collector)
        found = diagnose(collector.socket_path, server)
    assert found.status == 1
    assert bad(found) == {"versions"}
    assert f"workers 9.{collector_version()}" in found.seen("versions", "WARN")
    assert f"{module} 9." in found.seen("versions", "WARN")


def collector_version() -> str:
    return subprocess.run([COMMAND, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]


@needs_root
def test_lua_files_that_the_workers_may_not_read(collector: Collector, nginx: Nginx) -> None:
    (nginx.share / "lua" / "resty").chmod(0o700)
    found = diagnose(collector.socket_path, nginx)
    assert found.status == 2
    assert f"may not search {nginx.share}/lua/resty " in found.seen("reach.lua", "FAIL")


@pytest.mark.slow
def test_a_second_collector(collector: Collector, nginx: Nginx) -> None:
    """The lock file was removed while the first one could not see to it, so nothing kept the second from starting."""
    collector.signal(signal.SIGSTOP)
    collector.socket_path.with_name(f"{collector.socket_path.name}.lock").unlink()
    with Collector(collector.socket_path, f"--state.dir={collector.state_dir}.second") as second:
        collector.signal(signal.SIGCONT)
        wait_until(lambda: collector.value("resty_metrics_socket_standby") == 1, message="the first one standing by")
        heard_of(second)
        found = diagnose(second.socket_path, nginx)
        first = diagnose(second.socket_path, nginx, f"--web.listen-address=127.0.0.1:{collector.port}")
        assert found.report["collector"]["pid"] == second.pid
        assert found.status == 1
        assert f"process {collector.pid} (" in found.seen("processes", "WARN")
        assert "stands by" in first.seen("page.socket", "WARN")


def test_a_journal_that_cannot_be_written(socket_path: Path) -> None:
    with Collector(socket_path, "--state.dir=/proc/self/state") as collector:
        found = diagnose(socket_path, None)
        assert "degraded" in collector.page("/-/ready")
    assert "memory only" in found.seen("journal", "WARN")
    assert "/proc/self/state" in found.seen("journal", "WARN")


def test_a_collector_on_another_socket_is_no_fault(collector: Collector, nginx: Nginx) -> None:
    with Collector(collector.socket_path.with_name("second.sock")) as second:
        found = diagnose(collector.socket_path, nginx)
    assert found.status == 0
    assert f"process {second.pid} (" in found.seen("processes", "OK")


@contextmanager
def in_network(of: int, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A collector in the network namespace of process ``of``."""
    under = ["nsenter", "--target", str(of), "--net"]
    process = subprocess.Popen(
        [*under, COMMAND, "serve", *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.mark.slow
@needs_root
def test_another_network_namespace_and_a_short_queue(socket_path: Path) -> None:
    short = 'open("/proc/sys/net/unix/max_dgram_qlen", "w").write("3")'
    with (
        Child(short, under=("unshare", "--net")) as namespace,
        in_network(namespace.pid, f"--socket.path={socket_path}", "--web.listen-address=127.0.0.1:0") as process,
    ):
        wait_until(socket_path.is_socket, message="the socket")
        outside = diagnose(socket_path, None)
        inside = diagnose(socket_path, None, under=["nsenter", "--target", str(namespace.pid), "--net"])
    for check in ("socket.queue", "page.answers"):
        assert f"nsenter --target {process.pid} --net" in outside.seen(check, "WARN")
    assert "net.unix.max_dgram_qlen is 3" in inside.seen("socket.queue", "WARN")


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


def test_it_changes_nothing_of_a_running_nginx(collector: Collector, nginx: Nginx) -> None:
    def files() -> Listing:
        return {path: one for path, one in listing(nginx.prefix).items() if Path(path) != nginx.error_log}

    before, workers = files(), nginx.worker_pids()
    diagnose(collector.socket_path, nginx)
    assert files() == before
    assert nginx.worker_pids() == workers


def test_a_wrong_flag_is_named() -> None:
    done = subprocess.run(words(None, "'"), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "--nginx.command" in done.stderr


HELP = """
import sys
from collector.cli import main
main(["doctor", "--help"], standalone_mode=False)
print(*sys.modules)
"""


def test_nothing_heavy_is_imported_for_help() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=30, check=True)
    assert {"aiohttp", "asyncio", "crossplane", "prometheus_client"}.isdisjoint(done.stdout.split())


AS_NOBODY = """
import os, sys
import collector.cli, collector.doctor.examination
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
collector.cli.main(sys.argv[1:])
"""


@needs_root
def test_without_root_it_says_what_is_not_known(collector: Collector, nginx: Nginx) -> None:
    """Changed to the user when all is imported: the interpreter may lie where nobody can read it."""
    arguments = words(collector.socket_path, nginx, "--json", f"--web.listen-address=127.0.0.1:{collector.port}")
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
    command = observed.Command(("/bin/sh", "-c", "id -u >&2; exit 1"), None, 33, 33, None)
    found = observed.examine(command, "/run/c.sock")
    assert found.trouble is not None
    assert found.trouble.seen == "33"


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
def test_colour_on_a_terminal_unless_told_not_to(collector: Collector) -> None:
    assert "\x1b[32mOK" in on_terminal(collector.socket_path, NO_COLOR="")
    assert "\x1b" not in on_terminal(collector.socket_path, NO_COLOR="1")
