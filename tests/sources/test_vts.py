"""vts documents as they should not be: read, or refused with the one reason `parse`."""

import json
from typing import Any

import pytest

from collector.page.exposition import render
from collector.sources import vts
from collector.sources.errors import SourceError

CONNECTIONS = {
    "active": 1, "reading": 0, "writing": 1, "waiting": 0, "accepted": 2, "handled": 2, "requests": 7,
}  # fmt: skip
UNLIMITED = 9223372036854771712
ZONE = {
    "requestCounter": 3,
    "inBytes": 300,
    "outBytes": 900,
    "responses": {"1xx": 0, "2xx": 2, "3xx": 0, "4xx": 1, "5xx": 0},
}


def document(**parts: Any) -> bytes:
    return json.dumps({"connections": CONNECTIONS, **parts}).encode()


def lines(body: bytes) -> list[str]:
    text = render(vts.families(vts.parse(body), {}), openmetrics=False).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


READ = [
    ("no zones at all", document(), 'nginx_vts_main_connections{status="accepted"} 2'),
    (
        "an old version without times and cache",
        document(serverZones={"a": ZONE}),
        'nginx_vts_server_requests_total{host="a",code="4xx"} 1',
    ),
    (
        "a size without limit",
        document(cacheZones={"c": {"maxSize": UNLIMITED, "usedSize": 0}}),
        f'nginx_vts_cache_usage_bytes{{cache_zone="c",cache_size="max"}} {UNLIMITED}',
    ),
    (
        "a raw control byte and a byte that is no UTF-8",
        document(serverZones={"SPOT": ZONE}).replace(b"SPOT", b"a\x01\xff"),
        'nginx_vts_server_bytes_total{host="a\x01\\\\xFF",direction="in"} 300',
    ),
    (
        "a counter beyond 2^53",
        document(serverZones={"a": ZONE | {"inBytes": 2**63 + 1}}),
        f'nginx_vts_server_bytes_total{{host="a",direction="in"}} {2**63 + 1}',
    ),
    (
        "keys of a later version",
        document(serverZones={"a": ZONE | {"novelty": {"x": [1]}}}, novelty=1),
        'nginx_vts_server_bytes_total{host="a",direction="out"} 900',
    ),
    (
        "a name with quotes, a backslash and a newline",
        document(serverZones={'q"b\\n\n': ZONE}),
        'nginx_vts_server_bytes_total{host="q\\"b\\\\n\\n",direction="in"} 300',
    ),
]


@pytest.mark.parametrize(("body", "line"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_is_read(body: bytes, line: str) -> None:
    assert line in lines(body)


def test_a_peer_that_is_listed_twice_is_one_series() -> None:
    peer = {"server": "127.0.0.1:1"} | ZONE
    found = lines(document(upstreamZones={"u": [peer, peer | {"backup": True}]}))
    line = 'nginx_vts_upstream_bytes_total{upstream="u",backend="127.0.0.1:1",direction="in"} 300'
    assert found.count(line) == 1


REFUSED = [
    ("nothing", b""),
    ("HTML", b"<html><body>404</body></html>"),
    ("half a document", document(serverZones={"a": ZONE})[:-40]),
    ("a list", b"[]"),
    ("JSON of something else", b'{"connections": 3}'),
    ("zones that are a list", document(serverZones=[])),
    ("a zone that is a number", document(serverZones={"a": 1})),
    ("a counter that is a string", document(serverZones={"a": ZONE | {"inBytes": "300"}})),
    ("a counter that is a fraction", document(serverZones={"a": ZONE | {"inBytes": 1.5}})),
    ("a counter that is true", document(serverZones={"a": ZONE | {"inBytes": True}})),
    ("peers that are a number", document(upstreamZones={"u": 1})),
    ("a filter that is a list", document(filterZones={"g": []})),
    ("too deep", b'{"connections": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ("a number of ten thousand digits", document(serverZones={"a": ZONE}).replace(b"300", b"9" * 10_000)),
]


@pytest.mark.parametrize("body", [body for _, body in REFUSED], ids=[name for name, _ in REFUSED])
def test_is_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(SourceError) as refused:
        vts.families(vts.parse(body), {})
    assert refused.value.reason == "parse"
