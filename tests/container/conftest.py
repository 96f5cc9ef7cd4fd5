"""A minimal Debian, made once for all tests that need one, and the package that is made for it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.image import Buildah, Image
from support.machine import Machine
from support.newcomer import Newcomer
from support.nginx import shared_directory

PACKAGES = "python3,python3-venv,ca-certificates"


@pytest.fixture(scope="session")
def base_tree() -> Iterator[Path]:
    """From Debian's own packages. It is looked at, copied and laid under others, never changed."""
    directory = shared_directory()
    tree = directory / "tree"
    words = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(tree)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        shutil.rmtree(tree / "var/cache/apt", ignore_errors=True)
        yield tree
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def machines(base_tree: Path) -> Iterator[Path]:
    """For machines. Not every kernel lets us lay one tree over another and run it in namespaces of its own."""
    directory = shared_directory()
    try:
        machine = Machine(base_tree, directory / "probe")
        try:
            machine.run("true")
        finally:
            machine.close()
    except AssertionError as error:
        shutil.rmtree(directory, ignore_errors=True)
        pytest.skip(f"systemd-nspawn runs nothing here: {error}")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def package(base_tree: Path, machines: Path) -> Path:
    """Built on the machine that it is for, as README.md says."""
    machine = Machine(base_tree, machines / "builder")
    try:
        newcomer = Newcomer(machine)
        newcomer.types("package", lines=slice(0, 1))
        (built,) = newcomer.clone.glob("dist/*.deb")
        return Path(shutil.copy(built, machines))
    finally:
        machine.close()


@pytest.fixture(scope="session")
def buildah(base_tree: Path) -> Iterator[Buildah]:
    """buildah with the image, built."""
    directory = shared_directory()
    tool = Buildah(directory)
    try:
        tool.build(base_tree)
        yield tool
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def image(buildah: Buildah) -> Image:
    return Image(buildah)
