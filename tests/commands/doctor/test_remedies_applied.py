"""Each remedy of doctor that is a command or an edit, applied to the case as it is printed: the finding is gone.

Not executed here: what concerns the whole machine or another user's processes (``sysctl``, ``systemctl``, ``apt``,
``nsenter``, ``getfacl``, ``ausearch``), and what ends a process that is not of the test. ``NOT_EXECUTED`` has these.
"""

import os
import re
import resource
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from resty_metrics.commands.doctor.facts import SETTLED_SECONDS
from resty_metrics.nginx_config.hooks import line_for
from support.client import get
from support.collector import COMMAND, Collector
from support.debian import Debian
from support.doctor import bad, diagnose, heard_of, needs_root, site
from support.nginx import ROOT, Nginx
from support.remedy import remedy, sh
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

NOT_EXECUTED = {
    "sysctl": "of the whole machine", "systemctl": "of the whole machine", "apt": "of the whole machine",
    "nsenter": "to look from elsewhere", "getfacl": "to look", "ausearch": "to look", "journalctl": "to look",
    "fuser": "to look", "dmesg": "to look",
}  # fmt: skip


def gone(collector: Collector, nginx: Nginx, check: str) -> None:
    wait_until(lambda: check not in bad(diagnose(collector.socket_path, nginx)), 20, f"the end of {check}")


# commands -------------------------------------------------------------------------------------------------------------


@needs_root
def test_a_directory_that_workers_may_not_search(collector: Collector, nginx: Nginx) -> None:
    above = collector.socket_path.parent
    collector.signal(signal.SIGSTOP)  # else it would put that right itself
    above.chmod(0o700)
    words = remedy(diagnose(collector.socket_path, nginx), "reach.socket")
    collector.signal(signal.SIGCONT)
    sh(words.partition(", or ")[0])
    gone(collector, nginx, "reach.socket")


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o600])
@pytest.mark.parametrize("name", ["lua/resty", "lua/resty/metrics", "lua/resty/metrics/rows.lua"])
def test_lua_files_that_workers_may_not_read(collector: Collector, nginx: Nginx, name: str, mode: int) -> None:
    (nginx.share / name).chmod(mode)
    words = remedy(diagnose(collector.socket_path, nginx), "reach.lua").replace("; then: ", " && ")
    assert f" -c {nginx.conf} -s reload" in words
    sh(words)
    gone(collector, nginx, "reach.lua")


def test_a_collector_that_is_stopped(collector: Collector, nginx: Nginx) -> None:
    collector.signal(signal.SIGSTOP)
    words = remedy(diagnose(collector.socket_path, nginx), "collector.process")
    sh(words.partition(", or ")[0])
    wait_until(lambda: bad(diagnose(collector.socket_path, nginx)) == set(), 20, "health")


