"""The demo's files: the project's own and a configuration of nginx, in a temporary directory, on free ports."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.error import DemoError

ROOT = Path(__file__).parents[2]
INSTALLED, INSTALLED_SOCKET = "/usr/share/resty-metrics", "/run/resty-metrics/collector.sock"
INSTALLED_STUB_STATUS = "127.0.0.1:19146"
MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"))
WANTED_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
WORKER_USER = "www-data"


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports on loopback."""

    site: int
    page: int
    stub_status: int


def choose_port(preferred: int) -> int:
    """Return the preferred TCP port of loopback if it is free, else any free one. 0: any. Raises DemoError."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            chosen: int = probe.getsockname()[1]
            return chosen
    raise DemoError("no TCP port of loopback is free")


@contextlib.contextmanager
def workspace(ports: Ports) -> Iterator[Path]:
    """Install the demo in a temporary directory, and remove that at the end."""
    prefix = Path(tempfile.mkdtemp(prefix="resty-metrics-demo-", dir="/tmp"))
    try:
        install(prefix, ports)
        yield prefix
    finally:
        shutil.rmtree(prefix, ignore_errors=True)


def _modules() -> str:
    found = [next((at / name for at in MODULES if (at / name).exists()), None) for name in WANTED_MODULES]
    return "".join(f"load_module {path};\n" for path in found if path is not None)


def install(prefix: Path, ports: Ports) -> None:
    """Install the project's files and the demo's configuration below ``prefix``, as an operator would."""
    share = prefix / "share"
    for name in ("lua", "nginx.conf.d"):
        shutil.copytree(ROOT / name, share / name)
    replace = {
        INSTALLED_SOCKET: str(prefix / "run" / "collector.sock"),
        INSTALLED: str(share),
        INSTALLED_STUB_STATUS: f"127.0.0.1:{ports.stub_status}",
    }
    for path in (share / "nginx.conf.d").iterdir():
        path.write_text(_replaced(path.read_text(), replace))
    for path in (prefix, share, *share.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for name in ("run", "temp"):
        (prefix / name).mkdir(mode=0o755)
    user = f"user {WORKER_USER};" if os.geteuid() == 0 else ""
    words = {"@modules@": _modules(), "@user@": user, "@prefix@": str(prefix), "@site@": str(ports.site)}
    (prefix / "nginx.conf").write_text(_replaced(Path(__file__).with_name("nginx.conf").read_text(), words))


def _replaced(text: str, words: dict[str, str]) -> str:
    for word, by in words.items():
        text = text.replace(word, by)
    return text


def nginx_command(prefix: Path) -> list[str]:
    """Return the command that starts nginx with the demo's own configuration."""
    nginx = shutil.which("nginx") or shutil.which("openresty") or "/usr/sbin/nginx"
    return [nginx, "-p", str(prefix), "-e", str(prefix / "error.log"), "-c", str(prefix / "nginx.conf")]


def test_configuration(prefix: Path) -> bool:
    """Return True if ``nginx -t`` passes with every file of nginx.conf.d/ whose directives Debian's nginx knows."""
    done = subprocess.run([*nginx_command(prefix), "-q", "-t"], check=False)
    return done.returncode == 0
