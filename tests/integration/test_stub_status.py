"""stub_status of a live nginx: what Debian's prometheus-nginx-exporter says of it is what the page says."""

from pathlib import Path

from support.client import get
from support.collector import Collector, samples_of
from support.exporter import Exporter
from support.nginx import Nginx
from support.wait import free_port, wait_until

SITE = """
    include {{share}}/nginx.conf.d/stub-status.conf;
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
    }}
"""
COUNTERS = ("nginx_connections_accepted", "nginx_connections_handled", "nginx_http_requests_total")
GAUGES = tuple(f"nginx_connections_{state}" for state in ("active", "reading", "writing", "waiting"))
NOTHING: frozenset[tuple[str, str]] = frozenset()


def numbers(page: str) -> dict[str, int]:
    """The page's numbers of nginx itself; compatibility names as they are on the page."""
    found = samples_of(page)
    wanted = {name: name for name in (*GAUGES, "nginx_http_requests_total", "nginx_up")}
    wanted |= {name: f"{name}_total" for name in COUNTERS[:2]}  # prometheus-client's parser adds that
    return {name: int(found[parsed, NOTHING]) for name, parsed in wanted.items() if (parsed, NOTHING) in found}


def test_read_in_the_worker(socket_path: Path) -> None:
    port = free_port()
    nginx = Nginx(socket_path, SITE.format(port=port))
    address = f"http://{nginx.stub_status}/stub_status"
    with Collector(socket_path) as collector, nginx, Exporter(address) as exporter:
        get(port, times=37, kept=True)
        theirs = settled(exporter)
        # while the exporter reads, its own request is being written; afterwards its connection waits
        afterwards = theirs | {
            "nginx_connections_writing": theirs["nginx_connections_writing"] - 1,
            "nginx_connections_waiting": theirs["nginx_connections_waiting"] + 1,
        }
        wait_until(lambda: numbers(collector.page()) == afterwards, message=f"the page saying {afterwards}")


def settled(exporter: Exporter) -> dict[str, int]:
    """What the exporter says when two of its pages agree but for its own request: an answer is here before the worker
    that sent it has put its connection among the waiting, or closed it."""
    pages = [numbers(exporter.page())]

    def agree() -> bool:
        pages.append(numbers(exporter.page()))
        return pages[-1] == pages[-2] | {"nginx_http_requests_total": pages[-2]["nginx_http_requests_total"] + 1}

    wait_until(agree, message="two pages that agree")
    return pages[-1]


def test_fetched(socket_path: Path) -> None:
    port = free_port()
    nginx = Nginx(socket_path, SITE.format(port=port))
    address = f"http://{nginx.stub_status}/stub_status"
    source = f"--source.stub-status={address}"
    with nginx, Collector(socket_path, source) as collector, Exporter(address) as exporter:
        get(port, times=37, kept=True)
        exporter.page()
        collector.page()  # now both connections are there

        def agree() -> bool:
            theirs, ours = numbers(exporter.page()), numbers(collector.page())
            return ours == theirs | {"nginx_http_requests_total": theirs["nginx_http_requests_total"] + 1}

        # an answer is here before the worker that sent it has put its connection among the waiting
        wait_until(agree, message="exporter == page")
        assert collector.value("resty_metrics_source_up", source="stub_status") == 1
        wait_until(lambda: collector.request_counts().total() == 37, message="the requests")
        assert nginx.errors() == []


def test_types_are_the_exporters(socket_path: Path) -> None:
    nginx = Nginx(socket_path, SITE.format(port=free_port()))
    address = f"http://{nginx.stub_status}/stub_status"
    source = f"--source.stub-status={address}"
    with nginx, Collector(socket_path, source) as collector, Exporter(address) as exporter:
        theirs = types(exporter.page())
        assert {name: kind for name, kind in types(collector.page()).items() if name in theirs} == theirs


def types(page: str) -> dict[str, str]:
    """TYPE lines of nginx's own metrics."""
    names = (*COUNTERS, *GAUGES, "nginx_up")
    words = [line.split() for line in page.splitlines() if line.startswith("# TYPE ")]
    return {name: kind for _, _, name, kind in words if name in names}
