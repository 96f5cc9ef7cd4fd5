"""The files that come with the program, from a checkout and from a wheel."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from resty_metrics import __version__
from resty_metrics.commands.install import package
from support.debian import Debian, environment
from support.nginx import ROOT


def test_a_checkout() -> None:
    assert package.directory() == ROOT
    files = package.read(ROOT)
    assert files["lua/resty/metrics.lua"] == (ROOT / "lua/resty/metrics.lua").read_bytes()
    assert len(files) == len([*(ROOT / "lua").rglob("*.lua"), *(ROOT / "nginx.conf.d").glob("*.conf")])


def test_no_file_of_nginx_names_another_directory_than_its_own() -> None:
    files = package.for_share(package.read(ROOT), "/opt/x")
    named = [content for name, content in files.items() if name.startswith("nginx.conf.d/")]
    assert not [content for content in named if b"/usr/share" in content]
    assert b"log_by_lua_file /opt/x/lua/resty/metrics/hook.lua;" in files["nginx.conf.d/resty-metrics.conf"]


def run(*words: str | Path) -> str:
    done = subprocess.run(
        [str(one) for one in words], capture_output=True, text=True, timeout=300, env=environment(), cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PIP = (sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check")
NO_INDEX = ("--no-deps", "--no-build-isolation", "--no-index")
IN_THE_SOURCE = ("collector", "lua", "nginx.conf.d", "grafana", "prometheus", "pyproject.toml", "README.md", "LICENSE")


def data_files(top: Path) -> dict[str, bytes]:
    """What is not Python, as a wheel has it below share/."""
    kinds = ("lua/**/*.lua", "nginx.conf.d/*.conf", "grafana/*.json", "grafana/**/*.yml", "prometheus/**/*.yml")
    return {str(path.relative_to(top)): path.read_bytes() for kind in kinds for path in top.glob(kind)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and an sdist, by the backend itself, in ``dist`` of a copy of the source."""
    source = tmp_path_factory.mktemp("source")
    for name in IN_THE_SOURCE:
        run("cp", "-r", ROOT / name, source)
    run(*PIP, "wheel", *NO_INDEX, f"--wheel-dir={source}/dist", source)
    script = "import os; from setuptools import build_meta; os.chdir(os.sys.argv[1]); build_meta.build_sdist('dist')"
    run(sys.executable, "-c", script, source)
    return source / "dist"


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel; without its list of them, whose order is nobody's business."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


@pytest.mark.slow
def test_what_is_built_from_the_sdist_is_what_is_built_from_the_tree(built: Path, tmp_path: Path) -> None:
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    run(*PIP, "wheel", *NO_INDEX, f"--wheel-dir={tmp_path}", sdist)
    (again,) = tmp_path.glob("*.whl")
    assert contents(again) == contents(wheel)


@pytest.mark.slow
def test_pipx_installs_the_wheel_with_all_that_it_needs(built: Path, tmp_path: Path) -> None:
    """As docs/packages.md has it, from what the project allows, not from its pins."""
    (wheel,) = built.glob("*.whl")
    places = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin"), "HOME": str(tmp_path)}
    done = subprocess.run(
        ["pipx", "install", str(wheel)],
        capture_output=True, text=True, timeout=250, check=False, cwd="/", env={**environment(), **places},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    command = tmp_path / "bin" / "resty-metrics"
    assert run(command, "-V") == f"resty-metrics {__version__}\n"
    run(command, "export", tmp_path / "files")
    assert data_files(tmp_path / "files") == data_files(ROOT)
    assert run(command, "check-config").startswith("socket:")


@pytest.mark.slow
def test_a_wheel_in_a_fresh_environment(built: Path, tmp_path: Path) -> None:
    """What install would copy is what is in the tree; dashboards and scrape job are in the wheel too."""
    fresh = tmp_path / "fresh"
    run(sys.executable, "-m", "venv", "--without-pip", fresh)
    run(*PIP, "--python", fresh / "bin/python", "install", "--no-deps", "--no-index", *built.glob("*.whl"))
    libraries = next(fresh.glob("lib/python*/site-packages"))
    (libraries / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    share = fresh / "share" / "resty-metrics"
    assert package.read(share) == package.read(ROOT)
    assert data_files(share) == data_files(ROOT)
    assert run(fresh / "bin/python", "-c", "import resty_metrics; print(resty_metrics.__file__)").startswith(str(fresh))
    with Debian() as debian:
        before = debian.tree()
        said = run(fresh / "bin/resty-metrics", "install", "--dry-run", "--without-proof", *debian.flags(None))
        assert f"+include {debian.share}/nginx.conf.d/resty-metrics.conf;" in said
        assert f"{debian.share}: {len(package.read(ROOT)) + 1} new" in said
        assert debian.tree() == before
