"""What separates containers: nginx and a collector in namespaces of their own, with a directory that both see."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Self

from support.collector import Collector
from support.nginx import NGINX, Nginx
from support.wait import wait_until

IN_NGINX_CONTAINER = 'ip link set lo up && mount --bind "$1" "$2" && shift 2 && exec "$@"'
IN_COLLECTOR_CONTAINER = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


def container(script: str, shared: Path, inside: Path, *flags: str) -> list[str]:
    """The beginning of a command that is to run in namespaces of its own, with ``shared`` mounted at ``inside``."""
    inside.mkdir(mode=0o755)
    words = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", *flags]
    return [*words, "sh", "-ec", script, "container", str(shared), str(inside)]


class ContainedNginx(Nginx):
    """nginx as the first process of a container; its pid here is that of the container's."""

    def __init__(self, container: list[str], socket_path: Path, http: str) -> None:
        super().__init__(socket_path, http)
        self._container = container
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [NGINX, "-p", str(self.prefix), "-e", str(self.error_log), "-c", str(self.conf), "-g", "daemon off;"]
        self._process = subprocess.Popen([*self._container, *words], stdin=subprocess.DEVNULL)
        wait_until(lambda: len(self.worker_pids()) == 2, message="nginx's workers")

    def master_pid(self) -> int:
        """The one child of unshare."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            raise ProcessLookupError("the container has not begun, or has ended")
        return int(children[0])

    def stop(self) -> None:
        super().stop()
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        self._process.wait(timeout=30)


class ContainedCollector(Collector):
    """``process`` is unshare's, ``pid`` the collector's."""

    def __enter__(self) -> Self:
        self.start()
        return self

    @property
    def pid(self) -> int:
        pid = super().pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait(timeout=10)

    def terminate(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(timeout=10)
