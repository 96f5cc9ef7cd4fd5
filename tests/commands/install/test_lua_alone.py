"""The Lua module without the rest: by LuaRocks into a real nginx, and what OPM asks of dist.ini.

OPM is in no distribution: its rules are those of bin/opm of github.com/openresty/opm (do_build, read_ini, parse_deps).
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
from resty_metrics import __version__
from support.client import get
from support.collector import Collector
from support.nginx import INSTALLED_SOCKET, ROOT, Nginx
from support.wait import free_port, wait_until

NOT_PACKAGED = "compat/prometheus.lua"
MODULES = {str(path.relative_to(ROOT / "lua")) for path in (ROOT / "lua").rglob("*.lua")} - {NOT_PACKAGED}
OPM_NEEDS = {"name", "abstract", "author", "is_original", "license", "repo_link"}
OPM_TAKES = OPM_NEEDS | {"version", "requires", "exclude_files", "lib_dir", "main_module", "doc_dir"}


def test_the_rockspec_has_our_version_in_each_place() -> None:
    (path,) = ROOT.glob("*.rockspec")
    assert path.name == f"resty-metrics-{__version__}-1.rockspec"
    text = path.read_text()
    assert re.findall(r'^version = "(.*)"$', text, re.MULTILINE) == [f"{__version__}-1"]
    assert re.findall(r'\btag = "(.*)"', text) == [f"v{__version__}"]


def documented(word: str) -> str:
    """The indented block of docs/packages.md that has this word."""
    text = (ROOT / "docs" / "packages.md").read_text()
    (block,) = [one for one in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE) if word in one]
    return str(block)


@pytest.mark.slow
def test_luarocks_installs_all_of_it_and_a_request_is_counted(tmp_path: Path, shared: Path, socket_path: Path) -> None:
    (rockspec,) = ROOT.glob("*.rockspec")
    home = {**os.environ, "HOME": str(tmp_path)}
    for words in (["lint", rockspec], [f"--tree={shared}/rocks", "make", rockspec]):
        done = subprocess.run(
            ["luarocks", "--lua-version=5.1", *map(str, words)],
            capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=home,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    tree = shared / "rocks/share/lua/5.1"
    assert {str(path.relative_to(tree)) for path in tree.rglob("*.lua")} == MODULES

    lines = documented("lua_package_path")
    port = free_port()
    here = lines.replace("/usr/local/share/lua/5.1", str(tree)).replace(INSTALLED_SOCKET, str(socket_path))
    site = f"server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200; }} }}"
    with Collector(socket_path) as collector, Nginx(socket_path, here + site, include="") as nginx:
        get(port, "/", times=7)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        assert collector.request_counts() == {("a.example", "GET", "200"): 7}
        assert nginx.errors() == []


def dist() -> dict[str, str]:
    """As OPM reads it; there are no sections in it."""
    found: dict[str, str] = {}
    for line in (ROOT / "dist.ini").read_text().splitlines():
        if not line.strip() or re.match(r"\s*[#;]", line):
            continue
        pair = re.match(r"\s*(\w+)\s*=\s*(.*)", line)
        assert pair is not None, line
        assert pair[1] not in found
        found[pair[1]] = pair[2].rstrip()
    return found


def test_opm_finds_every_field_that_it_needs_and_none_that_it_refuses() -> None:
    found = dist()
    assert found.keys() >= OPM_NEEDS
    assert found.keys() <= OPM_TAKES
    assert all(found.values())
    assert re.fullmatch(r"[-A-Za-z0-9]{3,}", found["name"])
    assert not re.fullmatch(r"nginx|luajit|resty|openresty|opm|restydoc.*|ngx_.*|.*-nginx-module", found["name"])
    assert (found["is_original"], found["license"]) == ("yes", "apache2")
    assert re.fullmatch(r"https?://[!#-&(-;=?-z|~]+", found["repo_link"])
    for need in re.split(r"\s*,\s*", found["requires"]):
        assert re.fullmatch(r"(openresty|luajit|ngx_(http_)?lua|nginx)\s*(>=|=|>)\s*\w[-.\w]*", need)
    assert (ROOT / found["doc_dir"]).is_dir()
    assert (ROOT / "README.md").is_file()


def test_opm_packs_all_of_it_under_our_version() -> None:
    found = dist()
    library = ROOT / found["lib_dir"]
    left_out = {path for pattern in re.split(r"\s*,\s*", found["exclude_files"]) for path in ROOT.glob(pattern)}
    assert {str(path.relative_to(library)) for path in {*library.rglob("*.lua")} - left_out} == MODULES
    main = (ROOT / found["main_module"]).read_text()
    first = re.search(r"\b(?:_?VERSION|version)\s*=\s*(\S*\d\S*)", main)
    assert first is not None
    assert re.sub(r"[;,'\"{}()<>]", "", first[1]) == __version__