def test_a_worker_that_is_stopped_from_its_birth(socket_path: Path) -> None:
    """No collector ever heard of it; with lifecycle.conf it would have sent heartbeats."""
    with Nginx(socket_path, site(), workers=2) as nginx:
        stopped = nginx.worker_pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            with Collector(socket_path) as collector:
                heard_of(collector, 1)
                wait_until(lambda: bad(diagnose(socket_path, nginx)) == {"workers.seen"}, 60, "the silent worker")
                found = diagnose(socket_path, nginx)
                words = remedy(found, "workers.seen")
                assert f"stopped by a signal: {stopped}" in found.seen("workers.seen", "WARN")
                sh(words)
                wait_until(lambda: bad(diagnose(socket_path, nginx)) == set(), 20, "health")
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_a_worker_that_is_stopped_later(collector: Collector) -> None:
    """The collector says that one is missing; doctor sees which, and why."""
    with Nginx(collector.socket_path, site(), workers=2) as nginx:
        heard_of(collector, 2)
        stopped = nginx.worker_pids()[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            wait_until(lambda: collector.value("resty_metrics_trouble", trouble="workers_missing"), 60, "the trouble")
            found = diagnose(collector.socket_path, nginx)
            assert f"1 of 2 report; stopped by a signal: {stopped}" in found.seen("workers.seen", "WARN")
            sh(remedy(found, "workers.seen"))
            gone(collector, nginx, "workers.seen")
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_idle_workers_are_healthy_without_lifecycle(socket_path: Path) -> None:
    with Nginx(socket_path, site().partition(";")[2]) as nginx, Collector(socket_path):
        settled = f"ps -o etimes= -p {nginx.worker_pids()[0]}"
        wait_until(lambda: int(subprocess.check_output(settled, shell=True)) > SETTLED_SECONDS, 60, "its age")
        assert bad(diagnose(socket_path, nginx)) == set()


def test_a_collector_that_is_not_there(socket_path: Path) -> None:
    collector = Collector(socket_path)
    address, state = f"--web.listen-address=127.0.0.1:{collector.port}", f"--state.dir={collector.state_dir}"
    with Nginx(socket_path, site()) as nginx:
        words = remedy(diagnose(socket_path, nginx, address), "collector.process").removeprefix("start it: ")
        serve = [COMMAND, *shlex.split(words)[1:], address, state]
        process = subprocess.Popen(serve, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: bad(diagnose(socket_path, nginx, address)) == set(), 20, "health")
        finally:
            process.terminate()
            process.wait(timeout=10)


@needs_root
def test_few_descriptors(collector: Collector, nginx: Nginx) -> None:
    used = len(list(Path(f"/proc/{collector.pid}/fd").iterdir()))
    _, hard = resource.prlimit(collector.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (used + 4, hard))
    words = remedy(diagnose(collector.socket_path, nginx), "collector.descriptors")
    sh(words.partition(" (")[0])
    gone(collector, nginx, "collector.descriptors")


def test_a_directory_in_the_place_of_the_socket(collector: Collector, nginx: Nginx) -> None:
    collector.socket_path.unlink()
    collector.socket_path.mkdir()
    (collector.socket_path / "in the way").touch()
    assert "remove it" in remedy(diagnose(collector.socket_path, nginx), "socket.path")
    sh(f"rm -r {shlex.quote(str(collector.socket_path))}")
    gone(collector, nginx, "socket.path")


@needs_root
def test_a_user_that_may_not_send(socket_path: Path) -> None:
    server = Nginx(socket_path, site())
    server.conf.write_text(server.conf.read_text().replace("user www-data;", "user daemon;"))
    with server:
        with Collector(socket_path) as collector:
            words = remedy(diagnose(socket_path, server), "reach.uid")
        flag = re.search(r"--socket\.allow-uid=\d+", words)
        assert flag is not None
        with Collector(socket_path, flag[0]) as collector:
            heard_of(collector)
            assert bad(diagnose(socket_path, server)) == set()
        listed = re.search(r"add (\d+) to socket.allow_uid", words)
        assert listed is not None
        file = socket_path.with_name("own.yml")
        file.write_text("socket: {}\n")
        with Collector(socket_path, f"--config.file={file}") as collector:
            file.write_text(f"socket: {{allow_uid: [{listed[1]}]}}\n")
            collector.signal(signal.SIGHUP)
            heard_of(collector)
            wait_until(lambda: bad(diagnose(socket_path, server)) == set(), 20, "health")


def test_a_socket_that_workers_may_not_write(socket_path: Path) -> None:
    with Nginx(socket_path, site()) as server:
        with Collector(socket_path, "--socket.mode=0600"):
            words = remedy(diagnose(socket_path, server), "reach.socket")
        flag = re.search(r"--socket\.mode=0666", words)
        assert flag is not None
        with Collector(socket_path, flag[0]) as collector:
            heard_of(collector)
            assert bad(diagnose(socket_path, server)) == set()


# nginx's configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("includes", [True, False])
def test_no_include(socket_path: Path, includes: bool) -> None:
    """The remedy writes the files too: the include alone would keep nginx from starting."""
    with Collector(socket_path) as collector, Debian(includes=includes) as debian:
        command = shlex.join(debian.words)
        words = remedy(diagnose(socket_path, command), "nginx.include")
        assert words.startswith("run: sudo resty-metrics install")
        sh(f"{words.removeprefix('run: ')} --yes --share-dir={debian.share}")
        assert debian.nginx("-t").returncode == 0
        get(debian.port, "/", {"Host": "shop.example"}, 5)
        wait_until(lambda: sum(collector.request_counts().values()) >= 5, message="the requests")
        assert bad(diagnose(socket_path, command)) == set()


def line_of(words: str) -> str:
    """The line to add, of a remedy."""
    match = re.search(r"add (?:as the first line[^:]*|to a log_by_lua_block [^:]*): (.*?)(?:; then: .*)?\Z", words)
    assert match is not None, words
    return match[1]


def test_a_snippet_that_shadows_in_many_servers(collector: Collector) -> None:
    """One line, added at one place."""
    with Nginx(collector.socket_path, site()) as server:
        snippet = server.prefix / "snippet.conf"
        snippet.write_text("log_by_lua_block {\n    local mine = 1\n}\n")
        port = free_port()
        names = [f"listen 127.0.0.1:{port}; server_name s{n}.example;" for n in range(60)]
        server.configure(site() + "".join(f"server {{ {one} include {snippet}; }}" for one in names))
        server.reload()
        heard_of(collector)
        found = diagnose(collector.socket_path, server)
        assert len(found.findings["nginx.shadowed"]) == 1
        assert "and 57 more" in found.seen("nginx.shadowed", "WARN")
        line = line_of(remedy(found, "nginx.shadowed"))
        snippet.write_text(f"log_by_lua_block {{\n    {line}\n    local mine = 1\n}}\n")
        server.reload()
        gone(collector, server, "nginx.shadowed")


@pytest.mark.parametrize(
    ("hook", "mended"),
    [
        ("log_by_lua_block { local mine = 1 }", "log_by_lua_block { LINE local mine = 1 }"),
        ("log_by_lua 'local mine = 1';", "log_by_lua 'LINE local mine = 1';"),
    ],
)
def test_a_hook_that_shadows(collector: Collector, hook: str, mended: str) -> None:
    more = "location /x { HOOK return 200 x; }"
    with Nginx(collector.socket_path, site(more.replace("HOOK", hook))) as server:
        heard_of(collector)
        line = line_of(remedy(diagnose(collector.socket_path, server), "nginx.shadowed"))
        server.configure(site(more.replace("HOOK", mended.replace("LINE", line))))
        server.reload()
        gone(collector, server, "nginx.shadowed")


def test_a_hook_of_http_that_lacks_our_line(collector: Collector) -> None:
    own = "resty-metrics-own-hook.conf"
    with Nginx(collector.socket_path, f"log_by_lua_block {{ local mine = 1 }} {site()}", include=own) as server:
        line = line_of(remedy(diagnose(collector.socket_path, server), "nginx.include"))
        server.configure(f"log_by_lua_block {{ {line} local mine = 1 }} {site()}")
        server.reload()
        gone(collector, server, "nginx.include")


def test_the_include_without_a_hook_and_no_hook(collector: Collector) -> None:
    with Nginx(collector.socket_path, site(), include="resty-metrics-own-hook.conf") as server:
        line = line_of(remedy(diagnose(collector.socket_path, server), "nginx.include"))
        server.configure(f"log_by_lua_block {{ {line} }} {site()}")
        server.reload()
        gone(collector, server, "nginx.include")


EDITS: list[tuple[str, str, Callable[[str], str]]] = [
    ("nginx.code-cache", "location /x { lua_code_cache off; return 200; }", lambda _: "location /x { return 200; }"),
    ("nginx.settings", 'set $resty_metrics_labels "a=http_a";', lambda _: ""),
    (
        "nginx.durations",
        "set $resty_metrics_duration_labels servers;",
        lambda words: f"set $resty_metrics_duration_labels {words.removeprefix('choose among ').split(',')[0]};",
    ),
    (
        "nginx.durations",
        "set $resty_metrics_duration_labels status;",
        lambda words: f"set $resty_metrics_duration_labels '{words.split()[1]} status';",
    ),
    (
        "nginx.settings",
        'set $resty_metrics_lables "a=http_a";',
        lambda words: f"set {words.removeprefix('write ').partition(' there;')[0]} '';",
    ),
]


@pytest.mark.parametrize(("check", "wrong", "right"), EDITS, ids=[one[0] for one in EDITS])
def test_a_line_to_remove(collector: Collector, check: str, wrong: str, right: Callable[[str], str]) -> None:
    with Nginx(collector.socket_path, site(wrong)) as server:
        words = remedy(diagnose(collector.socket_path, server), check)
        server.configure(site(right(words)))
        server.reload()
        gone(collector, server, check)


def test_no_spool(collector: Collector) -> None:
    hook = "log_by_lua_file {share}/lua/resty/metrics/hook.lua;"
    socket = f"geo $resty_metrics_socket {{ default {collector.socket_path}; }}"
    http = f"{hook} {socket} server {site().partition('server ')[2]}"
    with Nginx(collector.socket_path, http, include="") as server:
        words = remedy(diagnose(collector.socket_path, server), "nginx.spool")
        line = re.search(r"lua_shared_dict resty_metrics_spool \w+;", words)
        assert line is not None
        server.configure(f"{line[0]} {http}")
        server.reload()
        gone(collector, server, "nginx.spool")


def test_another_socket_in_nginx(collector: Collector) -> None:
    """Each finding names the file in which to write it."""
    with Nginx(server_socket(collector), site()) as server:
        found = diagnose(collector.socket_path, server)
        for one in found.findings["nginx.socket"]:
            file, path = one["seen"].partition(":")[0], re.search(r"write (\S+) there", one["remedy"])
            assert path is not None
            Path(file).write_text(Path(file).read_text().replace(str(server_socket(collector)), path[1]))
        server.reload()
        gone(collector, server, "nginx.socket")


def server_socket(collector: Collector) -> Path:
    return collector.socket_path.with_name("other.sock")


def test_no_socket_in_nginx(collector: Collector) -> None:
    """The workers use the default of the Lua module; the line to write is whole."""
    hook = "log_by_lua_file {share}/lua/resty/metrics/hook.lua; lua_shared_dict resty_metrics_spool 8m;"
    http = f"{hook} server {site().partition('server ')[2]}"
    with Nginx(collector.socket_path, http, include="") as server:
        line = re.search(
            r"geo \$resty_metrics_socket \{ .*? \}", remedy(diagnose(collector.socket_path, server), "nginx.socket")
        )
        assert line is not None
        server.configure(f"{line[0]} {http}")
        server.reload()
        gone(collector, server, "nginx.socket")


def test_the_socket_of_nginx_for_the_collector(socket_path: Path) -> None:
    other = socket_path.with_name("other.sock")
    with Nginx(other, site()) as server:
        with Collector(socket_path):
            words = remedy(diagnose(socket_path, server), "nginx.socket")
        flag = re.search(r"start the collector with --socket.path=(\S+)", words)
        assert flag is not None
        with Collector(Path(flag[1])) as collector:
            heard_of(collector)
            assert bad(diagnose(other, server)) == set()


def test_two_values_of_one_setting(collector: Collector) -> None:
    with Nginx(collector.socket_path, site()) as server:
        file = server.share / "nginx.conf.d" / "lifecycle.conf"
        right = file.read_text()
        file.write_text(right.replace('nginx = "",', 'nginx = "edge",'))
        advice = remedy(diagnose(collector.socket_path, server), "nginx.lifecycle")
        assert advice.startswith("write the same value in both places")
        file.write_text(right)
        server.reload()
        gone(collector, server, "nginx.lifecycle")


OWN = "resty-metrics-own-hook.conf"
BOTH = f"include {{share}}/nginx.conf.d/{OWN};"
UPSTREAMS = "include {share}/nginx.conf.d/upstreams.conf;"
SIZE = "map_hash_max_size 4096;"
WITH_HOOK = "resty-metrics.conf"
FILE = "log_by_lua_file {prefix}/own.lua;"
REFUSED: list[tuple[str, str, str, str]] = [  # what nginx refuses, the remedy; the same mended, with which include
    (FILE, "resty-metrics-own-hook.conf instead", FILE, OWN),
    ("log_by_lua_block { }", "resty-metrics-own-hook.conf instead", "log_by_lua_block { LINE }", OWN),
    ("init_worker_by_lua 'local x = 1';", "leave lifecycle.conf out", "", WITH_HOOK),
    (BOTH, "include one of resty-metrics.conf and", "", WITH_HOOK),
    (f"{UPSTREAMS} {SIZE}", "move the include of upstreams.conf", f"{SIZE} {UPSTREAMS}", WITH_HOOK),
    ("no_such_directive on;", "correct the configuration", "", WITH_HOOK),
]


@pytest.mark.parametrize(("wrong", "words", "right", "include"), REFUSED, ids=[one[0] for one in REFUSED])
def test_a_configuration_that_nginx_refuses(
    collector: Collector, wrong: str, words: str, right: str, include: str
) -> None:
    with Nginx(collector.socket_path, site()) as server:
        line = line_for("log_by_lua_block", str(server.share))
        (server.prefix / "own.lua").write_text(f"{line}\n")
        conf = server.conf.read_text()
        own = f"include {server.share}/nginx.conf.d/{WITH_HOOK};"

        def write(http: str, included: str) -> None:
            inner = http.replace("{share}", str(server.share)).replace("{prefix}", str(server.prefix))
            named = own.replace(WITH_HOOK, included)
            server.conf.write_text(conf.replace(own, f"{inner.replace('LINE', line)}\n{named}"))

        write(wrong, WITH_HOOK)
        assert words in remedy(diagnose(collector.socket_path, server), "nginx.configuration")
        write(right, include)
        server.reload()
        wait_until(lambda: bad(diagnose(collector.socket_path, server)) == set(), 20, "health")


@needs_root
def test_nginx_that_does_not_run(socket_path: Path) -> None:
    server = Nginx(socket_path, site())
    with Collector(socket_path) as collector:
        assert remedy(diagnose(socket_path, server), "nginx.workers").startswith("start nginx")
        with server:
            heard_of(collector)
            assert bad(diagnose(socket_path, server)) == set()


def test_commands_that_are_not_executed_here_are_listed() -> None:
    """Every command of a remedy is applied above, or named with the reason."""
    here = Path(__file__).read_text()
    sources = [*(ROOT / "collector" / "resty_metrics" / "commands" / "doctor").glob("*.py")]
    sources += [*(ROOT / "collector" / "resty_metrics" / "health").glob("*.py")]
    named = set(
        re.findall(
            r"\b(chmod|kill|prlimit|sysctl|systemctl|apt|nsenter|getfacl|ausearch|journalctl|fuser|dmesg)\b",
            "".join(path.read_text() for path in sources),
        )
    )
    applied = {"chmod", "kill", "prlimit"}
    assert named - applied == NOT_EXECUTED.keys() & named
    for word in applied:
        assert word in here
