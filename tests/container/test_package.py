"""The Debian package: built, installed, upgraded, removed, purged, on a machine without systemd and on one with it."""

import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.collector import Samples, samples_of
from support.machine import Machine
from support.nginx import shared_directory
from support.wait import free_port, wait_until
from support.worker import Worker, counter

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="needs root, for debootstrap"),
]

SOCKET = "/run/resty-metrics/collector.sock"
UNIT = "resty-metrics.service"
MOST_EXPOSED = 25  # tenths, by systemd-analyze security
IMPOSTOR = f"""
import os, signal, socket
taken = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
taken.bind("/run/resty-metrics/other")
os.rename("/run/resty-metrics/other", "{SOCKET}")
signal.pause()
"""
KEPT_BY_DEBIAN = ("/etc/group", "/etc/gshadow", "/etc/passwd", "/etc/shadow", "/etc/subuid", "/etc/subgid")


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    path = shared_directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def newer(package: Path, directory: Path, base_tree: Path) -> Path:
    """The same as the next revision."""
    machine = Machine(base_tree, directory / "repacker")
    try:
        shutil.copy(package, machine.root / "old.deb")
        machine.run("dpkg-deb", "-R", "/old.deb", "/tree")
        control = machine.root / "tree/DEBIAN/control"
        control.write_text(control.read_text().replace("-1\nArch", "-2\nArch"))
        machine.run("dpkg-deb", "-Znone", "-b", "/tree", "/new.deb")
        return Path(shutil.copy(machine.root / "new.deb", directory / "newer.deb"))
    finally:
        machine.close()


@pytest.fixture
def machine(base_tree: Path, directory: Path, package: Path, newer: Path) -> Iterator[Machine]:
    place = directory / "machine"
    one = Machine(base_tree, place)
    try:
        shutil.copy(package, one.root / "resty-metrics.deb")
        shutil.copy(newer, one.root / "newer.deb")
        yield one
    finally:
        one.close()
        shutil.rmtree(place)


def files(machine: Machine) -> set[str]:
    """Everything that is there, but what dpkg and its like note of their own work."""
    left_out = ("/var/lib/dpkg", "/var/cache", "/var/log", "/var/lib/apt", "/etc/pip.conf", "/proc", "/run", "/tmp")
    top = str(machine.root)
    paths = (str(Path(folder, name)).removeprefix(top) for folder, _, names in os.walk(top) for name in names)
    return {path for path in paths if not path.startswith(left_out)}


def test_without_systemd(machine: Machine) -> None:
    before = files(machine)
    machine.run("dpkg", "-i", "/resty-metrics.deb")
    assert machine.run("resty-metrics", "-V").startswith("resty-metrics 0.")
    assert machine.run("id", "-un", "resty-metrics").strip() == "resty-metrics"
    assert machine.run("stat", "-c", "%U %a", "/var/lib/resty-metrics").split() == ["resty-metrics", "750"]
    assert "state" in machine.run("resty-metrics", "check-config", "/etc/resty-metrics/config.yml")
    changed = machine.root / "etc/resty-metrics/config.yml"
    changed.write_text("log:\n  level: debug\n")
    machine.run("dpkg", "-i", "/newer.deb")
    assert changed.read_text() == "log:\n  level: debug\n"

    include = machine.root / "etc/nginx/conf.d/metrics.conf"
    include.parent.mkdir(parents=True)
    include.write_text("include /usr/share/resty-metrics/nginx.conf.d/resty-metrics.conf;\n")
    said = machine.run("dpkg", "-r", "resty-metrics", status=1)
    assert "/etc/nginx/conf.d/metrics.conf:1:include /usr/share/resty-metrics/" in said
    assert (machine.root / "usr/share/resty-metrics/nginx.conf.d/resty-metrics.conf").exists()
    include.write_text("# include /usr/share/resty-metrics/nginx.conf.d/resty-metrics.conf;\n")
    machine.run("dpkg", "-r", "resty-metrics")
    include.unlink()
    assert changed.exists()
    assert (machine.root / "var/lib/resty-metrics").is_dir()
    machine.run("dpkg", "-P", "resty-metrics")
    left = {path.removesuffix("-") for path in files(machine) ^ before}
    assert left <= set(KEPT_BY_DEBIAN)
    assert not (machine.root / "var/lib/resty-metrics").exists()
    assert not (machine.root / "etc/resty-metrics").exists()


