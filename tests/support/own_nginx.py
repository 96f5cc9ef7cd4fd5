"""An nginx whose files a test writes itself, started in a directory of the test's own."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from support.nginx import MODULES, NGINX, ROOT, shared_directory
from support.wait import free_port, wait_until

BEGIN = "".join(f"load_module {MODULES / name};\n" for name in ("ndk_http_module.so", "ngx_http_lua_module.so")) + (
    "user www-data;\n" if os.geteuid() == 0 else ""
)
# The inside of http{} that each has: no file outside of its directory is written.
HTTP = "access_log off;\n" + "".join(
    f"{name}_temp_path {{directory}}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)


class OwnNginx:
    """``files``: texts by relative name, in which BEGIN, HTTP, PORT and DIRECTORY stand for what is said above.

    ``words``: the options of nginx, which runs in the directory. ``share/`` there has our files.
    """

    def __init__(self, files: Mapping[str, str], words: Sequence[str], socket_path: Path) -> None:
        self.directory = shared_directory()
        self.port = free_port()
        self.words = [NGINX, *words]
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("lua", "nginx.conf.d"):
            shutil.copytree(ROOT / name, self.directory / "share" / name)
        values = {
            "BEGIN": BEGIN,
            "HTTP": f"geo $resty_metrics_socket {{ default {socket_path}; }}\n" + HTTP.format(directory=self.directory),
            "PORT": str(self.port),
            "DIRECTORY": str(self.directory),
        }
        for name, text in files.items():
            for word, value in values.items():
                text = text.replace(word, value)
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))

    def __enter__(self) -> "OwnNginx":
        self._process = subprocess.Popen([*self.words, "-g", "daemon off;"], cwd=self.directory)
        wait_until(lambda: self.pid_file.exists() and self.pid_file.read_text().strip(), message="nginx's pid file")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=30)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid_file(self) -> Path:
        return self.directory / "nginx.pid"

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    @property
    def command(self) -> str:
        """The command as a person gives it, standing in the directory."""
        return shlex.join(self.words)
