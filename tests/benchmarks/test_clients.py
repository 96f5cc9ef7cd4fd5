"""What hostile clients cost, measured in the short form."""

import json
from pathlib import Path

import pytest
from support.bench import bench

from benchmarks.clients import BESIDE, KINDS, QUICK_EXTENT

pytestmark = pytest.mark.slow


def test_what_all_clients_cost_together_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    done = bench("--quick", "--only=clients", f"--json={path}")
    assert done.returncode == 0, done.stderr
    figures = json.loads(path.read_text())["figures"]
    assert len(figures) == len(KINDS) * len(QUICK_EXTENT.counts) + len(BESIDE) * len(QUICK_EXTENT.beside) + 1
    assert {figure["unit"] for figure in figures} == {"MiB", "lines"}
    assert [figure["what"] for figure in figures if not figure["reached"]] == []
