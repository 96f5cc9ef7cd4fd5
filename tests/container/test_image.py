"""The container image: built from the Dockerfile, run beside an nginx that shares its directory."""

import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.collector import samples_of
from support.index import CERTIFICATES, write_pip_configuration
from support.nginx import ROOT, Nginx, shared_directory
from support.wait import free_port, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="needs root, for debootstrap"),
]

BASE = "docker.io/library/python:3.13-slim-bookworm"
IMAGE_UID = 10001


def run(*words: str | Path, timeout: float = 600) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{words[:6]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own under ``directory``; no engine, no network namespace."""

    directory: Path

    def words(self, command: str, *arguments: str | Path) -> list[str]:
        storage = ["--root", f"{self.directory}/root", "--runroot", f"{self.directory}/run", "--storage-driver", "vfs"]
        return ["buildah", *storage, command, *map(str, arguments)]

    def __call__(self, command: str, *arguments: str | Path) -> str:
        return run(*self.words(command, *arguments))


def make_base(buildah: Buildah, tree: Path) -> None:
    """The base image under the name that FROM asks for."""
    base = buildah("from", "scratch")
    buildah("copy", "--quiet", base, tree, "/")
    buildah("commit", "--quiet", base, BASE)
    buildah("rm", base)


@pytest.fixture(scope="module")
def buildah(base_tree: Path) -> Iterator[Buildah]:
    """buildah with the image, built."""
    directory = shared_directory()
    tool = Buildah(directory)
    try:
        make_base(tool, base_tree)
        pip = directory / "pip.conf"
        write_pip_configuration(pip)
        volumes = [f"--volume={pip}:/etc/pip.conf:ro", f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"]
        options = ["--isolation=chroot", "--pull-never", "--format=docker", "--layers=false", *volumes]
        tool("build", *options, "--tag=resty-metrics", ROOT)
        yield tool
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_the_image_is_small_and_not_root(buildah: Buildah) -> None:
    container = buildah("from", "--pull-never", "resty-metrics")
    inside = ["--isolation=chroot", container, "--"]
    assert buildah("run", *inside, "id", "-u") == str(IMAGE_UID)
    assert buildah("run", *inside, "resty-metrics", "-V").startswith("resty-metrics 0.")
    assert buildah("run", *inside, "sh", "-c", "ls /src 2>&1 || true").startswith("ls: cannot access")
    export = "resty-metrics export /tmp/files >/dev/null && cd /tmp/files && ls */resty-metrics.conf */rules grafana"
    exported = buildah("run", *inside, "sh", "-c", export).split()
    assert {"nginx.conf.d/resty-metrics.conf", "alerts.yml", "overview.json", "provisioning"} <= set(exported)
    added = int(buildah("run", *inside, "du", "-sk", "/opt/resty-metrics").split()[0])
    assert added < 72_000, "the libraries, with their bytecode: uvloop is 14 MB of it, pygments (by rich, for top) 10"
    buildah("rm", container)


def test_the_official_nginx_may_send_whatever_the_file_says(buildah: Buildah) -> None:
    """A variable in the image would win over a file that is mounted."""
    container = buildah("from", "--pull-never", "resty-metrics")
    inside = ["--isolation=chroot", container, "--", "sh", "-c"]
    write = "echo 'socket: {allow_uid: [1000]}' > /tmp/c.yml && resty-metrics check-config /tmp/c.yml"
    assert "allow_uid:\n  - 1000\n" in buildah("run", *inside, write)
    known = "from collector.ingest.credentials import allowed_uids; print(101 in allowed_uids(()))"
    assert buildah("run", *inside, f"python3 -c '{known}'") == "True"
    buildah("rm", container)


def test_the_image_counts_what_nginx_beside_it_serves(buildah: Buildah, shared: Path) -> None:
    os.chown(shared, IMAGE_UID, IMAGE_UID)
    port, page_port = free_port(), free_port()
    site = f"server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200; }} }}"
    container = buildah("from", "--pull-never", "resty-metrics")
    serve = ["resty-metrics", "serve", f"--web.listen-address=127.0.0.1:{page_port}"]
    options = ["--isolation=chroot", f"--volume={shared}:/run/resty-metrics", container, "--", *serve]
    url = f"http://127.0.0.1:{page_port}"
    collector = subprocess.Popen(buildah.words("run", *options), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(lambda: answers(f"{url}/-/ready"), 30, "the collector in its container")
        with Nginx(shared / "collector.sock", site) as nginx:
            for _ in range(50):
                assert answers(f"http://127.0.0.1:{port}/")
            labels = frozenset({("server", "a.example"), ("method", "GET"), ("status", "200")})
            counted = ("nginx_http_responses_total", labels)
            wait_until(lambda: samples_of(read(f"{url}/metrics")).get(counted) == 50, message="the requests")
            assert nginx.errors() == []
        healthcheck = ["resty-metrics", "healthcheck", f"--web.listen-address=127.0.0.1:{page_port}"]
        assert buildah("run", "--isolation=chroot", container, "--", *healthcheck) == ""
    finally:
        os.killpg(collector.pid, signal.SIGTERM)
        collector.wait(timeout=20)
        wait_until(lambda: not answers(url), message="the end of the collector in its container")
        buildah("rm", container)


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


def answers(url: str) -> bool:
    try:
        read(url)
    except OSError:
        return False
    return True
