"""A minimal Debian, made once for all tests that need one."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
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
