"""Sources of every kind of ill health beside healthy ones, in a real collector that has them from its file.

The healthy ones are on the page each time, within the scrape's timeout, and nothing is taken without end.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from resty_metrics.sources.fetch import BODY_CAP
from support.certificates import Authority
from support.collector import Collector, samples_of
from support.nginx import Nginx
from support.sources import PAGE, Flood, Handler, answer, hang, plain, reset, saying, serving, stall
from support.wait import free_port

pytestmark = pytest.mark.slow

SCRAPE_SECONDS = 3.0
SENT = 5 * 1024**3
SOCKET_BUFFERS = 16 * 1024**2  # of both ends, and what the server has put before it waits
CONNECTIONS = {"connections": {"active": 1}}
LARGE_NAME = json.dumps({**CONNECTIONS, "serverZones": {"x" * 10_000_000: {"inBytes": 1}}}).encode()
SITE = """
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {server.certificate};
        ssl_certificate_key {server.key};
        ssl_client_certificate {authority.file};
        ssl_verify_client on;
        location = /stub_status {{ auth_basic "status"; auth_basic_user_file {{prefix}}/users; stub_status; }}
    }}
"""

# name: kind, server, reason
FAULTS: dict[str, tuple[str, Handler, str]] = {
    "hangs": ("stub_status", hang, "timeout"),
    "stalls": ("stub_status", stall, "timeout"),
    "resets": ("vts", reset, "connection"),
    "html": ("vts", saying(answer(b"<html></html>")), "parse"),
    "half": ("vts", saying(answer(json.dumps(CONNECTIONS).encode()[:-5])), "parse"),
    "name": ("vts", saying(answer(LARGE_NAME)), "too_large"),
    "redirects": ("stub_status", saying(answer(b"", "302 Found\r\nLocation: /")), "status"),
    "plain": ("stub_status", plain, "tls"),
}


def source(name: str, kind: str, url: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "name": name, "url": url, **more}


def configured(directory: Path, sources: Sequence[dict[str, Any]]) -> str:
    path = directory / "resty-metrics.yml"
    path.write_text(yaml.safe_dump({"sources": list(sources)}))
    return f"--config.file={path}"


def scrape(collector: Collector, seconds: float = SCRAPE_SECONDS) -> tuple[str, float]:
    """The page for a Prometheus that has so much time, and how long it took."""
    began = time.monotonic()
    page = collector.page(X_Prometheus_Scrape_Timeout_Seconds=str(seconds))
    return page, time.monotonic() - began


def reasons(page: str, times: int = 1) -> dict[str, str]:
    """By the name of each source, why it failed; empty where it is up."""
    found = {}
    for (metric, labels), value in samples_of(page).items():
        by = dict(labels)
        if metric == "resty_metrics_source_up" and "nginx" in by and value == 1:
            found[by["nginx"]] = ""
        if metric == "resty_metrics_source_errors_total" and value == times:
            found[by["nginx"]] = by["reason"]
    return found


def test_ill_sources_beside_a_healthy_one(shared: Path) -> None:
    """An nginx with TLS, client certificates and a password; and everything that can be wrong, at the same time."""
    authority, port = Authority(shared), free_port()
    server, client = authority.issue("status.example"), authority.issue("client")
    nginx = Nginx(shared / "collector.sock", SITE.format(port=port, server=server, authority=authority))
    words = ["openssl", "passwd", "-apr1", "word"]
    hashed = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    (nginx.prefix / "users").write_text(f"someone:{hashed}\n")
    (shared / "password").write_text("word\n")
    tls = {"ca_file": "authority.pem", "cert_file": client.certificate.name, "key_file": client.key.name}
    url, basic = f"https://localhost:{port}/stub_status", {"username": "someone", "password_file": "password"}
    verified = {**tls, "server_name": "status.example"}
    sources = [
        source("well", "stub_status", url, tls_config=verified, basic_auth=basic),
        source("wrong-name", "stub_status", url, tls_config=tls, basic_auth=basic),
        source("no-password", "stub_status", url, tls_config=verified),
        source("no-file", "stub_status", url, tls_config=verified, basic_auth={**basic, "password_file": "none"}),
        source("refuses", "vts", f"http://127.0.0.1:{free_port()}/"),
        source("no-such-name", "vts", "http://no-such-host.invalid/"),
        source("no-socket", "stub_status", f"unix:{shared}/none.sock:/stub_status"),
    ]
    expected = {
        "well": "",
        "wrong-name": "tls",
        "no-password": "status",
        "no-file": "credentials",
        "refuses": "refused",
        "no-such-name": "resolve",
        "no-socket": "refused",
        **{name: reason for name, (_, _, reason) in FAULTS.items()},
    }

    async def run() -> list[tuple[str, float]]:
        async with AsyncExitStack() as servers:
            for name, (kind, handler, _) in FAULTS.items():
                address = await servers.enter_async_context(serving(handler))
                sources.append(source(name, kind, address.replace("http", "https", 1) if name == "plain" else address))
            return await asyncio.to_thread(scraped)

    def scraped() -> list[tuple[str, float]]:
        with nginx, Collector(shared / "collector.sock", configured(shared, sources)) as collector:
            pages = [scrape(collector) for _ in range(2)]
            assert collector.terminate() == 0
            assert "word" not in re.sub("password", "", collector.log() + "".join(page for page, _ in pages))
            return pages

    for times, (page, took) in enumerate(asyncio.run(run()), 1):
        assert reasons(page, times) == expected
        assert took < SCRAPE_SECONDS
        assert re.search(r'^nginx_http_requests_total\{nginx="well"\} [1-9]', page, re.MULTILINE)
        assert len(page) < 1_000_000


def test_of_five_gigabytes_the_cap_is_taken(shared: Path) -> None:
    """In memory too, and beside a healthy source."""
    flood = Flood(SENT)

    async def run() -> tuple[str, int]:
        async with serving(flood) as without_end, serving(saying(answer(PAGE))) as well:
            sources = [source("flood", "vts", without_end, timeout="30s"), source("well", "stub_status", well)]
            return await asyncio.to_thread(scraped, sources)

    def scraped(sources: list[dict[str, Any]]) -> tuple[str, int]:
        with Collector(shared / "collector.sock", configured(shared, sources)) as collector:
            collector.page()
            before = most_memory(collector.pid)
            page, took = scrape(collector, 60)
            assert took < 60
            return page, most_memory(collector.pid) - before

    page, memory = asyncio.run(run())
    assert reasons(page, 2) == {"flood": "too_large", "well": ""}
    assert BODY_CAP * 2 < flood.taken < (BODY_CAP + SOCKET_BUFFERS) * 2  # the first page took as much
    assert memory < BODY_CAP


def most_memory(pid: int) -> int:
    """VmHWM, bytes."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_name_server_that_is_silent(shared: Path) -> None:
    """Ten names wait for it, scrape after scrape; a name that is in /etc/hosts is not behind them in a queue."""
    (shared / "resolv.conf").write_text("nameserver 127.53.53.53\noptions timeout:30 attempts:5\n")
    script = f'mount --bind {shared}/resolv.conf $(readlink -f /etc/resolv.conf) && exec "$@"'
    under = ["unshare", "--mount", "sh", "-c", script, "sh"]

    async def run() -> list[tuple[str, float]]:
        async with serving(saying(answer(PAGE))) as address:
            sources = [source(f"silent-{n}", "vts", f"http://silent-{n}.example/") for n in range(10)]
            sources.append(source("well", "stub_status", address.replace("127.0.0.1", "localhost")))
            return await asyncio.to_thread(scraped, sources)

    def scraped(sources: list[dict[str, Any]]) -> list[tuple[str, float]]:
        with Collector(shared / "collector.sock", configured(shared, sources), under=under) as collector:
            pages = [scrape(collector) for _ in range(3)]
            assert collector.terminate() == 0
            return pages

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.53.53.53", 53))
        pages = asyncio.run(run())
        assert silent.recv(4096, socket.MSG_DONTWAIT)
    for times, (page, took) in enumerate(pages, 1):
        assert reasons(page, times) == {"well": "", **{f"silent-{n}": "timeout" for n in range(10)}}
        assert took < SCRAPE_SECONDS
