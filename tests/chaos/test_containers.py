"""Two containers' worth of separation: nginx and the collector share a directory, and nothing else.

Network, pid and mount namespaces differ. Each sees the directory at a path of its own, as two containers mount it.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.collector import Collector
from support.nginx import NGINX, Nginx
from support.stage import SLOW_HEALS_SECONDS, Stage, play, site
from support.wait import free_port, wait_until

NAMESPACES = ("net", "pid_for_children", "mnt")
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


@pytest.fixture
def contained(request: pytest.FixtureRequest, shared: Path, long: bool) -> Iterator[Stage]:
    directory, port = shared / "run", free_port()
    directory.mkdir(mode=0o755)
    theirs, ours = shared / "nginx-sees", shared / "collector-sees"
    of_collector = container(IN_COLLECTOR_CONTAINER, directory, ours)
    of_nginx = container(IN_NGINX_CONTAINER, directory, theirs, "--net")
    collector = ContainedCollector(ours / "collector.sock", f"--state.dir={shared}/state", under=of_collector)
    with (
        collector,
        ContainedNginx(of_nginx, theirs / "collector.sock", site(port)) as nginx,
        play(Stage(request.node.name, shared, collector, nginx, port, long, directory / "collector.sock")) as stage,
    ):
        stage.nginx_under = ("nsenter", "--target", str(nginx.master_pid()), "--mount")
        stage.load_under = ("nsenter", f"--net=/proc/{nginx.master_pid()}/ns/net")
        yield stage


def test_they_share_nothing_but_the_directory(contained: Stage) -> None:
    stage = contained
    for name in NAMESPACES:
        links = {Path(f"/proc/{pid}/ns/{name}").readlink() for pid in (stage.collector.pid, stage.nginx.master_pid())}
        assert len(links) == 2, name
    with stage.load():
        stage.handles(10_000)
        stage.flows(0)
        for number in range(stage.times(2, 10)):
            with stage.sampler.away():
                stage.collector.kill()
                if number == 0:
                    stage.doctor("collector.process", "FAIL", "no collector")
                stage.collector.start()
            stage.heals(SLOW_HEALS_SECONDS)
            stage.nginx.reload()
            stage.flows()
            stage.path.unlink()
            stage.heals()
            stage.flows()
        found = stage.doctor_finds_only("page.rebinds")
        assert "missing 1" in found.seen("page.rebinds", "WARN")
        assert f"process {stage.collector.pid}, the collector" in found.seen("socket.holder", "OK")
        for kind in ("pid", "mount"):
            assert f"{kind}: another (" in found.seen("socket.open", "OK")
        assert "2 workers run as www-data" in found.seen("nginx.workers", "OK")
    stage.conserved()
