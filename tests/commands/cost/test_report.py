"""The table and the JSON, literally."""

import json

from resty_metrics import __version__
from resty_metrics.commands.cost.counting import FamilyCost, count
from resty_metrics.commands.cost.reading import read
from resty_metrics.commands.cost.report import FEW, as_json, as_text

ADDRESS = "http://host:19145/metrics"
LINES = [f'c{{server="{server}",status="{status}"}} 1' for server in ("a", "b") for status in (200, 404, 500)]
BUILD = """\
# HELP resty_metrics_build_info Version.
# TYPE resty_metrics_build_info gauge
resty_metrics_build_info{version="1"} 1
"""
TABLE = """\
http://host:19145/metrics

metric, and its size without a label  values  rows  series  bytes  saves
c                                                6       6    202
  without status                           3     2       2     60      4  66.7%
  without server                           2     3       3     82      3  50.0%
1 other metric (--all)                           1       1    119
total                                            7       7    321

Prometheus holds each of the 7 series in memory (about 28 KiB, 4 KiB each) and stores 40,320 samples a day at a scrape \
every 15 s (40.3 kB to 80.6 kB, 1 to 2 bytes each).
"""


def costs() -> list[FamilyCost]:
    text = "# HELP c x\n# TYPE c counter\n" + "".join(f"{line}\n" for line in LINES) + BUILD
    return count(read(text.encode()))


def test_table() -> None:
    assert as_text(costs(), ADDRESS, whole=False) == TABLE


def test_all_families() -> None:
    text = as_text(costs(), ADDRESS, whole=True)
    assert "--all" not in text
    assert "resty_metrics_build_info" in text
    assert "  without version" in text


def test_labels_that_nobody_can_leave_out_are_not_in_the_way() -> None:
    text = f"# TYPE resty_metrics_rows gauge\n{BUILD}".replace("# HELP", 'resty_metrics_rows{family="a"} 1\n# HELP')
    own = count(read(text.replace("# HELP", 'resty_metrics_rows{family="b"} 1\n# HELP').encode()))
    assert own[0].most == 1
    assert "without family" not in as_text(own, ADDRESS, whole=False)
    assert "without family" in as_text(own, ADDRESS, whole=True)


def test_a_table_has_few_families() -> None:
    many = [FamilyCost(f"c{number}", "counter", cost.size, cost.labels) for number in range(20) for cost in costs()[:1]]
    text = as_text(many, ADDRESS, whole=False)
    assert sum(line.startswith("c") for line in text.splitlines()) == FEW
    assert "10 other metrics (--all)" in text


def test_a_page_on_which_no_label_costs_anything() -> None:
    text = as_text(count(read(BUILD.encode())), ADDRESS, whole=False)
    assert text.splitlines()[2:5] == [
        "metric, and its size without a label  values  rows  series  bytes  saves",
        "1 other metric (--all)                           1       1    119",
        "total                                            1       1    119",
    ]


def test_json() -> None:
    value = json.loads(as_json(costs(), ADDRESS))
    assert list(value) == ["schema", "version", "url", "total", "families"]
    assert (value["schema"], value["version"], value["url"]) == (1, __version__, ADDRESS)
    assert value["total"] == {"families": 2, "rows": 7, "series": 7, "bytes": 321}
    family = value["families"][0]
    assert family == {
        "name": "c",
        "type": "counter",
        "rows": 6,
        "series": 6,
        "bytes": 202,
        "labels": [
            {
                "name": "status",
                "values": 3,
                "without": {"rows": 2, "series": 2, "bytes": 60},
                "saves": {"rows": 4, "series": 4, "bytes": 142},
            },
            {
                "name": "server",
                "values": 2,
                "without": {"rows": 3, "series": 3, "bytes": 82},
                "saves": {"rows": 3, "series": 3, "bytes": 120},
            },
        ],
    }
