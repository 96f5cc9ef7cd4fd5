"""The configuration read again, while a collector counts."""

import asyncio
import os
import pwd
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest
from resty_metrics.config.settings import Settings
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.senders import Senders
from resty_metrics.journal.expiring import Expiring
from resty_metrics.journal.state import State
from resty_metrics.page.scrape import Pages
from resty_metrics.reload import RESTART, Reloader, renewed
from resty_metrics.sources.fetch import Fetcher
from resty_metrics.sources.source import Connection, Source
from resty_metrics.table.scrapers import Scrapers
from resty_metrics.table.table import Table
from resty_metrics.web.front import Front
from resty_metrics.web.limits import Limits
from resty_metrics.web.policy import Access, Policy
from resty_metrics.web.tally import Tally
from resty_metrics.wire.datagram import Reason, Verdict
from support.collector import Collector
from support.wait import free_port, wait_until
from support.worker import Worker, counter

PAGE = b"Active connections: 1 \nserver accepts handled requests\n 7 7 %d \nReading: 0 Writing: 1 Waiting: 0 \n"
SUCCESS, WHEN = (
    "resty_metrics_config_last_reload_successful",
    "resty_metrics_config_last_reload_success_timestamp_seconds",
)


def post(collector: Collector, method: str = "POST") -> tuple[int, str]:
    request = urllib.request.Request(f"{collector.url}/-/reload", method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextmanager
def stub_status(requests: int) -> Iterator[int]:
    """One that answers each connection's first request, at the port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            with client:
                body = PAGE % requests
                if client.recv(65536):
                    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
                    client.sendall(head + body)

    thread = Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def source(name: str, port: int, more: str = "") -> str:
    return f"  - {{kind: stub_status, name: {name}, url: 'http://127.0.0.1:{port}/'{more}}}\n"


def test_sources_come_and_go_and_nothing_is_lost(tmp_path: Path) -> None:
    """By HTTP and by SIGHUP; a source that stays keeps its error count, a sender its place."""
    path, gone = tmp_path / "resty-metrics.yml", free_port()
    with stub_status(11) as one, stub_status(22) as two:
        path.write_text("sources:\n" + source("one", one) + source("gone", gone))
        flags = (f"--config.file={path}", "--web.enable-lifecycle")
        with Collector(tmp_path / "c.sock", *flags) as collector, Worker(collector.socket_path) as worker:
            worker.send(worker.next_batch(counter("kept_total", 1)))
            assert worker.answer() == (Verdict.ACK, Reason.NONE, 1)
            errors = {"source": "stub_status", "nginx": "gone", "reason": "refused"}
            before = collector.value("resty_metrics_source_errors_total", **errors)
            assert before
            loaded = collector.value(WHEN)

            path.write_text("sources:\n" + source("two", two) + source("gone", gone, ", timeout: 1s"))
            assert post(collector) == (200, "configuration reloaded\n")
            samples = collector.samples()
            shown = {
                dict(labels).get("nginx"): value for (name, labels), value in samples.items() if name == "nginx_up"
            }
            assert shown == {"two": 1, "gone": 0}
            assert collector.value("nginx_http_requests_total", nginx="two") == 22
            after = collector.value("resty_metrics_source_errors_total", **errors)
            assert after is not None
            assert after > before
            assert (collector.value(WHEN) or 0) > (loaded or 0)

            path.write_text("sources:\n" + source("one", one))
            collector.signal(signal.SIGHUP)
            wait_until(lambda: collector.value("nginx_up", nginx="one") == 1, message="the first source again")
            assert collector.value("nginx_up", nginx="two") is None

            worker.send(worker.next_batch(counter("kept_total", 1)))
            assert worker.answer() == (Verdict.ACK, Reason.NONE, 2)
            assert collector.value("kept_total") == 2
            assert collector.value("resty_metrics_lost_state_total") == 0
            assert "Traceback" not in collector.log()


WRONG = [
    ("sources:\n  - {kind: vts}\nlog: {level: loud}\n", (":2: sources[0].url: ", ":3: log.level: ")),
    ("web: {config_file: none.yml}\n", ("none.yml: cannot be read",)),
    (
        "web: {config_file: web.yml}\n",
        ("tls_server_config: requires cert_file", "tls_server_config: requires key_file"),
    ),
    ("a: [", (":1: invalid YAML",)),
]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collector, Path]]:
    """A collector and its configuration, which a test may replace and puts back."""
    directory = tmp_path_factory.mktemp("good")
    path = directory / "resty-metrics.yml"
    (directory / "web.yml").write_text("tls_server_config: {client_auth_type: NoClientCert}")
    with stub_status(11) as port:
        path.write_text("sources:\n" + source("one", port))
        with Collector(directory / "c.sock", f"--config.file={path}", "--web.enable-lifecycle") as collector:
            yield collector, path


@pytest.mark.parametrize(("text", "words"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_refused_whole(good: tuple[Collector, Path], text: str, words: tuple[str, ...]) -> None:
    collector, path = good
    right, earlier = path.read_text(), collector.log()
    path.write_text(text)
    try:
        status, said = post(collector, "PUT")
    finally:
        path.write_text(right)
    assert (status, said.splitlines()[0]) == (500, "the new configuration is invalid, the old one stays in force:")
    log = collector.log().removeprefix(earlier)
    for one in words:
        assert one in said
        assert one in log
    assert log.count("level=error") == len(words)
    assert collector.value("nginx_up", nginx="one") == 1
    assert collector.value(SUCCESS) == 0
    assert f"refused: {path.parent}" in collector.page("/-/ready")
    assert f"kill -HUP {collector.pid}" in collector.page("/-/ready")
    assert post(collector)[0] == 200
    assert collector.value(SUCCESS) == 1


def test_what_needs_a_restart_is_said_and_the_rest_taken(tmp_path: Path) -> None:
    path = tmp_path / "resty-metrics.yml"
    path.write_text("log: {level: info}\n")
    (tmp_path / "s").mkdir()
    fixed = (f"--config.file={path}", "--web.enable-lifecycle")
    with Collector(tmp_path / "c.sock", *fixed) as collector:
        path.write_text(
            "socket: {mode: 0600, allow_uid: [12345]}\n"
            "web: {telemetry_path: /numbers, max_requests: 1, max_connections: 40}\n"
            "log: {level: debug, format: json}\n"
        )
        assert post(collector)[0] == 200
        lines = [line for line in collector.log().splitlines() if "takes effect only after a restart" in line]
        assert [flag for flag in RESTART.values() if any(flag in line for line in lines)] == [
            "--socket.mode",
            "--web.telemetry-path",
        ]
        assert len(lines) == 2
        assert collector.log().splitlines()[-1].startswith('{"ts": ')
        assert collector.value("resty_metrics_socket_up") == 1
        assert post(collector)[0] == 200
        assert collector.log().count("takes effect only after a restart") == 4  # and again, as long as it is so


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_that_may_send_from_now_on(shared: Path) -> None:
    """What its workers had to hold meanwhile is taken."""
    path = shared / "resty-metrics.yml"
    path.write_text("")
    with Collector(shared / "c.sock", f"--config.file={path}") as collector, Worker(collector.socket_path) as worker:
        batch = worker.next_batch(counter("held_total", 3))
        send_as(12345, worker, batch)
        assert worker.answer()[:2] == (Verdict.HOLD, Reason.UID)
        path.write_text("socket: {allow_uid: [12345]}\n")
        collector.signal(signal.SIGHUP)
        wait_until(lambda: "configuration reloaded" in collector.log(), message="the reload")
        send_as(12345, worker, batch)
        assert worker.answer() == (Verdict.ACK, Reason.NONE, 1)
        assert collector.value("held_total") == 3


def send_as(uid: int, worker: Worker, datagram: bytes) -> None:
    child = os.fork()
    if child == 0:
        os.setgid(uid)
        os.setuid(uid)
        worker.send(datagram)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_reload_by_http_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    with Collector(tmp_path / "c.sock") as collector:
        assert post(collector) == (403, "reload by HTTP is off: start with --web.enable-lifecycle\n")
        assert post(collector, "GET")[0] == 405
        assert "reloaded" not in collector.log()


def test_a_name_service_that_is_slow_does_not_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop takes datagrams meanwhile; here it answers the name service."""
    asked, answered = threading.Event(), threading.Event()

    def getpwnam(name: str) -> Any:
        asked.set()
        assert answered.wait(10), "the loop waits for the name service"
        raise KeyError(name)

    async def run() -> None:
        tally = Tally(0)
        front = Front(Policy(Access(), tally), tally, Limits())
        intake = Intake(Table(), Senders(), lambda uid: False)
        parts = SimpleNamespace(intake=intake, scrapers=Scrapers(), journal=None)
        pages = Pages(cast(Any, parts), [], lambda: 0.0)
        expiring = Expiring(State(), cast(Any, None), None)
        reload = asyncio.create_task(Reloader(Settings(), Settings, intake, expiring, pages, front)())
        assert await asyncio.to_thread(asked.wait, 10)
        answered.set()
        assert await reload == []

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    asyncio.run(run())


def test_a_fetcher_stays_with_its_source() -> None:
    same, changed, other = (
        Source("vts", "same", "http://a/", None),
        Source("vts", "changed", "http://a/", None),
        Source("stub_status", "changed", "http://a/", None),
    )
    before = [Fetcher(same), Fetcher(changed)]
    before[1].errors["timeout"] = 3
    after = renewed(before, [other, Source("vts", "changed", "http://b/", None, Connection(1.0)), same])
    assert after[2] is before[0]
    assert [fetcher.errors["timeout"] for fetcher in after] == [0, 3, 0]
