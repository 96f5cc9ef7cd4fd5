"""Fetching: each fault of a real server has its reason, hides no other source, and is over when the server is well."""

import asyncio
import contextlib
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.wait import free_port

from collector.page.exposition import render
from collector.sources import report
from collector.sources.errors import REASONS, SourceReason
from collector.sources.fetch import Fetcher, Scrape, gather
from collector.sources.source import Kind, Source, parse_source

PAGE = b"Active connections: 1 \nserver accepts handled requests\n 1 1 1 \nReading: 0 Writing: 1 Waiting: 0 \n"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def saying(data: bytes, close: bool = False) -> Handler:
    """A server that answers every request with these bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(data)
            await writer.drain()
            if close:
                break

    return handle


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x" * 65536)
        await writer.drain()


async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Half an answer, and nothing more."""
    writer.write(answer(PAGE[:30], length=len(PAGE)))
    await reader.read()


async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What nginx says to a client hello at a port without ``ssl``."""
    await reader.read(1)
    writer.write(answer(b"", "400 Bad Request"))


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@asynccontextmanager
async def serving(
    handler: Handler, port: int = 0, tls: ssl.SSLContext | None = None, path: Path | None = None
) -> AsyncIterator[str]:
    """The address of a server on loopback, or on a unix socket; its connections have ended when the block has."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await handler(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    if path is not None:
        server = await asyncio.start_unix_server(connected, path)
        address = f"unix:{path}:/stub_status"
    else:
        server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=tls)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/stub_status"
    try:
        yield address
    finally:
        server.close()
        await asyncio.gather(*connections)


def fetcher_of(text: str, body_cap: int = 1_000_000, kind: Kind = "stub_status") -> Fetcher:
    return Fetcher(parse_source(text, kind), body_cap)


async def fetch(text: str, seconds: float = 5.0, body_cap: int = 1_000_000, kind: Kind = "stub_status") -> Scrape:
    fetcher = fetcher_of(text, body_cap, kind)
    scrape = await fetcher.fetch(seconds)
    await fetcher.close()
    assert fetcher.errors == ({scrape.reason: 1} if scrape.reason else {})
    return scrape


FAULTS: list[tuple[str, Handler, float, SourceReason]] = [
    ("404", saying(answer(b"", "404 Not Found")), 5, "status"),
    ("500", saying(answer(b"oops", "500 Internal Server Error")), 5, "status"),
    ("a redirect", saying(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), 5, "status"),
    ("HTML", saying(answer(b"<html></html>")), 5, "parse"),
    ("no UTF-8", saying(answer(b"\xff\xfe\x00")), 5, "parse"),
    ("nothing", saying(answer(b"")), 5, "parse"),
    ("gzip that is none", saying(answer(PAGE).replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1)), 5, "connection"),
    ("a header without end", saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), 5, "connection"),
    ("not HTTP", saying(b"SSH-2.0-OpenSSH\r\n", close=True), 5, "connection"),
    ("half an answer", saying(answer(PAGE[:30], length=len(PAGE)), close=True), 5, "connection"),
    ("a reset", reset, 5, "connection"),
    ("silence", hang, 0.2, "timeout"),
    ("silence in the middle", stall, 0.2, "timeout"),
    ("no end", endless, 5, "too_large"),
]


@pytest.mark.parametrize(("handler", "seconds", "reason"), [c[1:] for c in FAULTS], ids=[c[0] for c in FAULTS])
def test_each_fault_has_its_reason(handler: Handler, seconds: float, reason: SourceReason) -> None:
    async def run() -> Scrape:
        async with serving(handler) as address:
            return await fetch(address, seconds)

    scrape = asyncio.run(run())
    assert scrape.reason == reason
    assert render(scrape.families, openmetrics=False).decode().splitlines()[-1] == "nginx_up 0"


