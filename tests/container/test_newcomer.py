"""Each way of installing in README.md, typed as it stands there, from a bare Debian to a page with counted requests.

The machines fetch what they need over this machine's network; then they have one of their own, so that the ports are
those of README.md. The image's way is in test_image.py; Compose's client only reads the file, since it would fetch
images (test_compose.py has what the services are given).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import readme
from support.machine import Machine
from support.newcomer import Newcomer
from support.wait import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="needs root, for debootstrap"),
]

HAVE = ("sudo", "curl", "systemd", "nginx-light", "libnginx-mod-http-lua", "pipx")
"""What a newcomer has before: an nginx with Lua, as that section begins with, and what the commands are made of."""
LOOK = """
{run} >said &
counted() {{
    curl --silent "$(sed -n 's/^metrics *\\([^ ,]*\\).*/\\1/p' said)" | grep '^nginx_http_responses_total.* [1-9]'
}}
for _ in $(seq 300); do if grep -q Ctrl-C said && counted; then break; fi; sleep 0.1; done
kill $!
wait $!
cat said
"""
SERVED = re.compile(r'server="_",method="GET",status="200"} (\d+)\n')


@pytest.fixture(scope="module")
def with_nginx(base_tree: Path, machines: Path) -> Iterator[Machine]:
    machine = Machine(base_tree, machines / "with-nginx")
    try:
        machine.install(*HAVE)
        machine.freeze()
        yield machine
    finally:
        machine.close()


@pytest.fixture
def newcomer(
    base_tree: Path, machines: Path, with_nginx: Machine, request: pytest.FixtureRequest
) -> Iterator[Newcomer]:
    machine = Machine(base_tree, machines / request.node.name, with_nginx)
    try:
        yield Newcomer(machine)
    finally:
        machine.close()


def start(machine: Machine) -> None:
    """The machine runs, nginx on it, in a network of its own."""
    try:
        machine.boot("--private-network")
    except AssertionError as error:
        pytest.skip(f"systemd cannot be started here: {error}")
    assert machine.run("systemctl", "is-active", "nginx").strip() == "active"


def assert_counts(newcomer: Newcomer) -> None:
    """A request of nginx's own site is on the page, by the command that README.md has for it."""
    before = counted(newcomer)

    def grown() -> bool:
        newcomer.does("curl --silent --fail --output /dev/null http://localhost/")
        return counted(newcomer) > before

    wait_until(grown, message="a request, once nginx's old workers take none")


def counted(newcomer: Newcomer) -> int:
    found = SERVED.search(newcomer.types("seen"))
    return int(found[1]) if found else 0


def test_every_block_is_typed_somewhere() -> None:
    typed = {"run", "check", "venv", "pipx", "serve", "package", "image", "compose", "install", "seen"}
    assert set(readme.blocks()) == typed | {"copy", "include", "reload"}


def test_a_look_at_it(base_tree: Path, machines: Path) -> None:
    machine = Machine(base_tree, machines / "look")
    try:
        machine.install("sudo", "curl")
        newcomer = Newcomer(machine)
        assert newcomer.types("check").endswith("OK: every request is on the page exactly once\n")
        said = newcomer.does(LOOK.format(run=newcomer.block("run")))
        assert re.search(r'^nginx_http_responses_total{server="shop.example",.+} [1-9]', said, re.MULTILINE), said
        assert "A little traffic is on its way. Ctrl-C ends everything." in said
    finally:
        machine.close()


def test_an_environment_of_python(newcomer: Newcomer) -> None:
    newcomer.types("venv")
    start(newcomer.machine)
    with newcomer.in_another_terminal("serve"):
        newcomer.does(f"{readme.PATIENTLY} localhost:19145/-/ready")
        assert "counted: a request to" in newcomer.types("install", answer="y")
        assert_counts(newcomer)
        newcomer.does("sudo resty-metrics uninstall --yes")
        newcomer.types("copy")
        newcomer.does(f"echo {newcomer.block('include')!r} | sudo tee /etc/nginx/conf.d/metrics.conf")
        newcomer.types("reload")
        assert_counts(newcomer)


def test_pipx(newcomer: Newcomer) -> None:
    newcomer.types("pipx")
    start(newcomer.machine)
    with newcomer.in_another_terminal("serve"):
        newcomer.does(f"{readme.PATIENTLY} localhost:19145/-/ready")
        newcomer.types("install", answer="y")
        assert_counts(newcomer)


def test_the_debian_package(newcomer: Newcomer, package: Path) -> None:
    start(newcomer.machine)
    newcomer.does("mkdir dist")
    (newcomer.clone / "dist" / package.name).write_bytes(package.read_bytes())
    newcomer.types("package", lines=slice(1, None))
    newcomer.types("install", answer="y")
    assert_counts(newcomer)
