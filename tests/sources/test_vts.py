"""vts documents as they should not be: read, or refused with the one reason `parse`."""

import json
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from resty_metrics.exposition.text import render
from resty_metrics.sources import vts
from resty_metrics.sources.errors import SourceError

CONNECTIONS = {
    "active": 1, "reading": 0, "writing": 1, "waiting": 0, "accepted": 2, "handled": 2, "requests": 7,
}  # fmt: skip
UNLIMITED = 9223372036854771712
LARGEST = 2**64 - 1
ZONE = {
    "requestCounter": 3,
    "inBytes": 300,
    "outBytes": 900,
    "responses": {"1xx": 0, "2xx": 2, "3xx": 0, "4xx": 1, "5xx": 0},
}


def document(**parts: Any) -> bytes:
    return json.dumps({"connections": CONNECTIONS, **parts}).encode()


def html_escaped(name: bytes) -> bytes:
    """A document as v0.2.4 writes it."""
    return (
        b'{"hostName":"h","moduleVersion":"v0.2.4",' + document(serverZones={"SPOT": ZONE}).replace(b"SPOT", name)[1:]
    )


def timed(**buckets: Any) -> dict[str, Any]:
    """A zone with a histogram."""
    return ZONE | {"requestMsecCounter": 21, "requestBuckets": {"msecs": [5, 10], "counters": [1, 2], **buckets}}


