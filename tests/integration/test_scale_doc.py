"""docs/scale.md: its arithmetic against a real page, its examples as promtool and Prometheus take them."""

import json
import math
import re
import shutil
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.collector import Collector, Samples
from support.nginx import ROOT, Nginx, shared_directory
from support.prometheus import Prometheus
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "scale.md").read_text()
BLOCKS: list[dict[str, Any]] = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)]
OF_LABEL_SETS = re.compile(
    r"^# of 3 series of requests and 19 of durations (\d+) and (\d+) stay\n(metric_relabel_configs:\n.*?)^```$",
    re.M | re.S,
)
DROPS = [
    (int(requests), int(durations), yaml.safe_load(text)) for requests, durations, text in OF_LABEL_SETS.findall(PAGE)
]
REQUESTS = re.compile(r"nginx_http_(responses|request_bytes|response_bytes)_.+")
DURATIONS = re.compile(r"nginx_http_request_duration_seconds_.+")
PATHS = ("", "none", "broken", "cached")
ROWS = len(PATHS) + 1  # and what the last one asks for
DURATION_ROWS = 4  # a.example has 2xx, 4xx and 5xx; b.example 2xx
WORKERS, UPSTREAMS, ATTEMPTS, CACHED, FAILED = 2, 1, 1, 1, 2
SITE = """
    include {{share}}/nginx.conf.d/lifecycle.conf;
    include {{share}}/nginx.conf.d/upstreams.conf;
    proxy_cache_path {{prefix}}/cache keys_zone=pages:1m;
    upstream backend {{ server 127.0.0.1:{behind}; }}
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200; }}
        location /none {{ return 404; }}
        location /broken {{ return 500; }}
        location /cached {{ proxy_cache pages; proxy_pass http://backend; }}
    }}
    server {{
        listen 127.0.0.1:{behind};
        server_name b.example;
        location / {{ return 201; }}
    }}
"""


@dataclass(frozen=True)
class Busy:
    """A collector whose page has ROWS rows, DURATION_ROWS of durations, and all else that the arithmetic names."""

    collector: Collector
    samples: Samples


@pytest.fixture(scope="module")
def busy() -> Iterator[Busy]:
    directory = shared_directory()
    port, behind = free_port(), free_port()
    collector = Collector(directory / "collector.sock")
    opener = urllib.request.build_opener(Quiet())
    with collector, Nginx(collector.socket_path, SITE.format(port=port, behind=behind), workers=WORKERS):
        for path in PATHS:
            opener.open(f"http://127.0.0.1:{port}/{path}", timeout=10).close()

        def all_shown() -> bool:
            counted = sum(collector.request_counts().values())
            return counted == ROWS and collector.value("resty_metrics_workers_seen") == WORKERS

        wait_until(all_shown, message="all requests")
        yield Busy(collector, collector.samples())
    shutil.rmtree(directory, ignore_errors=True)


