"""Fetching: each fault of a real server has its reason, hides no other source, and is over when the server is well."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from resty_metrics.exposition.text import render
from resty_metrics.process import files
from resty_metrics.sources import source_metrics as report
from resty_metrics.sources.errors import REASONS, SourceReason
from resty_metrics.sources.fetch import Fetcher, Scrape, gather
from resty_metrics.sources.source import Authorization, Connection, Kind, Source, parse_source
from support.certificates import Authority
from support.sources import PAGE, Handler, answer, endless, hang, plain, reset, saying, serving, stall
from support.wait import free_port


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
    ("gzip, not asked for", saying(answer(PAGE).replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1)), 5, "parse"),
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


def test_a_source_has_its_own_timeout() -> None:
    """Below what the scrape leaves."""

    async def run() -> Scrape:
        async with serving(hang) as address:
            fetcher = Fetcher(replace(parse_source(address, "stub_status"), connection=Connection(timeout=0.1)))
            scrape = await fetcher.fetch(200)
            await fetcher.close()
            return scrape

    scrape = asyncio.run(run())
    assert (scrape.reason, scrape.words) == ("timeout", "no answer within 0.1 s")


def test_a_name_that_no_vts_can_have_is_not_shown() -> None:
    """vts keeps its length in 16 bits; a label of megabytes, in each line of a zone, would be the page."""
    document = {"connections": {}, "serverZones": {"x" * 10_000_000: {"requestCounter": 1, "inBytes": 1}}}

    async def run() -> Scrape:
        async with serving(saying(answer(json.dumps(document).encode()))) as address:
            return await fetch(address, kind="vts", body_cap=20_000_000)

    scrape = asyncio.run(run())
    assert (scrape.reason, scrape.families) == ("too_large", [])
    assert len(scrape.words) < 200


def test_derived_series_of_vts_are_left_out_where_the_source_says_so() -> None:
    zone = {"inBytes": 1, "requestMsec": 2, "requestMsecCounter": 3}
    document = json.dumps({"connections": {}, "serverZones": {"a": zone, "*": zone}}).encode()

    async def run(derived: bool) -> bytes:
        async with serving(saying(answer(document))) as address:
            fetcher = Fetcher(replace(parse_source(address, "vts"), derived=derived))
            scrape = await fetcher.fetch(5)
            await fetcher.close()
            return render(scrape.families, openmetrics=False)

    shown, left_out = asyncio.run(run(True)), asyncio.run(run(False))
    for series in (b'{host="*",direction="in"} 1', b'nginx_vts_server_request_seconds{host="a"} 0.002'):
        assert series in shown
        assert series not in left_out
    assert b'nginx_vts_server_request_seconds_total{host="a"} 0.003' in left_out


def test_nobody_listens() -> None:
    assert asyncio.run(fetch(f"http://127.0.0.1:{free_port()}/")).reason == "refused"


def test_no_socket_at_the_path(tmp_path: Path) -> None:
    assert asyncio.run(fetch(f"unix:{tmp_path}/none.sock:/stub_status")).reason == "refused"


def test_a_name_that_does_not_resolve() -> None:
    assert asyncio.run(fetch("http://no-such-host.invalid/stub_status")).reason == "resolve"


def test_a_certificate_that_nobody_signed(tmp_path: Path) -> None:
    context = Authority(tmp_path).issue("localhost").context()

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
        async with serving(saying(answer(PAGE))) as working, serving(hang) as silent:
            fetchers = [fetcher_of(f"one={silent}"), fetcher_of(f"two={working}")]
            scrapes = await gather(fetchers, 0.3)
            families = [family for scrape in scrapes for family in scrape.families]
            page = render([*families, *report.families(scrapes, fetchers)], openmetrics=False)
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


def test_a_bug_of_ours_hides_no_other_source(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(body: bytes) -> None:
        raise KeyError(body)

    async def run() -> list[Scrape]:
        async with serving(saying(answer(PAGE))) as address:
            fetchers = [Fetcher(parse_source(f"one={address}", "vts")), fetcher_of(f"two={address}")]
            scrapes = await gather(fetchers, 5)
            await asyncio.gather(*(fetcher.close() for fetcher in fetchers))
            assert fetchers[0].errors == {"internal": 1}
            return scrapes

    monkeypatch.setattr("resty_metrics.sources.vts.parse", broken)
    assert [(scrape.reason, len(scrape.families)) for scrape in asyncio.run(run())] == [("internal", 0), (None, 8)]
    (fields,) = (vars(record)["fields"] for record in caplog.records)
    assert fields["error"].startswith("KeyError in fetch:")
    assert "broken:" in fields["error"]
    assert "Active" not in fields["error"]


def test_a_file_system_that_does_not_answer_holds_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread waits for it, however often the source is asked; when it answers, so does the source."""
    answers, read = threading.Event(), files.read

    def dead(path: Path) -> bytes:
        assert answers.wait(20)
        return read(path)

    async def run() -> list[SourceReason | None]:
        async with serving(saying(answer(PAGE))) as address:
            shown = Connection(authorization=Authorization(Path(__file__).with_name("token")))
            waiting = Fetcher(replace(parse_source(f"one={address}", "stub_status"), connection=shown))
            fetchers = [waiting, fetcher_of(f"two={address}")]
            scrapes = [scrape for _ in range(3) for scrape in await gather(fetchers, 0.3)]
            assert sum(thread.name == "credentials" for thread in threading.enumerate()) == 1
            answers.set()
            scrapes += await gather(fetchers, 20)
            await asyncio.gather(*(fetcher.close() for fetcher in fetchers))
            return [scrape.reason for scrape in scrapes]

    monkeypatch.setattr(files, "read", dead)
    assert asyncio.run(run()) == ["timeout", None] * 3 + ["credentials", None]


def test_whoever_asks_after_the_end_gets_a_page_without_the_source() -> None:
    """At the end of the process the sources are closed first, while scrapes may still come."""

    async def run() -> list[Scrape]:
        async with serving(saying(answer(PAGE))) as address:
            fetchers = [fetcher_of(f"one={address}"), fetcher_of(f"two={address}")]
            await fetchers[0].fetch(5)
            await asyncio.gather(*(fetcher.close() for fetcher in fetchers))
            return await gather(fetchers, 5)

    assert [scrape.reason for scrape in asyncio.run(run())] == ["connection", "connection"]


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
        "cannot read a source",
        "a source answers again",
        "cannot read a source",
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
        f"http://{'a.' * 127}example/",
        "unix:x:/y",
        "unix:/x",
        "unix:/x:y",
        "=http://h/",
    ],
)
def test_an_address_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(ValueError, match="give"):
        parse_source(text, "vts")
