"""An nginx whose files lie as some distribution, image or tool lays them, below a directory of the test's own."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from support.certificates import Authority
from support.nginx import MODULES, NGINX, shared_directory
from support.wait import free_port, wait_until

MODULES_OF_LUA = "".join(
    f"load_module {MODULES / name};\n" for name in ("ndk_http_module.so", "ngx_http_lua_module.so")
)
USER = "user www-data;\n" if os.geteuid() == 0 else ""
TEMPORARY = "access_log off;\n" + "".join(
    f"    {name}_temp_path DIR/run/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
PORTS = 6

Content = tuple[bytes, int, int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """``files``: texts by relative name, in which TOP, TEMP, DIR, CERT and PORT1 to PORT6 stand for the test's own.

    ``links``: targets by relative name. ``words``: the options of nginx, which is started in the directory ``at``.
    """

    files: Mapping[str, str]
    links: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ("-c", "DIR/nginx.conf")
    at: str = "."


class LaidOut:
    """A layout, written and started."""

    def __init__(self, layout: Layout) -> None:
        self.directory = shared_directory()
        (self.directory / "run").mkdir()
        certificate = Authority(self.directory).issue("localhost")
        certificate.copy_to(self.directory / "cert.pem", self.directory / "key.pem")
        values = {
            "TOP": MODULES_OF_LUA + USER + "pid DIR/run/nginx.pid;\nerror_log DIR/run/error.log info;\n",
            "TEMP": TEMPORARY,
            "CERT": "ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem;",
            "DIR": str(self.directory),
            **{f"PORT{number}": str(free_port()) for number in range(1, PORTS + 1)},
        }

        def filled(text: str) -> str:
            for word, value in values.items():
                text = text.replace(word, value)
            return text

        for name, text in layout.files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(filled(text).encode("utf-8", "surrogateescape"))
        for name, target in layout.links.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(filled(target))
        self.words = [NGINX, *(filled(word) for word in layout.words), "-e", f"{self.directory}/run/error.log"]
        self.at = self.directory / layout.at
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "LaidOut":
        self._process = subprocess.Popen([*self.words, "-g", "daemon off;"], cwd=self.at)
        pid_file = self.directory / "run" / "nginx.pid"
        wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), message="nginx's pid file")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=30)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def command(self) -> str:
        """The command as a person gives it who stands in the directory."""
        return shlex.join(self.words)

    @property
    def share(self) -> Path:
        return self.directory / "usr" / "share" / "resty-metrics"

    def tree(self) -> dict[str, tuple[Content, str]]:
        """Return content, mode, owner and target of everything but what nginx writes while it runs."""
        return {
            str(path): (_content(path), str(path.readlink()) if path.is_symlink() else "")
            for path in sorted(self.directory.rglob("*"))
            if self.directory / "run" not in path.parents and not path.is_socket()
        }


def _content(path: Path) -> Content:
    status = path.lstat()
    content = path.read_bytes() if path.is_file() else b""
    return content, status.st_mode, status.st_uid, status.st_gid