@pytest.mark.parametrize(("cap", "reason"), [(len(PAGE), None), (len(PAGE) - 1, "too_large")])
def test_the_cap_is_the_last_byte_that_is_taken(cap: int, reason: SourceReason | None) -> None:
    async def run() -> Scrape:
        async with serving(saying(answer(PAGE))) as address:
            return await fetch(address, body_cap=cap)

    assert asyncio.run(run()).reason == reason


LARGE = json.dumps({"connections": {"active": 3}, "serverZones": {f"zone-{n}": {} for n in range(20_000)}}).encode()


@pytest.mark.parametrize(
    ("body", "reason", "samples"), [(LARGE, None, 2), (LARGE[:-1], "parse", 0)], ids=["whole", "cut"]
)
def test_a_large_document_is_read_beside_the_loop(body: bytes, reason: SourceReason | None, samples: int) -> None:
    async def run() -> Scrape:
        async with serving(saying(answer(body))) as address:
            return await fetch(address, kind="vts")

    scrape = asyncio.run(run())
    assert len(body) > 256 * 1024
    assert scrape.reason == reason
    assert b"".join(line for family in scrape.families for line in family.lines).count(b"\n") == samples


def test_nobody_listens() -> None:
    assert asyncio.run(fetch(f"http://127.0.0.1:{free_port()}/")).reason == "refused"


def test_no_socket_at_the_path(tmp_path: Path) -> None:
    assert asyncio.run(fetch(f"unix:{tmp_path}/none.sock:/stub_status")).reason == "refused"


def test_a_name_that_does_not_resolve() -> None:
    assert asyncio.run(fetch("http://no-such-host.invalid/stub_status")).reason == "resolve"


def test_a_certificate_that_nobody_signed(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def run() -> Scrape:
        async with serving(hang, tls=context) as address:
            return await fetch(address.replace("http", "https", 1))

    assert asyncio.run(run()).reason == "tls"


def test_a_server_without_tls() -> None:
    async def run() -> Scrape:
        async with serving(plain) as address:
            return await fetch(address.replace("http", "https", 1))

    assert asyncio.run(run()).reason == "tls"


def test_a_unix_socket(tmp_path: Path) -> None:
    async def run() -> Scrape:
        async with serving(saying(answer(PAGE)), path=tmp_path / "web.sock") as address:
            return await fetch(address)

    scrape = asyncio.run(run())
    assert scrape.reason is None
    assert render(scrape.families, openmetrics=False).decode().splitlines()[-1] == "nginx_up 1"


def test_a_failing_source_hides_no_other() -> None:
    async def run() -> tuple[list[Scrape], bytes]:
        async with serving(saying(answer(PAGE))) as well, serving(hang) as silent:
            fetchers = [fetcher_of(f"one={silent}"), fetcher_of(f"two={well}")]
            scrapes = await gather(fetchers, 0.3)
            found = [family for scrape in scrapes for family in scrape.families]
            page = render([*found, *report.families(scrapes, fetchers)], openmetrics=False)
            await asyncio.gather(*(fetcher.close() for fetcher in fetchers))
            return scrapes, page

    scrapes, page = asyncio.run(run())
    assert [scrape.reason for scrape in scrapes] == ["timeout", None]
    lines = page.decode().splitlines()
    assert [line for line in lines if line.startswith("nginx_up")] == [
        'nginx_up{nginx="one"} 0',
        'nginx_up{nginx="two"} 1',
    ]
    assert [line for line in lines if line.startswith("nginx_http")] == ['nginx_http_requests_total{nginx="two"} 1']
    assert sum("resty_metrics_source_duration_seconds{" in line for line in lines) == 2
    assert 'resty_metrics_source_up{source="stub_status",nginx="one"} 0' in lines
    assert 'resty_metrics_source_up{source="stub_status",nginx="two"} 1' in lines
    assert 'resty_metrics_source_errors_total{source="stub_status",nginx="one",reason="timeout"} 1' in lines
    assert 'resty_metrics_source_errors_total{source="stub_status",nginx="two",reason="timeout"} 0' in lines


def test_a_change_is_said_once_and_without_what_the_source_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        port = free_port()
        fetcher = fetcher_of(f"edge=http://127.0.0.1:{port}/stub_status")
        for data in (answer(b"<html>payload"), answer(PAGE)):
            async with serving(saying(data, close=True), port):
                for _ in range(3):
                    await fetcher.fetch(5)
        for _ in range(3):
            await fetcher.fetch(5)
        await fetcher.close()

    with caplog.at_level("INFO", "resty-metrics"):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        "a source cannot be read",
        "a source can be read again",
        "a source cannot be read",
    ]
    first, _, last = (vars(record)["fields"] for record in caplog.records)
    assert {"source": "stub_status", "nginx": "edge", "why": "parse"}.items() <= first.items()
    assert "does the URL lead to a location with stub_status?" in first["error"]
    assert last["why"] == "refused"
    assert "payload" not in str([first, last])


