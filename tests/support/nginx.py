"""A real nginx of the test's own: its prefix, its configuration, its life."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from support.wait import free_port, wait_until

ROOT = Path(__file__).parents[2]
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"  # with its path: a binary upgrade executes it as it was called
MODULES = Path("/usr/lib/nginx/modules")
WANTED_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so", "ngx_http_echo_module.so")
INSTALLED = "/usr/share/resty-metrics"
INSTALLED_SOCKET = "/run/resty-metrics/collector.sock"
INCLUDES = ("resty-metrics.conf", "resty-metrics-own-hook.conf")
INSTALLED_STUB_STATUS = "127.0.0.1:19146"
SEPARATOR = "\t"
TRUTH = SEPARATOR.join(
    ["$server_name", "$asked_method", "$status", "$request_length", "$bytes_sent", "$request_time", "$msec", "$pid"]
)
# The first word of the request line: $request_method is GET wherever an error_page led to a URI.
ASKED_METHOD = 'map $request $asked_method { "" ""; "~^([^ ]+)" $1; default ?; }'
KNOWN_METHODS = frozenset(
    "GET HEAD POST PUT DELETE PATCH OPTIONS CONNECT TRACE MKCOL COPY MOVE PROPFIND PROPPATCH LOCK UNLOCK".split()  # noqa: SIM905
)

UPGRADED = "101"

Counts = Counter[tuple[str, str, str]]
Durations = Counter[tuple[str, str]]


def shared_directory() -> Path:
    """A directory that nginx's workers and a collector can both use, whoever they run as."""
    path = Path(tempfile.mkdtemp(prefix="resty-metrics-", dir="/tmp"))
    path.chmod(0o755)
    return path


