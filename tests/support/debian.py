"""An nginx laid out as Debian lays it out, below a directory of the test's own, and what ``install`` does to it."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from support.collector import COMMAND, Collector
from support.nginx import MODULES, NGINX, shared_directory
from support.wait import free_port, wait_until

LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
NGINX_CONF = """\
{user}worker_processes 2;
pid {run}/nginx.pid;
error_log {run}/error.log info;
include {etc}/modules-enabled/*.conf;

events {{
\tworker_connections 768;
}}

http {{

\t##
\t# Basic Settings
\t##

\tsendfile on;
\tdefault_type application/octet-stream;
\taccess_log {run}/access.log;
\tclient_body_temp_path {run}/body;
\tproxy_temp_path {run}/proxy;
\tfastcgi_temp_path {run}/fastcgi;
\tuwsgi_temp_path {run}/uwsgi;
\tscgi_temp_path {run}/scgi;
{http}
\t##
\t# Virtual Host Configs
\t##

{includes}}}
"""
INCLUDES = "\tinclude {etc}/conf.d/*.conf;\n\tinclude {etc}/sites-enabled/*;\n"
SITE = """\
server {{
\tlisten 127.0.0.1:{port} default_server;
\tserver_name shop.example;
{server}
\tlocation / {{
\t\treturn 200;
\t}}
}}
"""

Tree = dict[str, tuple[bytes | None, int, int, int, int]]


@dataclass(frozen=True, slots=True)
class Done:
    """What a command said. ``text``: all of it."""

    status: int
    out: str
    error: str

    @property
    def text(self) -> str:
        return self.out + self.error


class Debian:
    """``http``, ``server``: put into ``http{}``, into the site's server; ``includes`` False: all is in nginx.conf.

    ``told_socket``: that of a collector other than the one whose page is asked.
    """

    def __init__(
        self, http: str = "", server: str = "", includes: bool = True, modules: Sequence[str] = LUA_MODULES
    ) -> None:
        self.directory = shared_directory()
        self.etc, self.run = self.directory / "etc" / "nginx", self.directory / "run"
        self.share = self.directory / "usr" / "share" / "resty-metrics"
        self.port = free_port()
        self.told_socket: Path | None = None
        for name in ("conf.d", "modules-enabled", "sites-available", "sites-enabled"):
            (self.etc / name).mkdir(parents=True)
        self.run.mkdir()
        loads = "".join(f"load_module {MODULES / name};\n" for name in modules)
        (self.etc / "modules-enabled" / "50-mod-http-lua.conf").write_text(loads)
        site = SITE.format(port=self.port, server=server)
        values = {"etc": self.etc, "run": self.run, "user": "user www-data;\n" if os.geteuid() == 0 else ""}
        shown = INCLUDES.format(**values) if includes else site
        self.conf.write_text(NGINX_CONF.format(**values, http=http, includes=shown))
        available = self.etc / "sites-available" / "default"
        available.write_text(site)
        (self.etc / "sites-enabled" / "default").symlink_to(available)

    @property
    def conf(self) -> Path:
        return self.etc / "nginx.conf"

    @property
    def snippet(self) -> Path:
        return self.etc / "conf.d" / "resty-metrics.conf"

    def __enter__(self) -> "Debian":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def words(self) -> list[str]:
        return [NGINX, "-p", str(self.run), "-e", str(self.run / "error.log"), "-c", str(self.conf)]

    def nginx(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.words, *arguments], capture_output=True, text=True, timeout=60, check=False)

    def start(self) -> None:
        started = self.nginx()
        assert started.returncode == 0, started.stderr
        wait_until(lambda: len(self.workers()) == 2, message="nginx's workers")

    def master(self) -> int:
        return int((self.run / "nginx.pid").read_text())

    def workers(self) -> set[int]:
        """Those that take requests."""
        try:
            pid = self.master()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            titles = {int(one): Path(f"/proc/{one}/cmdline").read_bytes() for one in children}
        except (OSError, ValueError):
            return set()
        return {one for one, title in titles.items() if b"worker process" in title and b"shutting" not in title}

    def reload(self) -> None:
        before = self.workers()
        os.kill(self.master(), signal.SIGHUP)
        wait_until(lambda: self.workers() and not self.workers() & before, message="new workers")

    def stop(self) -> None:
        try:
            pid = self.master()
            os.kill(pid, signal.SIGTERM)
        except (OSError, ValueError):
            return
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), message="the end of nginx")

    def tree(self) -> Tree:
        """Everything below etc and usr: content (None: a directory, a link's target), mode, owner, time."""
        tops = (self.etc, self.directory / "usr")
        return {
            str(path): self._entry(path) for top in tops for path in [top, *sorted(top.rglob("*"))] if path.exists()
        }

    def _entry(self, path: Path) -> tuple[bytes | None, int, int, int, int]:
        status = path.lstat()
        content = str(path.readlink()).encode() if path.is_symlink() else None if path.is_dir() else path.read_bytes()
        return content, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns

    def flags(self, collector: Collector | None) -> list[str]:
        flags = [f"--nginx.command={shlex.join(self.words)}", f"--share-dir={self.share}"]
        if collector is None:
            return [*flags, f"--socket.path={self.run}/none.sock", f"--web.listen-address=127.0.0.1:{free_port()}"]
        return [
            *flags,
            f"--socket.path={self.told_socket or collector.socket_path}",
            f"--web.listen-address=127.0.0.1:{collector.port}",
        ]


def words(command: str, debian: Debian, collector: Collector | None, *arguments: str) -> list[str]:
    return [COMMAND, command, *debian.flags(collector), *arguments]


def environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RESTY_METRICS_")}


def run(command: str, debian: Debian, collector: Collector | None, *arguments: str, yes: bool = True) -> Done:
    """``resty-metrics install`` or ``uninstall``, not on a terminal."""
    done = subprocess.run(
        [*words(command, debian, collector, *arguments), *(["--yes"] if yes else [])],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env=environment(),
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)
