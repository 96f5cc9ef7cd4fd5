"""Server names that no exposition format likes, and buckets that change while requests are served."""

import time
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from support.client import get
from support.collector import Collector
from support.load import Load
from support.nginx import Nginx, set_include
from support.wait import free_port, wait_until

# as it stands in nginx.conf, and as the page has it after parsing
SERVER_NAMES = [
    ('"quo\\"ted.example"', 'quo"ted.example'),
    ('"back\\\\slash.example"', "back\\slash.example"),
    ('"new\\nline.example"', "new\nline.example"),
    ('"~^(?<any>.+)\\.{1,2}x$"', "~^(?<any>.+)\\.{1,2}x$"),
    ('"com,ma=\\"}.example"', 'com,ma="}.example'),
    ("münchen.example", "münchen.example"),
    ("x" * 300 + ".example", "x" * 253 + "…"),
]


def test_odd_server_names_arrive_as_they_are(socket_path: Path) -> None:
    ports = [free_port() for _ in SERVER_NAMES]
    site = "server_names_hash_bucket_size 512;" + "".join(
        f"server {{ listen 127.0.0.1:{port}; server_name {name}; location / {{ return 200; }} }}\n"
        for port, (name, _) in zip(ports, SERVER_NAMES, strict=True)
    )
    with Collector(socket_path) as collector, Nginx(socket_path, site) as nginx:
        for number, port in enumerate(ports):
            get(port, times=number + 1)
        wanted = Counter({(name, "GET", "200"): n + 1 for n, (_, name) in enumerate(SERVER_NAMES)})
        wait_until(lambda: collector.request_counts().total() == wanted.total(), message="all requests")
        assert collector.request_counts() == wanted
        openmetrics = collector.page(Accept="application/openmetrics-text; version=1.0.0")
        servers = {
            sample.labels["server"]
            for family in parse_openmetrics(openmetrics)  # type: ignore[no-untyped-call]
            for sample in family.samples
            if sample.name == "nginx_http_responses_total"
        }
        assert servers == {name for _, name in SERVER_NAMES}
        assert nginx.errors() == []


def test_bytes_that_are_no_utf8_are_spelled_out(socket_path: Path) -> None:
    port = free_port()
    nginx = Nginx(socket_path, f"server {{ listen 127.0.0.1:{port}; server_name bad.example; return 200; }}")
    nginx.conf.write_bytes(nginx.conf.read_bytes().replace(b"bad.example", b"b\xff\xfed.example"))
    with Collector(socket_path) as collector, nginx:
        get(port, times=3)
        wait_until(lambda: collector.request_counts().total() == 3, message="all requests")
        assert collector.request_counts() == Counter({(r"b\xff\xfed.example", "GET", "200"): 3})


@pytest.mark.slow
def test_changed_buckets_and_a_reload_under_load_keep_every_count(socket_path: Path) -> None:
    port = free_port()
    site = f"server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ echo_sleep 0.003; echo ok; }} }}"
    buckets = [
        "0.001 0.002 0.004 0.008 0.016",
        "0.004 1",
        "0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 30 60",
        "0.001",
    ]
    with Collector(socket_path) as collector, Nginx(socket_path, site) as nginx:
        include = nginx.share / "nginx.conf.d" / "resty-metrics.conf"
        with Load(f"http://127.0.0.1:{port}/", 8):
            for chosen in buckets:
                time.sleep(1.2)  # each choice lives long enough to send something
                set_include(include, "buckets", chosen)
                nginx.reload()
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        samples = collector.samples()
        counts = {
            dict(labels)["le"]: n
            for (name, labels), n in samples.items()
            if name.endswith("duration_seconds_bucket") and name.startswith("nginx_http_request")
        }
        assert set(counts) == {"0.001", "+Inf"}
        assert counts["+Inf"] == nginx.access_counts().total()
        assert nginx.errors() == []
