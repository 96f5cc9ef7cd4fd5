"""``resty-metrics export``."""

import subprocess
from pathlib import Path

import pytest
from support.collector import COMMAND
from support.nginx import ROOT

SHARE = b"/usr/share/resty-metrics/"


def export(*arguments: str | Path, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    words = [COMMAND, "export", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, umask=umask, check=False)


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_everything_for_nginx_grafana_and_prometheus_is_written(tmp_path: Path) -> None:
    target = tmp_path / "new" / "directory"
    done = export(target, umask=0o077)
    written = files(target)
    assert (done.returncode, done.stdout) == (0, f"wrote {len(written)} files to {target}\n")
    for kind in ("lua/**/*.lua", "nginx.conf.d/*.conf", "grafana/*.json", "grafana/**/*.yml", "prometheus/**/*.yml"):
        here = {str(path.relative_to(ROOT)): path.read_bytes() for path in ROOT.glob(kind)}
        assert here.items() <= written.items()
    assert not any(name.endswith(".py") for name in written)
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in target.rglob("*"))
    assert target.stat().st_mode & 0o111 == 0o111


def test_nginx_is_told_where_it_will_find_them(tmp_path: Path) -> None:
    assert export(tmp_path, "--share-dir=/opt/metrics").returncode == 0
    include = files(tmp_path)["nginx.conf.d/resty-metrics.conf"]
    assert b"/opt/metrics/lua/" in include
    assert SHARE not in include


def test_an_older_copy_is_replaced_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "lua").mkdir()
    (tmp_path / "lua" / "mine.lua").write_text("mine")
    (tmp_path / "nginx.conf.d").mkdir()
    (tmp_path / "nginx.conf.d" / "resty-metrics.conf").write_text("old")
    assert export(tmp_path).returncode == 0
    written = files(tmp_path)
    assert written["lua/mine.lua"] == b"mine"
    assert written["nginx.conf.d/resty-metrics.conf"] == (ROOT / "nginx.conf.d/resty-metrics.conf").read_bytes()


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = export(tmp_path / "file")
    assert done.returncode == 1
    assert "not all files could be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("share", ["relative", "/a b", "/../etc"])
def test_a_share_that_nginx_could_not_be_told_is_refused(tmp_path: Path, share: str) -> None:
    assert export(tmp_path / "new", f"--share-dir={share}").returncode == 2
    assert list(tmp_path.iterdir()) == []