def lines(body: bytes) -> list[str]:
    """The sample lines, on a page that both parsers can read."""
    families = vts.families(vts.parse(body), {})
    assert list(parse_openmetrics(render(families, openmetrics=True).decode()))  # type: ignore[no-untyped-call]
    text = render(families, openmetrics=False).decode()
    assert list(text_string_to_metric_families(text))
    return [line for line in text.split("\n") if not line.startswith("#")]


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
        "64 bits",
        document(serverZones={"a": ZONE | {"inBytes": LARGEST}}),
        f'nginx_vts_server_bytes_total{{host="a",direction="in"}} {LARGEST}',
    ),
    (
        "a lone surrogate",
        document(serverZones={"a\ud800": ZONE}),
        'nginx_vts_server_bytes_total{host="a\\\\uD800",direction="in"} 300',
    ),
    (
        "line ends of other systems",
        document(serverZones={"a\r\x85\u2028": ZONE}),
        'nginx_vts_server_bytes_total{host="a\r\x85\u2028",direction="in"} 300',
    ),
    (
        "a histogram",
        document(serverZones={"a": timed()}),
        'nginx_vts_server_request_duration_seconds_bucket{host="a",le="+Inf"} 3',
    ),
    (
        "keys of a later version",
        document(serverZones={"a": ZONE | {"novelty": {"x": [1]}}}, novelty=1),
        'nginx_vts_server_bytes_total{host="a",direction="out"} 900',
    ),
    (
        "a name of v0.2.4, which is escaped for HTML too",
        html_escaped(rb"a\&quot;b\\\&quot;&lt;&gt;&amp;quot;"),
        r'nginx_vts_server_bytes_total{host="a\"b\\\"<>&quot;",direction="in"} 300',
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
    rendered = lines(document(upstreamZones={"u": [peer, peer | {"backup": True}]}))
    line = 'nginx_vts_upstream_bytes_total{upstream="u",backend="127.0.0.1:1",direction="in"} 300'
    assert rendered.count(line) == 1


IDLE = {"server": "127.0.0.1:1"} | ZONE | {"requestCounter": 0, "inBytes": 0}
RING = {"times": [0, 0], "msecs": [0, 0]}
PEERS: list[tuple[str, dict[str, Any], bool]] = [
    ("never asked", IDLE | {"requestMsecs": {"times": [], "msecs": []}}, False),
    ("reset", IDLE | {"requestMsecs": RING}, True),
    ("never asked, of a version without the ring", IDLE, False),
    ("asked, of a version without the ring", IDLE | {"requestCounter": 1}, True),
    ("asked", IDLE | {"requestCounter": 1, "requestMsecs": RING}, True),
]


@pytest.mark.parametrize(("peer", "shown"), [case[1:] for case in PEERS], ids=[case[0] for case in PEERS])
def test_a_peer_is_shown_once_vts_has_a_node_for_it(peer: dict[str, Any], shown: bool) -> None:
    line = 'nginx_vts_upstream_bytes_total{upstream="u",backend="127.0.0.1:1",direction="in"} 0'
    assert (line in lines(document(upstreamZones={"u": [peer]}))) == shown


def test_names_that_are_shown_alike_are_one_series() -> None:
    """A client that picks the names must not make a page that Prometheus refuses."""
    rendered = lines(document(serverZones={"SPOT": ZONE, "\\xFF": ZONE}).replace(b"SPOT", b"\xff"))
    assert rendered.count('nginx_vts_server_bytes_total{host="\\\\xFF",direction="in"} 300') == 1


@pytest.mark.parametrize("missing", ["requestCounter", "requestMsecCounter", "requestBuckets"])
def test_half_a_histogram_is_none(missing: str) -> None:
    zone = {key: value for key, value in timed().items() if key != missing}
    rendered = lines(document(serverZones={"a": zone}))
    assert 'nginx_vts_server_bytes_total{host="a",direction="in"} 300' in rendered
    assert not [line for line in rendered if "duration" in line]


def test_buckets_without_their_counters_are_no_histogram() -> None:
    rendered = lines(document(serverZones={"a": timed(counters=[1])}))
    assert 'nginx_vts_server_bytes_total{host="a",direction="in"} 300' in rendered
    assert not [line for line in rendered if "duration" in line]


def bounds_and_counts(zone: dict[str, Any]) -> list[tuple[str, int]]:
    """The buckets of a server zone, in the order of the page."""
    page = "\n".join(lines(document(serverZones={"a": zone})))
    buckets = [
        sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "nginx_vts_server_request_duration_seconds_bucket"
    ]
    return [(sample.labels["le"], int(sample.value)) for sample in buckets]


def test_buckets_stand_in_ascending_order() -> None:
    assert bounds_and_counts(timed(msecs=[10, 5], counters=[2, 1])) == [("0.005", 1), ("0.010", 2), ("+Inf", 3)]


@pytest.mark.parametrize("counters", [[1, 4], [4, 4], [2, 1]], ids=["one above", "all above", "one that falls"])
def test_buckets_that_the_count_contradicts_are_left_out(counters: list[int]) -> None:
    """As after a reset. Sum and count stay."""
    assert bounds_and_counts(timed(counters=counters)) == [("+Inf", 3)]
    page = lines(document(serverZones={"a": timed(counters=counters)}))
    assert 'nginx_vts_server_request_duration_seconds_sum{host="a"} 0.021' in page


def test_two_names_that_look_the_same_make_one_histogram() -> None:
    """A byte that is no UTF-8, and the text that is shown for it. After a reset the buckets of the first are left out:
    those of the second do not belong to its count.
    """
    was_reset, was_kept = timed(counters=[9, 9]), timed(counters=[7, 8]) | {"requestCounter": 8}
    body = document(serverZones={"BYTE": was_reset, "\\xFF": was_kept}).replace(b"BYTE", b"\xff")
    of_histogram = [line.partition("{")[2] for line in lines(body) if "_duration_seconds" in line]
    name = r'host="\\xFF"'
    assert of_histogram == [f'{name},le="+Inf"}} 3', f"{name}}} 0.021", f"{name}}} 3"]


REFUSED = [
    ("nothing", b""),
    ("HTML", b"<html><body>404</body></html>"),
    ("an empty object", b"{}"),
    ("UTF-16", document().decode().encode("utf-16")),
    ("an unescaped quote", document(serverZones={"SPOT": ZONE}).replace(b"SPOT", b'a"b')),
    ("an escape that JSON has not", document(serverZones={"SPOT": ZONE}).replace(b"SPOT", rb"a\x22b")),
    ("HTML's quote in a version that has none", document(serverZones={"SPOT": ZONE}).replace(b"SPOT", rb"a\&quot;b")),
    ("half a document", document(serverZones={"a": ZONE})[:-40]),
    ("a list", b"[]"),
    ("JSON of something else", b'{"connections": 3}'),
    ("zones that are a list", document(serverZones=[])),
    ("a zone that is a number", document(serverZones={"a": 1})),
    ("a counter that is a string", document(serverZones={"a": ZONE | {"inBytes": "300"}})),
    ("a counter that is a fraction", document(serverZones={"a": ZONE | {"inBytes": 1.5}})),
    ("a counter that is true", document(serverZones={"a": ZONE | {"inBytes": True}})),
    ("a counter that is negative", document(serverZones={"a": ZONE | {"inBytes": -1}})),
    ("a counter that is no number", document(serverZones={"a": ZONE | {"inBytes": float("nan")}})),
    ("a counter of 65 bits", document(serverZones={"a": ZONE | {"inBytes": LARGEST + 1}})),
    ("a time that no double holds", document(loadMsec=10**400)),
    ("a bound that no double holds", document(serverZones={"a": timed(msecs=[5, 10**400])})),
    ("a bound that is a string", document(serverZones={"a": timed(msecs=[5, "10"])})),
    ("a bound that is infinite", document(serverZones={"a": timed(msecs=[5, float("inf")])})),
    ("a bucket's counter that is a string", document(serverZones={"a": timed(counters=[1, "2"])})),
    ("times that are a list", document(upstreamZones={"u": [IDLE | {"requestMsecs": []}]})),
    ("buckets that are null", document(serverZones={"a": ZONE | {"requestBuckets": None}})),
    ("zones that are null", document(serverZones=None)),
    ("a peer that is null", document(upstreamZones={"u": [None]})),
    ("peers that are an object", document(upstreamZones={"u": {"a": 1}})),
    ("a cache that is null", document(cacheZones={"c": None})),
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
