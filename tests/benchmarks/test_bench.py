"""The command measures, prints and writes."""

import json
from pathlib import Path

import pytest
from support.bench import bench

pytestmark = pytest.mark.slow


def test_a_subject_is_measured_printed_and_written(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    done = bench("--quick", "--rounds=1", "--only=memory", f"--json={path}")
    assert done.returncode == 0, done.stderr
    written = json.loads(path.read_text())
    assert written["machine"]["cpus"] >= 1
    lua = written["figures"][0]
    assert lua["unit"] == "bytes per row"
    assert lua["value"] > 8 * 20  # a row is twenty doubles at least
    for figure in written["figures"]:
        assert figure["what"] in done.stdout


def test_a_fleet_is_scraped_passed_on_and_summed_up(tmp_path: Path) -> None:
    """Real collectors and three kinds of Prometheus; what they have to agree on, not how fast it went."""
    path = tmp_path / "bench.json"
    done = bench("--quick", "--rounds=1", "--only=fleet", f"--json={path}")
    assert done.returncode == 0, done.stderr
    figures = {(figure["what"], figure["unit"]): figure["value"] for figure in json.loads(path.read_text())["figures"]}
    page = figures["5 pages: a page", "samples"]
    assert page >= 22 * 100
    assert figures["5 pages: series", "series"] >= 5 * page
    assert figures["5 pages, agent: samples that failed or were dropped", "samples"] == 0
    assert 0 < figures["federation: what the rules made of them", "series"] < page
    assert all(value > 0 for (title, unit), value in figures.items() if "CPU" in unit)


def test_scrapes_that_nobody_reads_have_a_bound(tmp_path: Path) -> None:
    """The memory of real collectors; each figure has the bound beside it that docs/web.md promises."""
    path = tmp_path / "bench.json"
    done = bench("--quick", "--only=scrapers", f"--json={path}")
    assert done.returncode == 0, done.stderr
    figures = json.loads(path.read_text())["figures"]
    assert len(figures) >= 3
    assert [figure for figure in figures if not figure["reached"]] == []


@pytest.mark.parametrize("variable", ["RESTY_METRICS_BENCH_VTS", "RESTY_METRICS_BENCH_NGINX_LUA_PROMETHEUS"])
def test_a_folder_without_the_peer_is_said(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    done = bench("--quick", "--rounds=1", "--only=requests", f"--json={tmp_path / 'bench.json'}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {variable} is {tmp_path}, where there is no ")
