"""Two containers' worth of separation: nginx and the collector share a directory, and nothing else.

Network, pid and mount namespaces differ. Each sees the directory at a path of its own, as two containers mount it.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.collector import COMMAND
from support.containers import (
    IN_COLLECTOR_CONTAINER,
    IN_NGINX_CONTAINER,
    ContainedCollector,
    ContainedNginx,
    container,
)
from support.stage import SLOW_HEALS_SECONDS, Stage, play, site
from support.wait import free_port

NAMESPACES = ("net", "pid_for_children", "mnt")


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
        found = stage.doctor_finds_only()
        assert "missing 1" in found.seen("page.rebinds", "OK")
        assert f"process {stage.collector.pid}, the collector" in found.seen("socket.holder", "OK")
        for kind in ("pid", "mount"):
            assert f"{kind}: another (" in found.seen("socket.open", "OK")
        assert "2 workers run as www-data" in found.seen("nginx.workers", "OK")
    stage.conserved()


def test_the_command_is_executed_with_a_version_flag_in_the_collectors_container(contained: Stage) -> None:
    """As the scanner did: in a pid namespace of its own, where the collector's own path is its socket."""
    stage = contained
    made = stage.path.stat().st_ino
    mounts = f"/proc/{stage.collector.pid}/ns/mnt"
    assert Path(mounts).readlink() != Path("/proc/self/ns/mnt").readlink()
    inside = ["nsenter", f"--mount={mounts}", "unshare", "--pid", "--fork"]
    with stage.load():
        stage.handles(1_000)
        for _ in range(stage.times(10, 100)):
            done = subprocess.run([*inside, COMMAND, "-V"], capture_output=True, text=True, timeout=60, check=True)
            assert (done.stdout.startswith("resty-metrics "), done.stderr) == (True, "")
        assert stage.path.stat().st_ino == made
        stage.heals()
        stage.flows()
        stage.doctor_finds_only()
    stage.conserved()
    assert stage.rebinds("replaced") == stage.rebinds("missing") == 0
    assert not stage.sampler.saw("resty_metrics_socket_up", 0)
