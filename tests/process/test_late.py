"""Modules that are imported when they are needed: by several threads, after an upgrade, and where they are broken."""

import os
import shutil
import subprocess
import sys
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import resty_metrics
from resty_metrics.process import late
from resty_metrics.process.late import LateImportError, load
from support.collector import Collector
from support.nginx import ROOT
from support.wait import wait_until

SLOW = "import time\ntime.sleep(0.2)\nVALUE = 7\n"


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_several_threads_get_it_whole(modules: Path) -> None:
    (modules / "late_and_slow.py").write_text(SLOW)
    with ThreadPoolExecutor(4) as pool:
        assert [module.VALUE for module in pool.map(load, ["late_and_slow"] * 4)] == [7] * 4


def test_what_is_broken_is_tried_again(modules: Path) -> None:
    path = modules / "late_and_broken.py"
    path.write_text("1 / 0\n")
    with pytest.raises(LateImportError, match="cannot load late_and_broken: ZeroDivisionError"):
        load("late_and_broken")
    path.write_text("VALUE = 7777\n")
    assert load("late_and_broken").VALUE == 7777


def test_what_is_missing_is_said() -> None:
    with pytest.raises(LateImportError, match="cannot load late_and_missing: ModuleNotFoundError"):
        load("late_and_missing")


def test_nothing_is_mixed_after_an_upgrade(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (modules / "late_and_new.py").write_text("VALUE = 7\n")
    landmark = modules / "__init__.py"
    landmark.write_text("")
    monkeypatch.setattr(late, "_LANDMARK", landmark)
    monkeypatch.setattr(late, "_AT_START", late._stamp())
    loaded = load("json")
    landmark.write_text("# another version\n")
    with pytest.raises(LateImportError, match=r"have changed\. Restart it\."):
        load("late_and_new")
    assert load("json") is loaded  # it is there
    landmark.unlink()
    with pytest.raises(LateImportError, match=r"have changed\. Restart it\."):
        load("late_and_new")


HEAVY = ("pydantic", "yaml", "jinja2", "bcrypt", "resty_metrics.sources.client", "resty_metrics.sources.vts")
LISTED = f"""
import atexit, os, sys
sys.argv = sys.argv[1:]
import resty_metrics.process.ending as ending
real = ending.end
def end(status):
    line = " ".join(["loaded", *[name for name in {HEAVY!r} if name in sys.modules]])
    os.write(2, f"{{line}}\\n".encode())  # in one piece: the thread of the log may write its last line meanwhile
    real(status)
ending.end = end
from resty_metrics.__main__ import main
main()
"""


def test_an_idle_collector_has_loaded_none_of_them(tmp_path: Path) -> None:
    """No file, no source, no password, nobody at the live page: two scrapes, and the end."""
    with Collector(tmp_path / "run" / "c.sock", under=[sys.executable, "-c", LISTED]) as collector:
        for _ in range(2):
            assert collector.page()
        assert collector.terminate() == 0
        words = [line.split()[1:] for line in collector.log().splitlines() if line.startswith("loaded")]
        assert words == [[]]


def test_a_file_takes_its_reader_alone(tmp_path: Path) -> None:
    """The models are for a web configuration."""
    file = tmp_path / "resty-metrics.yml"
    file.write_text("log: {level: info}\n")
    with Collector(
        tmp_path / "run" / "c.sock", f"--config.file={file}", under=[sys.executable, "-c", LISTED]
    ) as collector:
        assert collector.page()
        assert collector.terminate() == 0
        words = [line.split()[1:] for line in collector.log().splitlines() if line.startswith("loaded")]
        assert words == [["yaml"]]


def test_the_live_page_says_that_a_restart_is_needed(tmp_path: Path) -> None:
    """Its files were replaced under a running collector; all else goes on."""
    package = tmp_path / "site" / "resty_metrics"
    shutil.copytree(Path(resty_metrics.__file__).parent, package)
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    program = [
        sys.executable,
        "-c",
        "import sys; sys.argv = sys.argv[1:]; from resty_metrics.__main__ import main; main()",
    ]
    with Collector(tmp_path / "run" / "c.sock", under=program, environment=environment) as collector:
        os.utime(package / "__init__.py", (1, 1))
        for _ in range(3):
            with pytest.raises(urllib.error.HTTPError) as refused:
                collector.page("/")
            assert refused.value.code == 503
            assert "Restart it" in refused.value.read().decode()
            refused.value.close()
        assert collector.value("resty_metrics_web_refused_requests_total", reason="failed") == 3
        words = "cannot load a part of the program"
        assert wait_until(lambda: collector.log().count(words), message="a line in the log") == 1


def test_its_test_finds_what_is_loaded() -> None:
    """The names in HEAVY are modules: a misspelt one would never be found."""
    script = f"import importlib\nfor name in {HEAVY!r}: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
