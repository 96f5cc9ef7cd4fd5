"""``resty-metrics cost`` on a real collector and nginx, held against an nginx without the label and a Prometheus."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import bcrypt
import click
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from resty_metrics.commands.cli import main
from support.client import get
from support.collector import COMMAND, Collector
from support.nginx import ROOT, Nginx, shared_directory
from support.prometheus import Prometheus
from support.wait import free_port, wait_until
from support.worker import Worker

pytestmark = pytest.mark.slow

SITE = """
    {label}
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200 "a\\n"; }}
        location /missing {{ return 404; }}
    }}
"""
LABEL = 'geo $resty_metrics_labels { default "tenant=http_x_tenant"; }'
TENANTS = ("one", 'tw"o', "back\\slash", "ünï".encode().decode("latin-1"))
PATHS = ("/", "/missing")
REQUESTS = len(TENANTS) * len(PATHS)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    path = shared_directory()
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


@pytest.fixture(scope="module")
def pair(directory: Path) -> Iterator[tuple[Collector, Collector]]:
    """A collector of an nginx with a label, and of one without, after the same requests."""
    with ExitStack() as stack:
        collectors = []
        for name, label in (("with", LABEL), ("without", "")):
            port = free_port()
            collector = stack.enter_context(Collector(directory / f"{name}.sock"))
            stack.enter_context(Nginx(collector.socket_path, SITE.format(port=port, label=label)))
            for tenant in TENANTS:
                for path in PATHS:
                    get(port, path, {"X-Tenant": tenant})
            wait_until(lambda: collector.request_counts().total() == REQUESTS, message="the requests")  # noqa: B023
            collectors.append(collector)
        yield collectors[0], collectors[1]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (COMMAND, "cost", *words), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
    )


def families(collector: Collector) -> dict[str, dict[str, Any]]:
    done = run(f"--url={collector.url}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return {family["name"]: family for family in json.loads(done.stdout)["families"]}


def size(value: dict[str, Any]) -> tuple[int, int]:
    return value["rows"], value["series"]


def test_without_a_label_it_is_what_an_nginx_without_it_has(pair: tuple[Collector, Collector]) -> None:
    labelled, plain = map(families, pair)
    without = {
        name: label["without"]
        for name, family in labelled.items()
        for label in family["labels"]
        if label["name"] == "tenant"
    }
    assert len(without) >= 4
    assert {name: size(value) for name, value in without.items()} == {name: size(plain[name]) for name in without}
    responses = "nginx_http_responses_total"
    assert without[responses]["bytes"] == plain[responses]["bytes"]
    assert labelled[responses]["rows"] == REQUESTS
    assert plain[responses]["rows"] == len(PATHS)


def test_sizes_are_those_of_the_page(pair: tuple[Collector, Collector]) -> None:
    found, page = families(pair[0]), pair[0].page()
    series = Counter(
        family.name if family.type != "counter" or f"# TYPE {family.name} " in page else f"{family.name}_total"
        for family in text_string_to_metric_families(page)
        for _ in family.samples
    )
    assert {name: family["series"] for name, family in found.items()} == series
    assert not [label for family in found.values() for label in family["labels"] if label["name"] == "le"]


def test_a_prometheus_stores_as_many_as_the_total(pair: tuple[Collector, Collector], tmp_path: Path) -> None:
    collector = pair[0]
    with Prometheus(tmp_path, collector.port) as prometheus:

        def agree() -> bool:
            scraped = prometheus.value("scrape_samples_scraped")
            on_page = prometheus.value("sum(resty_metrics_series)")
            total = json.loads(run(f"--url={collector.url}", "--json").stdout)["total"]["series"]
            return scraped is not None and scraped == on_page == total

        wait_until(agree, 60, "one number of the scrape, of the page and of cost")


def test_a_table(pair: tuple[Collector, Collector]) -> None:
    done = run(f"--url={pair[0].url}")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{pair[0].url}/metrics"
    assert lines[2].split()[:2] == ["metric,", "and"]
    assert "  without tenant" in done.stdout
    assert lines[-1].startswith("Prometheus holds each of the ")
    assert "resty_metrics_build_info" not in done.stdout
    assert "resty_metrics_build_info" in run(f"--url={pair[0].url}", "--all").stdout


def test_the_collector_of_this_machine_is_found(pair: tuple[Collector, Collector]) -> None:
    done = run(f"--socket.path={pair[0].socket_path}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["url"] == f"{pair[0].url}/metrics"


def test_a_reader_that_goes_away(pair: tuple[Collector, Collector]) -> None:
    words = [COMMAND, "cost", f"--url={pair[0].url}", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


def test_nobody_there() -> None:
    done = run(f"--url=http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot read the page: cannot connect" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_page(pair: tuple[Collector, Collector]) -> None:
    done = run(f"--url={pair[0].url}/-/ready")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the answer is not a page of resty-metrics -> check" in done.stderr


def test_a_guarded_page(directory: Path, tmp_path: Path) -> None:
    password, guard = tmp_path / "password", tmp_path / "web.yml"
    password.write_text("secret\n")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    guard.write_text(f"basic_auth_users: {{reader: {hashed}}}\n")
    with Collector(directory / "guarded.sock", f"--web.config.file={guard}", user=("reader", "secret")) as collector:
        words = (f"--url={collector.url}", "--json")
        refused = run(*words)
        assert refused.returncode == 1
        assert "HTTP status 401 -> give --basic-auth.username" in refused.stderr
        done = run(*words, "--basic-auth.username=reader", f"--basic-auth.password-file={password}")
        assert (done.returncode, done.stderr) == (0, "")


BOUNDS = [5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000, 30000, 60000]
SHOPS = ["plain", 'q"uote', "back\\slash", "new\nline", "} {,le=", "\u2028 ünï 漢字"]
ROWS, PER_BATCH = 9_000, 125


def test_a_large_page_with_any_values(directory: Path) -> None:
    """A family at its cap: the sizes are those of the lines, and without a label those of the rows that are left."""
    name = "shop_wait_seconds"
    family = {"name": name, "type": "histogram", "labels": ["shop", "number"], "columns": ["sum"], "custom": True}
    numbers = [1] * (len(BOUNDS) + 2)
    with Collector(directory / "large.sock") as collector, Worker(collector.socket_path) as worker:
        for first in range(0, ROWS, PER_BATCH):
            rows = [[SHOPS[n % len(SHOPS)], str(n // len(SHOPS)), *numbers] for n in range(first, first + PER_BATCH)]
            worker.send(worker.next_batch({"families": [{**family, "bounds": BOUNDS, "scale": 1000, "rows": rows}]}))
            worker.answer()
        found = families(collector)[name]
        lines = [
            line for line in collector.page().split("\n") if line.startswith((name, f"# HELP {name}", f"# TYPE {name}"))
        ]
    per_row = len(BOUNDS) + 3
    assert size(found) == (ROWS, ROWS * per_row)
    assert found["bytes"] == sum(len(line.encode()) + 1 for line in lines)
    without = {label["name"]: (label["values"], *size(label["without"])) for label in found["labels"]}
    kept = ROWS // len(SHOPS)
    assert without == {
        "shop": (len(SHOPS), kept, kept * per_row),
        "number": (kept, len(SHOPS), len(SHOPS) * per_row),
    }


WRONG = [
    (("--url=host:19145",), "--url"),
    (("--url=http://h/", "--tls.ca-file=/ca.pem"), "https://"),
    (("--url=http://h/", "--basic-auth.username=a"), "--basic-auth.password-file"),
    (("--interval=1s",), "--interval"),
]


@pytest.mark.parametrize(("words", "named"), WRONG)
def test_what_is_wrong_is_named(words: tuple[str, ...], named: str) -> None:
    done = CliRunner().invoke(main, ["cost", *words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert named in done.stderr


def test_it_reaches_a_page_as_top_does() -> None:
    """By the same options, and it is documented where they are."""
    own = {option.name: option for option in main.commands["cost"].params if isinstance(option, click.Option)}
    of_top = {option.name: option for option in main.commands["top"].params if isinstance(option, click.Option)}
    assert {name: own[name] for name in own.keys() - {"whole", "as_json"}} == {
        name: of_top[name] for name in own.keys() - {"whole", "as_json"}
    }
    text = (ROOT / "docs" / "scale.md").read_text()
    assert [flag for flag in ("--url", "--all", "--json") if f"`{flag}`" not in text] == []
