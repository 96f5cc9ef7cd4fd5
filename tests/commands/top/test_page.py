"""Reading a page, held against prometheus-client's parser."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from resty_metrics.commands.top import page
from resty_metrics.exposition.text import MetricFamily, render, sample
from support.everything import everything

BUILD = MetricFamily(
    "resty_metrics_build_info", "gauge", "Version.", [sample("resty_metrics_build_info", {"version": "1"}, 1)]
)
NAMES = [
    "plain",
    'a "quoted" one',
    "back\\slash\\n",
    "two\nlines",
    "\n# HELP nginx_http_responses_total x",
    "\n# TYPE a counter",
    "x,le=",
    "blank } {and} 5",
    "Unicode's line ends \u2028 \x85 \x0b",
    "ünï 漢字",
    "ends with \\",
]


def everything_read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = page.read(text)
    return {
        (name, frozenset(page.labels(labels).items())): value
        for name, series in found.samples.items()
        for labels, value in series.items()
    }


def everything_parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = [one for one in text_string_to_metric_families(text) if not one.name.startswith("process")]
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in families
        for one in family.samples
        if one.name.startswith("resty_metrics_") or _stem(one.name) in WANTED
    }


WANTED = page._FAMILIES


def _stem(name: str) -> str:
    for suffix in ("_bucket", "_sum", "_count"):
        if name.removesuffix(suffix) in WANTED:
            return name.removesuffix(suffix)
    return name


def test_a_page_with_everything(socket_path: Path) -> None:
    with everything(socket_path) as made:
        text = made.collector.page()
    read = everything_read(text)
    assert read == everything_parsed(text)
    assert {name for name, _ in read} >= {page.RESPONSES, f"{page.DURATION}_bucket", page.ATTEMPTS, page.ACTIVE}


@pytest.mark.parametrize("name", NAMES)
def test_whatever_a_label_holds(name: str) -> None:
    labels = {"server": name, "method": "GET", "status": "200"}
    responses = MetricFamily(page.RESPONSES, "counter", "Responses \\ here.", [sample(page.RESPONSES, labels, 7)])
    buckets = [sample(f"{page.DURATION}_bucket", {**labels, "le": bound}, 3) for bound in ("0.5", "+Inf")]
    duration = MetricFamily(page.DURATION, "histogram", "Durations.", buckets)
    text = render([responses, duration, BUILD], openmetrics=False).decode()
    found = page.read(text)
    assert found.labelled(page.RESPONSES) == [(labels, 7.0)]
    read = [page.bucket(series) for series in found.series(f"{page.DURATION}_bucket")]
    assert [(page.labels(row), bound) for row, bound in read] == [(labels, 0.5), (labels, float("inf"))]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>\n# TYPE of page\n</html>\n",
        "# HELP go_goroutines x\n# TYPE go_goroutines gauge\ngo_goroutines 5\n",
        '# TYPE resty_metrics_build_info gauge\nresty_metrics_build_info{v="1"} one\n',
    ],
)
def test_what_is_no_page_of_ours(text: str) -> None:
    with pytest.raises(ValueError, match="is not a page of resty-metrics"):
        page.read(text)
