"""docs/scale.md: its arithmetic against a real page, its examples as promtool and Prometheus take them."""

import json
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
OF_A_ROW = re.compile(r"^# of the 22 series of a row (\d+) stay\n(metric_relabel_configs:\n.*?)^```$", re.M | re.S)
DROPS = [(int(left), yaml.safe_load(text)) for left, text in OF_A_ROW.findall(PAGE)]
REQUESTS = re.compile(r"nginx_http_(responses|request_duration|request_bytes|response_bytes)_.+")
PATHS = ("", "none", "broken", "cached")
ROWS = len(PATHS) + 1  # and what the last one asks for
WORKERS, UPSTREAMS, ATTEMPTS, CACHED = 2, 1, 1, 1
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
    """A collector whose page has ROWS rows and all else that the arithmetic names."""

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
    upstream = sum(number for name, number in names.items() if name.startswith("nginx_http_upstream_"))
    attempts = names["nginx_http_upstream_attempts_total"]
    assert attempts == ATTEMPTS
    assert upstream == attempts * formula("a peer of an upstream, and its status") + UPSTREAMS * formula("an upstream")
    cache = names["nginx_http_cache_requests_total"]
    assert cache == CACHED * formula("a server with a cache, and what the cache did")
    rest = sum(names.values()) - requests - upstream - cache
    most = formula("a collector and its nginx") + WORKERS * formula("a worker")
    assert 0.7 * most <= rest <= most


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
    jobs = [{"job_name": f"drop-{number}", **block, **target} for number, (_, block) in enumerate(DROPS)]
    more = "".join(f"  - {json.dumps(job)}\n" for job in jobs)
    rows = f'count by (job) ({{__name__=~"{REQUESTS.pattern}"}})'
    wanted = {f"drop-{number}": left * ROWS for number, (left, _) in enumerate(DROPS)}
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
