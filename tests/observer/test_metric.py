"""The metrics of troubles."""

from resty_metrics.health.facts import RefusedFile
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


def test_refused_users_and_files_have_a_series_each() -> None:
    files = [RefusedFile("/b.yml"), RefusedFile("/w.yml", web=True), RefusedFile("/w.yml", web=True, watched=True)]
    families = metric.refused({4711: None, 33: "www-data"}, [*files, RefusedFile("")])
    assert [line.decode() for family in families for line in family.lines] == [
        'resty_metrics_refused_user{uid="33",user="www-data"} 1\n',
        'resty_metrics_refused_user{uid="4711",user="_"} 1\n',
        'resty_metrics_refused_file{file="/b.yml",kind="settings"} 1\n',
        'resty_metrics_refused_file{file="/w.yml",kind="web"} 1\n',
        'resty_metrics_refused_file{file="_",kind="settings"} 1\n',
    ]
    assert metric.refused({}, []) == []


def test_a_file_whose_name_is_not_utf_8_can_be_shown() -> None:
    (family,) = metric.refused({}, [RefusedFile("/etc/\udcff.yml")])
    assert b"/etc/" in family.lines[0]