def set_include(path: Path, name: str, value: str) -> None:
    """State a setting in an installed include, as an operator does: its line, without the comment sign."""
    line, setting = f'geo $resty_metrics_{name} {{ default "{value}"; }}', rf"\$resty_metrics_{name} +\{{ default .*"
    text, count = re.subn(rf"^(?:#     )?geo {setting}$", line, path.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{path} has {count} lines for {name}"
    path.write_text(text)


def _install(prefix: Path, socket_path: Path, stub_status: str) -> Path:
    """lua/ and nginx.conf.d/ as an operator would have them, under ``prefix``."""
    installed = prefix / "share"
    shutil.copytree(ROOT / "lua", installed / "lua")
    shutil.copytree(ROOT / "nginx.conf.d", installed / "nginx.conf.d")
    for path in (installed / "nginx.conf.d").iterdir():
        text = path.read_text().replace(INSTALLED_SOCKET, str(socket_path)).replace(INSTALLED, str(installed))
        path.write_text(text.replace(INSTALLED_STUB_STATUS, stub_status))
        if path.name in INCLUDES:
            set_include(path, "socket", str(socket_path))
    for path in [installed, *installed.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return installed


class Nginx:
    """One nginx. ``http`` is the inside of ``http{}``; ``{share}`` and ``{prefix}`` in it are this instance's paths.

    The truth is its access_log in the format TRUTH: ``access_counts()``.
    """

    def __init__(
        self,
        socket_path: Path,
        http: str,
        workers: int = 2,
        main: str = "",
        include: str = "resty-metrics.conf",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.prefix = shared_directory()
        self.stub_status = f"127.0.0.1:{free_port()}"
        self.share = _install(self.prefix, socket_path, self.stub_status)
        self.conf = self.prefix / "nginx.conf"
        self.pid_file = self.prefix / "nginx.pid"
        self.access_log = self.prefix / "access.log"
        self.error_log = self.prefix / "error.log"
        self._workers = workers
        self._main = main
        self._include = include
        self._environment = {**os.environ, **(environment or {})}
        self.configure(http)

    def __enter__(self) -> "Nginx":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.prefix, ignore_errors=True)

    def configure(self, http: str) -> None:
        """Write the configuration anew; ``start`` or ``reload`` applies it."""
        modules = "".join(f"load_module {MODULES / name};\n" for name in WANTED_MODULES if (MODULES / name).exists())
        include = f"include {self.share}/nginx.conf.d/{self._include};" if self._include else ""
        body = http.replace("{share}", str(self.share)).replace("{prefix}", str(self.prefix))
        self.conf.write_text(
            f"{modules}{'user www-data;' if os.geteuid() == 0 else ''}\n"
            f"worker_processes {self._workers};\npid {self.pid_file};\nerror_log {self.error_log} info;\n"
            f"worker_shutdown_timeout 20s;\n{self._main}\nevents {{ worker_connections 4096; }}\n"
            f"http {{\nlog_format truth '{TRUTH}';\n"
            f"access_log {self.access_log} truth;\nlog_subrequest off;\n"
            f"client_body_temp_path {self.prefix}/body;\nproxy_temp_path {self.prefix}/proxy;\n"
            f"fastcgi_temp_path {self.prefix}/fastcgi;\nuwsgi_temp_path {self.prefix}/uwsgi;\n"
            f"scgi_temp_path {self.prefix}/scgi;\n{include}\n{body}\n{ASKED_METHOD}\n}}\n"
        )

    def call(self, name: str) -> None:
        """Give it a name, for several on one collector; ``start`` or ``reload`` applies it."""
        for include in INCLUDES:
            set_include(self.share / "nginx.conf.d" / include, "nginx", name)
        lifecycle = self.share / "nginx.conf.d" / "lifecycle.conf"
        lifecycle.write_text(re.sub(r'(^ +nginx =) ".*?"', rf'\1 "{name}"', lifecycle.read_text(), flags=re.MULTILINE))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = [NGINX, "-p", str(self.prefix), "-e", str(self.error_log), "-c", str(self.conf), *arguments]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=self._environment)

    def start(self) -> None:
        started = self.command()
        assert started.returncode == 0, started.stderr
        wait_until(lambda: len(self.worker_pids()) == self._workers, message="nginx's workers")

    def master_pid(self) -> int:
        return int(self.pid_file.read_text())

    def _master(self) -> int | None:
        """None where there is none, or nginx is about to write its file."""
        try:
            return self.master_pid()
        except (OSError, ValueError):
            return None

    def worker_pids(self, master: int | None = None) -> list[int]:
        pid = self._master() if master is None else master
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            return []
        return [int(child) for child in children.split() if _is_worker(int(child))]

    def reload(self) -> None:
        """HUP, and wait for the new workers."""
        before = set(self.worker_pids())
        os.kill(self.master_pid(), signal.SIGHUP)
        wait_until(lambda: len(set(self.worker_pids()) - before) >= self._workers, message="new workers after a reload")

    def upgrade(self) -> int:
        """USR2, then QUIT to the old master, as the binary is upgraded. Returns the old master's pid."""
        old = self.master_pid()
        os.kill(old, signal.SIGUSR2)
        wait_until(lambda: self._master() not in (None, old), message="the new master's pid")
        wait_until(lambda: len(self.worker_pids()) == self._workers, message="the new master's workers")
        os.kill(old, signal.SIGQUIT)
        return old

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.master_pid(), number)

    def wait_gone(self, pid: int, timeout: float = 30.0) -> None:
        wait_until(lambda: _has_ended(pid), timeout, f"the end of process {pid}")

    def quit(self) -> None:
        """Graceful end, waited for."""
        pid = self.master_pid()
        os.kill(pid, signal.SIGQUIT)
        self.wait_gone(pid)

    def terminate(self) -> None:
        pid = self.master_pid()
        os.kill(pid, signal.SIGTERM)
        self.wait_gone(pid)

    def kill(self) -> None:
        """kill -9 of the master and its workers."""
        pids = [self.master_pid(), *self.worker_pids()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            self.wait_gone(pid)

    def stop(self) -> None:
        """End whatever of this instance still runs."""
        try:
            pid = self.master_pid()
            os.kill(pid, signal.SIGTERM)
        except (OSError, ValueError):
            return
        self.wait_gone(pid)

    def log(self) -> str:
        return self.error_log.read_text(errors="replace") if self.error_log.exists() else ""

    def errors(self) -> list[str]:
        """Lines of the error log at level error and above."""
        levels = ("[error]", "[crit]", "[alert]", "[emerg]")
        return [line for line in self.log().splitlines() if any(level in line for level in levels)]

    def access_lines(self) -> list[list[str]]:
        text = self.access_log.read_text(errors="replace") if self.access_log.exists() else ""
        return [line.split(SEPARATOR) for line in text.splitlines()]

    def access_counts(self) -> Counts:
        """Requests by (server, method, status), as the page labels them."""
        return Counter(
            (server or "_", method_label(method), status) for server, method, status, *_ in self.access_lines()
        )


def count_lines(lines: Iterable[list[str]]) -> Counts:
    """Lines of an access_log by (server, method, status)."""
    labels = (line[:3] for line in lines)
    return Counter((server or "_", method_label(method), status) for server, method, status in labels)


def with_durations(counts: Counts) -> tuple[Counts, Durations]:
    """The counts, and the durations that belong to them, by (server, status_class); upgraded connections have none."""
    durations: Durations = Counter()
    for (server, _, status), count in counts.items():
        if status != UPGRADED:
            durations[server, status_class(status)] += count
    return counts, durations


def status_class(status: str) -> str:
    return f"{status[0]}xx" if "100" <= status <= "599" else "other"


def method_label(method: str) -> str:
    """A method of the log as the page labels it."""
    if method in ("", "-"):
        return "_"
    return method if method in KNOWN_METHODS else "other"


def _is_worker(pid: int) -> bool:
    try:
        return b"worker process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _has_ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie that its parent has not asked for yet."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    return "State:\tZ" in status