class Service:
    """The service on a machine that runs, as its users see it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.port = free_port()

    def settings(self, *lines: str) -> None:
        """A drop-in; what it says holds from the next start."""
        there = self.machine.path(f"/etc/systemd/system/{UNIT}.d")
        there.mkdir(parents=True, exist_ok=True)
        listen = f"Environment=RESTY_METRICS_WEB_LISTEN_ADDRESS=127.0.0.1:{self.port}"
        (there / "test.conf").write_text("\n".join(["[Service]", listen, *lines, ""]))

    def send(self, value: int) -> None:
        """Counted and acknowledged."""
        with Worker(self.machine.path(SOCKET)) as worker:
            worker.send(worker.next_batch(counter("sent_total", value)))
            assert worker.answer()[2] == 1

    def samples(self) -> Samples:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as response:
            return samples_of(response.read().decode())

    def sent(self) -> float | None:
        return self.samples().get(("sent_total", frozenset()))

    def shown(self, name: str) -> str:
        return self.machine.run("systemctl", "show", "--value", f"--property={name}", UNIT).strip()

    def journal(self) -> str:
        return self.machine.run("journalctl", "--no-pager", "--output=cat", f"--unit={UNIT}")

    def lose_the_socket(self, until: str) -> None:
        """To a process of root's, until the log says so."""
        self.machine.run("systemd-run", "--unit=impostor", "--collect", "/usr/bin/python3", "-c", IMPOSTOR)
        wait_until(lambda: until in self.journal(), message=until)
        self.machine.run("systemctl", "stop", "impostor")


def test_under_systemd(machine: Machine) -> None:
    machine.install("systemd", "nginx-light", "libnginx-mod-http-lua")
    service = Service(machine)
    site = machine.root / "etc/nginx/sites-available/default"
    site.write_text(
        f"server {{ listen 127.0.0.1:{free_port()}; server_name a.example; location / {{ return 200; }} }}\n"
    )
    try:
        machine.boot()
    except AssertionError as error:
        pytest.skip(f"systemd cannot be started here: {error}")
    service.settings()
    machine.run("dpkg", "-i", "/resty-metrics.deb")
    assert service.shown("ActiveState") == "active"
    assert service.shown("StatusText") == "collecting"
    assert machine.run("systemctl", "is-enabled", UNIT).strip() == "enabled"
    assert machine.run("stat", "-c", "%U", f"/proc/{service.shown('MainPID')}").strip() == "resty-metrics"
    machine.run("systemd-analyze", "verify", UNIT)
    machine.run("systemd-analyze", "security", f"--threshold={MOST_EXPOSED}", UNIT)
    service.send(3)
    assert_healed_and_kept(service)
    assert_named_where_that_is_allowed(service)
    machine.run("dpkg", "-i", "/newer.deb")
    assert service.shown("ActiveState") == "active"
    service.send(4)
    assert service.sent() == 7
    assert_nginx_keeps_what_it_needs(machine)
    machine.run("dpkg", "-r", "resty-metrics")
    machine.run("nginx", "-t")
    assert machine.path("/run/resty-metrics").is_dir()
    machine.run("dpkg", "-i", "/newer.deb")
    service.send(5)
    assert service.sent() == 12
    machine.run("dpkg", "-P", "resty-metrics")
    assert not machine.path("/run/resty-metrics").exists()


def assert_nginx_keeps_what_it_needs(machine: Machine) -> None:
    """The command puts the package's files into nginx, and the package stays until they are out again."""
    assert "counted: a request to" in machine.run("resty-metrics", "install", "--yes")
    said = machine.run("dpkg", "-r", "resty-metrics", status=1)
    assert "/etc/nginx/conf.d/resty-metrics.conf:2:include /usr/share/resty-metrics/" in said
    assert machine.run("systemctl", "is-active", UNIT).strip() == "active"
    machine.run("resty-metrics", "uninstall", "--yes")
    assert machine.run("dpkg", "-V", "resty-metrics") == ""


def assert_healed_and_kept(service: Service) -> None:
    """What the unit's fences must let through, and what it is there for."""
    machine = service.machine
    machine.run("rm", SOCKET)
    wait_until(machine.path(SOCKET).exists, message="the socket, after it was removed")
    machine.run("rm", "-r", "/run/resty-metrics")
    machine.run("systemd-tmpfiles", "--create", "resty-metrics.conf")
    wait_until(machine.path(SOCKET).exists, message="the socket, in a directory that was made anew")
    service.send(0)
    machine.run("systemctl", "reload", UNIT)
    machine.run("systemctl", "stop", UNIT)
    assert machine.path("/run/resty-metrics/collector.sock.lock").exists()
    service.settings("WatchdogSec=2")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", UNIT)
    assert service.sent() == 3
    assert_not_left_hanging(service)
    assert "Operation not permitted" not in service.journal()


def assert_not_left_hanging(service: Service) -> None:
    hung = service.shown("MainPID")
    service.machine.run("systemctl", "kill", "--signal=STOP", UNIT)
    wait_until(lambda: service.shown("MainPID") not in ("0", hung), 60, "another process")
    wait_until(lambda: service.shown("ActiveState") == "active", 60, "its readiness")
    assert "Watchdog timeout" in service.journal()
    assert service.sent() == 3


def assert_named_where_that_is_allowed(service: Service) -> None:
    """Who of another user took the socket: with the drop-in that comes along."""
    service.lose_the_socket("or cannot be inspected by this user")
    there = service.machine.path(f"/etc/systemd/system/{UNIT}.d")
    shutil.copy(service.machine.path("/usr/share/doc/resty-metrics/examples/attribution.conf"), there)
    service.machine.run("systemctl", "daemon-reload")
    service.machine.run("systemctl", "restart", UNIT)
    service.lose_the_socket("this process had replaced the socket")
    assert service.sent() == 3
