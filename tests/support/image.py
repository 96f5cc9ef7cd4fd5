"""The container image, and what a container engine makes of it: there is buildah here, but no engine.

A container is a process in namespaces of its own, whose root is the image's file system, read-only, with volumes
mounted into it; user, environment and command are the image's own configuration. It has no capability and can get none.
"""

import argparse
import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import readme
from support.containers import ContainedCollector
from support.index import CERTIFICATES, write_pip_configuration
from support.nginx import ROOT
from support.wait import wait_until

BASE = "docker.io/library/python:3.13-slim-bookworm"
IMAGE = "resty-metrics"
IMAGE_UID = 10001
SOCKETS, STATE = "/run/resty-metrics", "/var/lib/resty-metrics"
# $1: the file system, $2: how many volumes; each of two words, from and to; then the command.
_BEGIN = """
root=$1; count=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$count" -gt 0 ]; do mount --bind "$1" "$root$2"; shift 2; count=$((count - 1)); done
cd "$root"
exec "$@"
"""


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own under ``directory``; no engine, no network namespace."""

    directory: Path

    def words(self, command: str, *arguments: str | Path) -> list[str]:
        storage = ["--root", f"{self.directory}/root", "--runroot", f"{self.directory}/run", "--storage-driver", "vfs"]
        return ["buildah", *storage, command, *map(str, arguments)]

    def __call__(self, command: str, *arguments: str | Path) -> str:
        words = self.words(command, *arguments)
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL, cwd=ROOT, check=False
        )
        assert done.returncode == 0, f"{words[7:]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout.strip()

    def build(self, tree: Path) -> None:
        """By the words of README.md; the base image, under the name that FROM asks for, is ``tree``."""
        base = self("from", "scratch")
        self("copy", "--quiet", base, tree, "/")
        self("commit", "--quiet", base, BASE)
        self("rm", base)
        pip = self.directory / "pip.conf"
        write_pip_configuration(pip)
        volumes = [f"--volume={pip}:/etc/pip.conf:ro", f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"]
        options = ["--isolation=chroot", "--pull-never", "--format=docker", "--layers=false", *volumes]
        docker, build, *words = shlex.split(readme.blocks()["image"].splitlines()[0])
        assert (docker, build) == ("docker", "build")
        self("build", *options, *words)


class Image:
    """The built image: ``configuration`` as engines read it; its files below ``root``, ``container`` to buildah."""

    def __init__(self, buildah: Buildah) -> None:
        described = json.loads(buildah("inspect", "--type=image", IMAGE))
        self.configuration: dict[str, Any] = described["Docker"]["config"]
        self.container = buildah("from", "--pull-never", IMAGE)
        self.root = buildah("mount", self.container)

    def command(self, *arguments: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """What its first process is, inside; ``arguments`` instead of the image's own."""
        variables = [*self.configuration["Env"], *(f"{name}={value}" for name, value in (environment or {}).items())]
        words = [*self.configuration["Entrypoint"], *(arguments or self.configuration["Cmd"])]
        return self._as_its_user(["/usr/bin/env", "-i", *variables, *words])

    def _as_its_user(self, words: Sequence[str]) -> list[str]:
        user = self.configuration["User"]
        no_more = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all,+setuid,+setgid,+sys_chroot"]
        return [*no_more, "chroot", f"--userspec={user}", "--groups=", ".", *words]

    def run(self, volumes: Mapping[str, str], command: Sequence[str], *namespaces: str) -> list[str]:
        """A container's first process, with ``volumes`` (from, to); ``namespaces``: flags of unshare besides."""
        pairs = [word for pair in volumes.items() for word in pair]
        apart = ["unshare", "--mount", "--fork", "--kill-child", *namespaces]
        return [*apart, "sh", "-euc", _BEGIN, "container", self.root, str(len(volumes)), *pairs, *command]

    def docker_run(self, line: str, named: Mapping[str, str]) -> list[str]:
        """The same for a ``docker run`` as somebody typed it. ``named``: where the volumes are that have a name.

        The network is that of whoever runs it, so a port has to be published as itself.
        """
        parser = argparse.ArgumentParser(exit_on_error=False)
        parser.add_argument("words", nargs=2)
        parser.add_argument("-v", action="append", default=[])
        parser.add_argument("-p", action="append", default=[])
        parser.add_argument("image")
        typed = parser.parse_args(shlex.split(line))
        assert (typed.words, typed.image) == (["docker", "run"], IMAGE)
        for port in typed.p:
            outside, inside = port.split(":")
            assert outside == inside
            assert f"{inside}/tcp" in self.configuration["ExposedPorts"]
        volumes = dict(one.split(":") for one in typed.v)
        return self.run({named.get(one, one): to for one, to in volumes.items()}, self.command(), "--pid")


class ImageCollector(ContainedCollector):
    """The collector as the image runs it. ``process`` is unshare's, ``pid`` the collector's; a new ``start`` is
    another container on the same volumes, ``directory``/run and ``directory``/state."""

    def __init__(self, image: Image, directory: Path, *namespaces: str) -> None:
        super().__init__(directory / "run" / "collector.sock")
        self._image, self._namespaces = image, namespaces
        self.volumes = {str(directory / "run"): SOCKETS, str(directory / "state"): STATE}
        for path in self.volumes:
            Path(path).mkdir(mode=0o755)
            os.chown(path, IMAGE_UID, IMAGE_UID)

    def start(self) -> None:
        command = self._image.command(environment={"RESTY_METRICS_WEB_LISTEN_ADDRESS": f"127.0.0.1:{self.port}"})
        words = self._image.run(self.volumes, command, *self._namespaces)
        self.process = subprocess.Popen(words, stderr=self._log, stdout=self._log, stdin=subprocess.DEVNULL)
        wait_until(self.ready, message="the collector's readiness")

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As an engine executes a health check: in all namespaces of the container, as its user."""
        variables = [f"RESTY_METRICS_WEB_LISTEN_ADDRESS=127.0.0.1:{self.port}", *self._image.configuration["Env"]]
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--root", "--wd"]
        user = [f"--setuid={IMAGE_UID}", f"--setgid={IMAGE_UID}"]
        return subprocess.run(
            [*inside, *user, "/usr/bin/env", "-i", *variables, *words], capture_output=True, text=True, timeout=60
        )
