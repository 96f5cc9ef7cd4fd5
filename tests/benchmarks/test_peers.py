"""The peers that are measured beside ours, and what is compared with them."""

import math
from pathlib import Path

import pytest

from benchmarks import peers, requests
from benchmarks.rounds import Series

ROOT = Path(__file__).parents[2]
BARE_SECONDS = 7e-6


def test_vts_is_measured_plain_and_with_our_counts(tmp_path: Path) -> None:
    (tmp_path / peers.VTS_MODULE).touch()
    plain, same = peers.known({"RESTY_METRICS_BENCH_VTS": str(tmp_path)})
    assert (plain.name, same.name) == ("vts", "vts, the same counts")
    assert plain.main == same.main == f"load_module {tmp_path / peers.VTS_MODULE};"
    assert "filter" not in plain.http
    assert f'default "{peers.BUCKETS}"' in (ROOT / "nginx.conf.d" / "resty-metrics.conf").read_text()


def series(added: float) -> Series:
    return Series([BARE_SECONDS + added * 1e-6], [BARE_SECONDS])


@pytest.mark.parametrize(
    ("vts", "expected", "reached"),
    [(0.8, 0.5, True), (0.2, 2.0, False), (0.0, math.nan, False), (-0.1, math.nan, False)],
)
def test_ours_beyond_an_empty_handler_against_vts(vts: float, expected: float, reached: bool) -> None:
    by_handler = {
        requests.OURS: series(0.6),
        requests.EMPTY: series(0.2),
        peers.VTS_SAME: series(vts),
    }
    (figure,) = requests.beyond_empty(requests.KINDS[0], by_handler)
    assert figure.value.middle == pytest.approx(expected, nan_ok=True)
    assert figure.reached is reached


@pytest.mark.parametrize("missing", [requests.EMPTY, peers.VTS_SAME])
def test_without_one_of_them_there_is_no_such_figure(missing: str) -> None:
    names = {requests.OURS, requests.EMPTY, peers.VTS_SAME} - {missing}
    assert list(requests.beyond_empty(requests.KINDS[0], dict.fromkeys(names, series(0.5)))) == []
