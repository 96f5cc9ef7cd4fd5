"""The metric of troubles."""

from resty_metrics.health.troubles import COVERAGE, JOURNAL_DOWN, KINDS, SPOOL_FULL, Trouble
from resty_metrics.observer import metric


def test_each_trouble_of_the_closed_list_is_always_there() -> None:
    lines = metric.family([]).lines
    assert lines == [f'resty_metrics_trouble{{trouble="{kind.name}"}} 0\n'.encode() for kind in KINDS]


def test_a_named_nginx_has_a_series_of_its_own_while_it_has_the_trouble() -> None:
    troubles = [
        Trouble(JOURNAL_DOWN, "full", "free it"),
        Trouble(COVERAGE, "50 %", "add it", "edge"),
        Trouble(SPOOL_FULL, "10 %", "enlarge it", ""),
    ]
    ones = [line for line in metric.family(troubles).lines if line.endswith(b" 1\n")]
    assert ones == [
        b'resty_metrics_trouble{trouble="spool_full"} 1\n',
        b'resty_metrics_trouble{trouble="journal_down"} 1\n',
        b'resty_metrics_trouble{nginx="edge",trouble="coverage"} 1\n',
    ]
