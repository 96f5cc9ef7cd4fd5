"""The files that come with the program, from a checkout and from a wheel."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.debian import Debian, environment
from support.nginx import ROOT

from collector.install import package


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


@pytest.mark.slow
def test_a_wheel_in_a_fresh_environment(tmp_path: Path) -> None:
    """What install would copy is what is in the tree; dashboards and scrape job are in the wheel too."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("collector", "lua", "nginx.conf.d", "grafana", "prometheus", "pyproject.toml", "README.md", "LICENSE"):
        run("cp", "-r", ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", f"--wheel-dir={tmp_path}", source)
    fresh = tmp_path / "fresh"
    run(sys.executable, "-m", "venv", "--without-pip", fresh)
    run(*pip, "--python", fresh / "bin/python", "install", "--no-deps", "--no-index", *tmp_path.glob("*.whl"))
    libraries = next(fresh.glob("lib/python*/site-packages"))
    (libraries / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    share = fresh / "share" / "resty-metrics"
    assert package.read(share) == package.read(ROOT)
    rules = (ROOT / "prometheus").rglob("*.yml")
    for path in [*(ROOT / "grafana").glob("*.json"), *(ROOT / "grafana").rglob("*.yml"), *rules]:
        assert (share / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    assert run(fresh / "bin/python", "-c", "import collector; print(collector.__file__)").startswith(str(fresh))
    with Debian() as debian:
        before = debian.tree()
        said = run(fresh / "bin/resty-metrics", "install", "--dry-run", "--without-proof", *debian.flags(None))
        assert f"+include {debian.share}/nginx.conf.d/resty-metrics.conf;" in said
        assert f"{debian.share}: {len(package.read(ROOT)) + 1} new" in said
        assert debian.tree() == before
