"""The live page as a real collector serves it."""

import socket
from collections.abc import Iterator

import pytest
from resty_metrics.config.values import DEFAULT_TELEMETRY_PATH
from resty_metrics.live.assets import FILES, HEADERS
from support.client import ask
from support.collector import Collector
from support.wait import wait_until
from support.worker import Worker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with Collector(tmp_path_factory.mktemp("run") / "collector.sock") as collector:
        yield collector


def test_the_page_comes_with_a_policy_that_allows_nothing_but_its_own(collector: Collector) -> None:
    status, headers, body = ask(collector.port, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers.items() >= HEADERS.items()
    for path in (DEFAULT_TELEMETRY_PATH, "/-/healthy", "/-/ready"):
        assert f'<a href="{path}">'.encode() in body


@pytest.mark.parametrize("name", FILES)
def test_what_it_loads_is_there(collector: Collector, name: str) -> None:
    status, headers, body = ask(collector.port, f"/-/live/{name}")
    assert (status, headers["Content-Type"]) == (200, f"{FILES[name]}; charset=utf-8")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert body


@pytest.mark.parametrize("path", ["/-/live/", "/-/live/live.html", "/-/live/..%2frender.py", "/-/live/x"])
def test_nothing_else_is_served(collector: Collector, path: str) -> None:
    assert ask(collector.port, path)[0] == 404


def test_the_page_is_packed_for_who_takes_it(collector: Collector) -> None:
    assert ask(collector.port, "/", Accept_Encoding="gzip")[1]["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in ask(collector.port, "/")[1]


def requests(server: str, count: int) -> dict[str, object]:
    counted = {
        "name": "http_requests",
        "type": "requests",
        "labels": ["server", "method", "status"],
        "columns": ["count", "request_bytes", "response_bytes"],
        "rows": [[server, "GET", "200", count, 20, 30]],
    }
    timed = {
        "name": "nginx_http_request_duration_seconds",
        "type": "histogram",
        "labels": ["server", "status_class"],
        "bounds": [100, 1000],
        "scale": 1000,
        "columns": ["sum"],
        "rows": [[server, "2xx", count, 0, 0, 10]],
    }
    return {"families": [counted, timed]}


def test_requests_are_drawn_though_nobody_scrapes(collector: Collector) -> None:
    with Worker(collector.socket_path) as worker:
        worker.send(worker.next_batch(requests("shop <b>", 50)))
        worker.answer()
        wait_until(lambda: b"<h3>shop &lt;b&gt;</h3>" in ask(collector.port, "/")[2], message="the server")
    assert b"<td>shop &lt;b&gt;</td>" in ask(collector.port, "/")[2]


def test_a_source_that_does_not_answer_does_not_keep_the_page(tmp_path_factory: pytest.TempPathFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/vts"
        path = tmp_path_factory.mktemp("run") / "collector.sock"
        with Collector(path, f"--source.vts={url}", "--source.timeout=4s") as collector:
            assert b"has not answered yet" in ask(collector.port, "/")[2]
            wait_until(lambda: b"cannot be read (timeout)" in ask(collector.port, "/")[2], message="the timeout")