def test_it_is_over_when_the_server_is_back() -> None:
    async def run() -> list[SourceReason | None]:
        port = free_port()
        fetcher = fetcher_of(f"http://127.0.0.1:{port}/stub_status")
        reasons = []
        for _ in range(2):
            reasons.append((await fetcher.fetch(5)).reason)
            async with serving(saying(answer(PAGE), close=True), port):
                reasons.append((await fetcher.fetch(5)).reason)
        await fetcher.close()
        return reasons

    assert asyncio.run(run()) == ["refused", None, "refused", None]


def test_a_kept_connection_is_used_again_and_its_end_is_no_fault() -> None:
    """nginx closes a kept connection at its keepalive_timeout, or by a reload, and says nothing."""
    connections: list[asyncio.StreamWriter] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await saying(answer(PAGE))(reader, writer)

    async def run() -> tuple[list[SourceReason | None], int]:
        async with serving(keep) as address:
            fetcher = fetcher_of(address)
            reasons = [(await fetcher.fetch(5)).reason, (await fetcher.fetch(5)).reason]
            kept = len(connections)
            connections[0].transport.abort()
            reasons.append((await fetcher.fetch(5)).reason)
            await fetcher.close()
            return reasons, kept

    assert asyncio.run(run()) == ([None, None, None], 1)
    assert len(connections) == 2


def test_errors_add_up_and_every_reason_is_there_from_the_start() -> None:
    async def run() -> list[list[bytes]]:
        fetcher = fetcher_of(f"http://127.0.0.1:{free_port()}/stub_status")
        pages = [list(report.families([], [fetcher])[2].lines)]
        for _ in range(2):
            scrape = await fetcher.fetch(5)
            pages.append(list(report.families([scrape], [fetcher])[2].lines))
        await fetcher.close()
        return pages

    name = 'resty_metrics_source_errors_total{source="stub_status",reason='
    for refused, page in enumerate(asyncio.run(run())):
        expected = [f'{name}"{reason}"}} {refused if reason == "refused" else 0}\n' for reason in REASONS]
        assert [line.decode() for line in page] == expected


ADDRESSES = [
    ("http://h/s", Source("vts", None, "http://h/s", None)),
    ("edge=https://h:1/s?a=b", Source("vts", "edge", "https://h:1/s?a=b", None)),
    ("http://h/s?a=http://b", Source("vts", None, "http://h/s?a=http://b", None)),
    ("unix:/run/x.sock:/vts/format/json", Source("vts", None, "http://localhost/vts/format/json", "/run/x.sock")),
    ("a.b-c=unix:/x:/y", Source("vts", "a.b-c", "http://localhost/y", "/x")),
]


@pytest.mark.parametrize(("text", "source"), ADDRESSES)
def test_an_address_is_read(text: str, source: Source) -> None:
    assert parse_source(text, "vts") == source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h/s",
        "ftp://h/",
        "http:///s",
        "http://h:99999/",
        "http://a..b/",
        "http://xn--a/",
        f"http://{'a' * 64}.example/",
        "unix:x:/y",
        "unix:/x",
        "unix:/x:y",
        "=http://h/",
    ],
)
def test_an_address_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(ValueError, match="give"):
        parse_source(text, "vts")