class Quiet(urllib.request.HTTPErrorProcessor):
    """An answer is an answer, whatever its status."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        return response


def formula(name: str) -> int:
    """The number that the table of the arithmetic has for something."""
    found = re.search(rf"^\| {name} \| (?:about )?(\d+) \|", PAGE, re.MULTILINE)
    assert found is not None, name
    return int(found[1])


def test_the_arithmetic(busy: Busy) -> None:
    names = Counter(name for name, _ in busy.samples)
    rows = names["nginx_http_responses_total"]
    requests = sum(number for name, number in names.items() if REQUESTS.fullmatch(name))
    assert requests == rows * formula("a label set of requests")
    durations = sum(number for name, number in names.items() if DURATIONS.fullmatch(name))
    assert names["nginx_http_request_duration_seconds_count"] == DURATION_ROWS
    assert durations == DURATION_ROWS * formula("a label set of durations")
    upstream = sum(number for name, number in names.items() if name.startswith("nginx_http_upstream_"))
    attempts = names["nginx_http_upstream_attempts_total"]
    assert attempts == ATTEMPTS
    assert upstream == attempts * formula("a peer of an upstream, and its status") + UPSTREAMS * formula("an upstream")
    cache = names["nginx_http_cache_requests_total"]
    assert cache == CACHED * formula("a server with a cache, and what the cache did")
    failed = names["nginx_http_failed_requests_total"]
    assert failed == FAILED * formula("a server, a status of 400 or above and its reason")
    rest = sum(names.values()) - requests - durations - upstream - cache - failed
    most = formula("a collector and its nginx") + WORKERS * formula("a worker")
    assert 0.7 * most <= rest <= most


SERVERS, METHODS, STATUSES = 20, 3, ("200", "304", "404", "499", "500", "502")
CLASSES = len({status[0] for status in STATUSES})
SITE_ROWS = SERVERS * METHODS * len(STATUSES)


def of_the_site(duration_rows: int) -> int:
    return SITE_ROWS * formula("a label set of requests") + duration_rows * formula("a label set of durations")


def test_the_site_of_the_arithmetic() -> None:
    assert f"({', '.join(STATUSES)})" in PAGE
    words = " ".join(PAGE.split())
    series = of_the_site(SERVERS * CLASSES)
    assert f"That makes {series:,} series for each nginx, and {100 * series:,} for a hundred" in words
    most = of_the_site(SERVERS * len(STATUSES))
    assert f"{most:,} and {100 * most:,} if every status has a class of its own" in words
    assert f"by method and status it would be {of_the_site(SITE_ROWS):,}" in words
    assert most <= 4000


CHOICES = re.compile(
    r"^  \| (?P<choice>[^|]*`[^|]*) \| (?P<rows>[\d,]+) \| (?P<series>[\d,]+) \| (?P<all>[\d,]+) \|$", re.M
)


def test_what_the_choices_of_duration_labels_cost() -> None:
    """docs/labels.md has them for the same site."""
    label_values = {"method": METHODS, "status": len(STATUSES), "status_class": CLASSES}
    table = [match.groupdict() for match in CHOICES.finditer((ROOT / "docs" / "labels.md").read_text())]
    assert len(table) == 6
    for line in table:
        rows = int(line["rows"].replace(",", ""))
        chosen = re.findall(r"\w+", line["choice"].split("`")[1].replace("otel", "server method status scheme"))
        values = label_values | {"scheme": 2 if "two schemes" in line["choice"] else 1}
        assert rows == SERVERS * math.prod(values[name] for name in chosen if name != "server")
        assert line["series"] == f"{rows * formula('a label set of durations'):,}"
        assert line["all"] == f"{of_the_site(rows):,}"


def test_promtool_takes_every_example(tmp_path: Path) -> None:
    assert len(DROPS) >= 3
    for number, block in enumerate(BLOCKS):
        whole = (
            {"scrape_configs": [{"job_name": "resty-metrics", **block}]} if "metric_relabel_configs" in block else block
        )
        path = tmp_path / f"{number}.yml"
        path.write_text(json.dumps(whole))
        done = subprocess.run(["promtool", "check", "config", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"


def test_what_stays_of_a_row(busy: Busy, tmp_path: Path) -> None:
    """Each example is a job of one Prometheus, which scrapes the same page with it."""
    target = {"static_configs": [{"targets": [f"127.0.0.1:{busy.collector.port}"]}]}
    jobs = [{"job_name": f"drop-{number}", **block, **target} for number, (*_, block) in enumerate(DROPS)]
    more = "".join(f"  - {json.dumps(job)}\n" for job in jobs)
    rows = f'count by (job) ({{__name__=~"{REQUESTS.pattern}|{DURATIONS.pattern}"}})'
    wanted = {
        f"drop-{number}": requests * ROWS + durations * DURATION_ROWS
        for number, (requests, durations, _) in enumerate(DROPS)
    }
    with Prometheus(tmp_path, busy.collector.port, more=more) as prometheus:

        def found() -> dict[str, float]:
            counted = {labels["job"]: value for labels, value in prometheus.query(rows)}
            return {name: value for name, value in counted.items() if name != "resty-metrics"}

        wait_until(lambda: len(found()) == len(jobs), message="a scrape of each job")
        assert found() == wanted


def test_a_label_that_is_dropped_takes_requests_along(busy: Busy, tmp_path: Path) -> None:
    """Of the four of one server Prometheus keeps one, and says nothing."""
    client = "metric_relabel_configs: [{ regex: status, action: labeldrop }]"
    with Prometheus(tmp_path, busy.collector.port, client=client) as prometheus:
        counted = "sum(nginx_http_responses_total)"
        wait_until(lambda: prometheus.value(counted), message="a scrape")
        assert prometheus.value(counted) == ROWS - len(PATHS) + 1
