"""The page behind TLS, client certificates and users, scraped by a real Prometheus; and beset by bad clients."""

import asyncio
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import bcrypt
import pytest
from resty_metrics.web.connection import HEAD_SECONDS
from support.certificates import LOCAL, Authority
from support.collector import Collector, families_of, samples_of
from support.load import Load
from support.nginx import Nginx, shared_directory, with_durations
from support.prometheus import Prometheus
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

SITE = 'server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200 "ok\\n"; }} }}'
CLIENT = (
    "scheme: https\n"
    "    basic_auth: {{username: prom, password: '{password}'}}\n"
    "    tls_config: {{ca_file: {ca}, cert_file: {cert}, key_file: {key}}}"
)
PASSWORD = "correct horse"


@pytest.fixture
def directory() -> Iterator[Path]:
    path = shared_directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)


def client_of(authority: Authority, name: str, password: str = PASSWORD) -> str:
    pair = authority.issue(name)
    return CLIENT.format(password=password, ca=authority.file, cert=pair.certificate, key=pair.key)


def test_a_real_prometheus_with_a_certificate_and_a_password(directory: Path) -> None:
    """The right one scrapes; one with a wrong password, and one with a certificate of somebody else's, do not."""
    for name in ("tls", "other"):
        (directory / name).mkdir()
    authority, other = Authority(directory / "tls", "ca"), Authority(directory / "other")
    authority.issue("server", LOCAL)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10, prefix=b"2a")).decode()
    (directory / "tls" / "web.yml").write_text(
        "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem,"
        " client_auth_type: RequireAndVerifyClientCert}\n"
        f"basic_auth_users: {{prom: {hashed}}}\n"
    )
    context = ssl.create_default_context(cafile=authority.file)
    own = authority.issue("own")
    context.load_cert_chain(own.certificate, own.key)
    configured = f"--web.config.file={directory}/tls/web.yml"
    with Collector(directory / "c.sock", configured, tls=context, user=("prom", PASSWORD)) as collector:
        refused = "resty_metrics_web_refused_requests_total"
        closed = "resty_metrics_web_closed_connections_total"
        for name, client, up in (
            ("right", client_of(authority, "right"), 1),
            ("guesser", client_of(authority, "guesser", "wrong"), 0),
            ("stranger", client_of(other, "stranger").replace(str(other.file), str(authority.file)), 0),
        ):
            place = directory / name
            place.mkdir()
            with Prometheus(place, collector.port, client=client) as prometheus:
                wait_until(lambda: prometheus.value("count_over_time(up[1m])"), 30, f"a scrape by {name}")
                assert prometheus.value("max_over_time(up[1m])") == up, name
                if up:
                    assert prometheus.value("resty_metrics_socket_up") == 1
        assert (collector.value(refused, reason="unauthorized") or 0) >= 1
        assert (collector.value(closed, reason="handshake") or 0) >= 1
        assert PASSWORD not in collector.log()


class Slow:
    """Clients that send a head byte by byte, and open a new connection whenever one is closed."""

    def __init__(self, port: int, count: int) -> None:
        self.closed = 0
        self._port = port
        self._count = count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Slow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        return client

    def _run(self) -> None:
        clients = [self._connect() for _ in range(self._count)]
        while not self._stop.wait(0.1):
            for at, client in enumerate(clients):
                try:
                    client.sendall(b"x")
                except OSError:
                    self.closed += 1
                    client.close()
                    clients[at] = self._connect()
        for client in clients:
            client.close()


SCRAPES, SLOW_CLIENTS = 200, 300


async def scrape_all(url: str) -> list[str]:
    """So many at once, each by a connection of its own."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:

        async def scrape() -> str:
            async with session.get(url) as response:
                assert response.status == 200
                return await response.text()

        return list(await asyncio.gather(*(scrape() for _ in range(SCRAPES))))


def test_scrapes_stay_right_while_slow_clients_hang_on_and_load_runs(directory: Path) -> None:
    """200 scrapes at once, again and again, beside 300 slow clients and with room for 400: each page is whole and shows
    one state, counters only go up, and at the end every request of the load was counted."""
    port = free_port()
    with Collector(directory / "c.sock", "--web.max-connections=400") as collector:
        with Nginx(directory / "c.sock", SITE.format(port=port)) as nginx, Slow(collector.port, SLOW_CLIENTS) as slow:
            before, rounds, ends = 0, 0, time.monotonic() + HEAD_SECONDS + 2
            with Load(f"http://127.0.0.1:{port}/", HEAD_SECONDS + 2) as load:
                while time.monotonic() < ends:
                    pages = asyncio.run(scrape_all(f"{collector.url}/metrics"))
                    counts = sorted(_count(page) for page in pages)
                    assert counts[0] >= before
                    before, rounds = counts[-1], rounds + 1
                load.wait()
            wait_until(lambda: slow.closed >= SLOW_CLIENTS, 30, "the end of each slow client")
            wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        assert rounds >= 2
        closed = "resty_metrics_web_closed_connections_total"
        cut = [collector.value(closed, reason=reason) or 0 for reason in ("slow_request", "evicted")]
        assert sum(cut) >= SLOW_CLIENTS
        assert collector.value(closed, reason="limit") == 0
        assert collector.value("resty_metrics_web_refused_requests_total", reason="busy") == 0
        assert collector.value("resty_metrics_lost_rows_total", reason="dropped") == 0
        assert "Traceback" not in collector.log()


def _count(page: str) -> int:
    """Requests on a page, which shows one state."""
    requests, durations = families_of(samples_of(page))
    assert durations == with_durations(requests)[1]
    return requests.total()
