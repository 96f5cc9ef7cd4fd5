"""scripts/lib.sh: the packages that the scripts install, where distributions differ in their names."""

import shutil
import subprocess

import pytest
from support.nginx import ROOT

pytestmark = pytest.mark.skipif(shutil.which("apt-cache") is None, reason="apt is needed")

NO_PACKAGE = "resty-metrics-no-such"


def choose(names: str) -> subprocess.CompletedProcess[str]:
    """The package that the scripts install for ``names``, among those that this distribution has."""
    words = ["bash", "-euc", '. scripts/lib.sh && choose "$1"', "bash", names]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ("bash", "bash"),
        (NO_PACKAGE, NO_PACKAGE),  # apt-get says so itself
        ("bash|dash", "bash"),
        (f"{NO_PACKAGE}|dash", "dash"),
        (f"{NO_PACKAGE}|nginx-light", "nginx-light"),
        ("dash|", "dash"),
    ],
)
def test_the_first_that_the_distribution_has(names: str, chosen: str) -> None:
    done = choose(names)
    assert (done.stdout.strip(), done.stderr, done.returncode) == (chosen, "", 0)


def test_what_may_be_missing_is_named_and_passed_over() -> None:
    done = choose(f"{NO_PACKAGE}|")
    assert (done.stdout, done.returncode) == ("", 0)
    assert f"no package {NO_PACKAGE}: the tests that need it are skipped" in done.stderr


def test_what_must_not_be_missing_ends_the_script() -> None:
    done = choose(f"{NO_PACKAGE}|{NO_PACKAGE}-either")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "has none of the packages" in done.stderr


def test_luajit2_where_there_is_one() -> None:
    """On Debian 12 luajit conflicts with luajit2, which nginx's Lua module needs."""
    names = {"luajit2|luajit": "luajit2", "luajit|": "luajit"}
    had = [choose(asked).stdout.strip() for asked in names]
    assert had[0] in ("luajit2", "luajit")
    listed = subprocess.run(["apt-cache", "policy", "luajit2"], capture_output=True, text=True, check=True, timeout=60)
    assert (had[0] == "luajit2") == (listed.stdout != "" and "Candidate: (none)" not in listed.stdout)
