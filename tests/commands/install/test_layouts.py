"""Configurations as distributions, images and tools leave them: dry run, install, doctor, uninstall.

The dry run says what the run does, and has its exit status. Afterwards all is byte for byte as before.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from support.collector import COMMAND, Collector
from support.configurations import LAYOUTS
from support.debian import environment
from support.layouts import LaidOut
from support.nginx import shared_directory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    directory = shared_directory()
    with Collector(directory / "c.sock") as running:
        yield running
    shutil.rmtree(directory, ignore_errors=True)


def call(nginx: LaidOut, collector: Collector, *words: str) -> subprocess.CompletedProcess[str]:
    flags = [
        f"--nginx.command={nginx.command}", f"--share-dir={nginx.share}", f"--socket.path={collector.socket_path}",
        f"--web.listen-address=127.0.0.1:{collector.port}",
    ]  # fmt: skip
    if words[0] == "doctor":
        flags.pop(1)
    return subprocess.run(
        [COMMAND, *words, *flags], capture_output=True, text=True, cwd=nginx.at, env=environment(), check=False,
        timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def agreed(nginx: LaidOut, collector: Collector, command: str) -> str:
    """Return what the command said, after a dry run that said the same."""
    before = nginx.tree()
    dry = call(nginx, collector, command, "--dry-run")
    assert nginx.tree() == before
    wet = call(nginx, collector, command, "--yes")
    assert dry.returncode == wet.returncode, dry.stdout + dry.stderr + wet.stdout + wet.stderr
    assert wet.returncode == 0, wet.stdout + wet.stderr
    assert wet.stdout.startswith(dry.stdout.replace("dry run: nothing was changed\n", "")), dry.stdout + wet.stdout
    assert dry.stderr == wet.stderr == ""
    return wet.stdout


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout(name: str, collector: Collector) -> None:
    with LaidOut(LAYOUTS[name]) as nginx:
        before = nginx.tree()
        assert "counted: a request to " in agreed(nginx, collector, "install")
        assert "already installed" in call(nginx, collector, "install", "--yes").stdout
        judged = call(nginx, collector, "doctor", "--json")
        findings = json.loads(judged.stdout)["findings"]
        assert [finding for finding in findings if finding["verdict"] == "FAIL"] == []
        warned = {finding["check"] for finding in findings if finding["verdict"] == "WARN"}
        assert warned == ({"nginx.shadowed"} if name == "an ingress" else set())
        agreed(nginx, collector, "uninstall")
        assert nginx.tree() == before
