"""Hostile bytes give a WireError and nothing else; what is wrong in a batch is found before anything is used."""

import random
import struct
from contextlib import suppress
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from resty_metrics.shapes.shape import DURATION_LABELS, DURATIONS
from resty_metrics.wire.batch import read_batch
from resty_metrics.wire.datagram import (
    HEADER_BYTES,
    MAX_DATAGRAM,
    VERSION,
    Answer,
    Header,
    Kind,
    Reason,
    Verdict,
    WireError,
    read_answer,
    read_header,
    write_answer,
    write_datagram,
)
from resty_metrics.wire.heartbeat import Heartbeat, NginxCounters, read_heartbeat
from support.effort import examples

HEADER = Header(VERSION, Kind.BATCH, bytes(range(16)), 5, 1, 1)
ABSENT = object()


def requests(**changes: Any) -> dict[str, Any]:
    family = {
        "name": "http_requests",
        "type": "requests",
        "labels": ["server", "method", "status"],
        "columns": ["count", "request_bytes", "response_bytes"],
        "rows": [["a", "GET", "200", 4, 5, 6]],
    } | changes
    return {key: value for key, value in family.items() if value is not ABSENT}


def durations(**changes: Any) -> dict[str, Any]:
    """Give durations of requests; without rows, so that labels and bounds alone are judged."""
    family = {
        "name": "nginx_http_request_duration_seconds",
        "type": "histogram",
        "labels": ["server", "status_class"],
        "bounds": [5, 10],
        "scale": 1000,
        "columns": ["sum"],
        "rows": [],
    } | changes
    return {key: value for key, value in family.items() if value is not ABSENT}


def counter(**changes: Any) -> dict[str, Any]:
    family = {"name": "c_total", "type": "counter", "labels": ["l"], "columns": ["value"], "rows": [["x", 1]]} | changes
    return {key: value for key, value in family.items() if value is not ABSENT}


def histogram(**changes: Any) -> dict[str, Any]:
    family = {
        "name": "h_seconds",
        "type": "histogram",
        "labels": ["l"],
        "bounds": [0.5, 1, 2.5],
        "columns": ["sum"],
        "rows": [["x", 1, 2, 3, 4, 5.5]],
    } | changes
    return {key: value for key, value in family.items() if value is not ABSENT}


SCOPED = ["server", "method", "status", "scope"]


def scoped(**changes: Any) -> dict[str, Any]:
    return requests(**{"scope": "api", "labels": SCOPED, "rows": [["a", "b", "c", "api", 0, 0, 0]]} | changes)


def row(*numbers: Any) -> list[list[Any]]:
    return [["a", "GET", "200", 4, 5, 6], ["b", "GET", "200", *numbers]]


def body(*families: Any) -> bytes:
    packed: bytes = msgpack.packb({"families": list(families)})
    return packed


def reason_of(data: bytes) -> str | None:
    try:
        read_batch(data)
    except WireError as error:
        return error.reason
    return None


GOOD = {
    "requests": requests(),
    "no rows": requests(rows=[]),
    "user labels": requests(labels=["server", "method", "status", "a"], rows=[["a", "b", "c", "d", 0, 0, 0]]),
    "floats": requests(rows=row(0.5, 1, 3.0)),
    "largest": requests(rows=row(2**53, 2**53, 2**53)),
    "largest float": requests(rows=row(2.0**53, 0, 0)),
    "counter": counter(),
    "counter without labels": counter(labels=[], rows=[[1]]),
    "counter with help": counter(help="What it is."),
    "many labels": counter(labels=[f"l{n}" for n in range(32)], rows=[["x"] * 32 + [1]]),
    "requests with a scale": requests(scale=1000),
    "durations": durations(rows=[["a", "2xx", 1, 2, 3, 4]]),
    "durations with every label": durations(labels=[*DURATION_LABELS, "z"]),
    "durations with the user's labels alone": durations(labels=["z", "y"]),
    "durations without labels": durations(labels=[]),
    "durations in a scope": durations(
        scope="api", labels=["status", "scope", "z"], rows=[["200", "api", "z", 0, 0, 0, 0]]
    ),
    "durations in a scope without other labels": durations(scope="api", labels=["scope"]),
    "durations without bounds but a bucket": durations(bounds=[]),
    "custom durations": durations(custom=True, scale=1, labels=["status", "server"], bounds=[0.5]),
    "a scope": scoped(),
    "a scope and a label": scoped(labels=[*SCOPED, "z"], rows=[["a", "b", "c", "api", "z", 0, 0, 0]]),
    "a scope without rows": scoped(rows=[]),
    "an empty scope": requests(scope=""),
    "a custom family under the name of requests": counter(name="http_requests", custom=True),
    "a custom histogram under it": histogram(name="http_requests", custom=True),
    "a custom counter under the name of durations": counter(name=DURATIONS, custom=True),
    "le as a label of a counter": counter(labels=["le"]),
    "deleted rows": counter(**{"del": [["a"], [""]]}),
    "reset": counter(reset=True, rows=[]),
    "histogram": histogram(),
    "histogram without labels": histogram(labels=[], rows=[[1, 2, 3, 4, 5]]),
    "histogram with a scale": histogram(scale=1_000_000, bounds=[5, 10], rows=[["x", 1, 2, 3, 4]]),
    "histogram without bounds but a bucket": histogram(bounds=[], rows=[["x", 1, 2]]),
    "negative bounds": histogram(bounds=[-2, -1.5, 0]),
    "negative sum": histogram(rows=[["x", 1, 2, 3, 4, -(2**63)]]),
    "large sum": histogram(rows=[["x", 1, 2, 3, 4, 1.7e308], ["y", 0, 0, 0, 0, 2**64 - 1]]),
    "many bounds": durations(bounds=list(range(256))),
}


@pytest.mark.parametrize("family", GOOD.values(), ids=GOOD)
def test_good(family: dict[str, Any]) -> None:
    (batch,) = read_batch(body(family))
    assert [list(raw) for raw in batch.rows] == family["rows"]


VALUES = [
    ("places", ["a", "GET", "200"], [[0, 1, 2, 1, 1, 1]], ["a", "GET", "200"]),
    ("a place twice", ["a", "b"], [[0, 0, 1, 1, 1, 1]], ["a", "a", "b"]),
    ("places and strings", ["a"], [[0, "GET", "0", 1, 1, 1]], ["a", "GET", "0"]),
    ("values that no row has", ["x", "a", "GET", "200"], [[1, 2, 3, 1, 1, 1]], ["a", "GET", "200"]),
    ("bytes that are no text", ["\udcff", "GET", "200"], [[0, 1, 2, 1, 1, 1]], ["\\xff", "GET", "200"]),
]


@pytest.mark.parametrize(("values", "rows", "labels"), [case[1:] for case in VALUES], ids=[case[0] for case in VALUES])
def test_labels_by_their_place(values: list[str], rows: list[list[Any]], labels: list[str]) -> None:
    packed = msgpack.packb({"families": [requests(rows=rows)], "values": values}, unicode_errors="surrogateescape")
    (batch,) = read_batch(packed)
    assert [list(row) for row in batch.labels] == [labels]


NO_VALUES = [
    ("a place above the last", ["a", "GET"], [[0, 1, 2, 1, 1, 1]]),
    ("a negative place", ["a", "GET", "200"], [[0, 1, -1, 1, 1, 1]]),
    ("a place that is no integer", ["a", "GET", "200"], [[0, 1, 1.5, 1, 1, 1]]),
    ("a place without values", [], [[0, "GET", "200", 1, 1, 1]]),
    ("a value that is a number", ["a", "GET", 200], [[0, 1, 2, 1, 1, 1]]),
    ("a value that is nil", ["a", None], [["a", "GET", "200", 1, 1, 1]]),
    ("values of the wrong type", "a", [["a", "GET", "200", 1, 1, 1]]),
    ("values that are a map", {"0": "a"}, [["a", "GET", "200", 1, 1, 1]]),
    ("values that are nil", None, [["a", "GET", "200", 1, 1, 1]]),
    ("a label that is an array", ["a"], [[[0], "GET", "200", 1, 1, 1]]),
]


@pytest.mark.parametrize(("values", "rows"), [case[1:] for case in NO_VALUES], ids=[case[0] for case in NO_VALUES])
def test_a_place_that_is_none_is_refused(values: Any, rows: list[list[Any]]) -> None:
    assert reason_of(msgpack.packb({"families": [requests(rows=rows)], "values": values})) == "invalid"


INVALID = {
    "not a map": [],
    "no name": requests(name=ABSENT),
    "name of the wrong type": requests(name=1),
    "name that no metric may have": counter(name="a-b"),
    "name with a newline": counter(name="a\n"),
    "requests under another name": requests(name="other"),
    "counter under the name of requests": counter(name="http_requests"),
    "counter under the name of durations": counter(name=DURATIONS),
    "no type": requests(type=ABSENT),
    "unsupported type": counter(type="gauge"),
    "type of the wrong type": counter(type=["counter"]),
    "no labels": counter(labels=ABSENT),
    "labels of the wrong type": counter(labels="l"),
    "label name of the wrong type": counter(labels=[1]),
    "label name that may not be": counter(labels=["a-b"]),
    "label name with a newline": counter(labels=["a\n"]),
    "label name that is reserved": counter(labels=["__name__"]),
    "a label twice": counter(labels=["l", "l"], rows=[]),
    "too many labels": counter(labels=[f"l{n}" for n in range(33)], rows=[]),
    "other labels first": requests(labels=["method", "server", "status"]),
    "requests with bounds": requests(bounds=[5], rows=[]),
    "bounds of the wrong type": durations(bounds=5),
    "bound that is a float": durations(bounds=[5, 10.0]),
    "bound that is a bool": durations(bounds=[True, 10]),
    "negative bound": durations(bounds=[-5, 10]),
    "bounds that fall": durations(bounds=[10, 5]),
    "equal bounds": durations(bounds=[5, 5]),
    "too many bounds": durations(bounds=list(range(257))),
    "durations of another scale": durations(scale=1),
    "durations without a scale": durations(scale=ABSENT),
    "durations in another order": durations(labels=["status_class", "server"]),
    "a label of ours behind one of the user's": durations(labels=["server", "z", "status"]),
    "durations with le": durations(labels=["server", "le"]),
    "a scope of durations before a label of ours": durations(scope="api", labels=["scope", "server"]),
    "a scope of durations behind the user's": durations(scope="api", labels=["server", "z", "scope"]),
    "a scope of durations without its label": durations(scope="api"),
    "a label scope of durations without a scope": durations(labels=["server", "scope"]),
    "a row of durations of another scope": durations(scope="api", labels=["scope"], rows=[["web", 0, 0, 0, 0]]),
    "exponential buckets": durations(schema=3),
    "counter with bounds": counter(bounds=[5], rows=[["x", 0, 0, 1]]),
    "no columns": counter(columns=ABSENT),
    "other columns": counter(columns=["sum"]),
    "columns in another order": requests(columns=["request_bytes", "count", "response_bytes"]),
    "help of the wrong type": counter(help=1),
    "histogram under the name of requests": histogram(name="http_requests"),
    "custom requests": requests(custom=True),
    "scale of the wrong type": histogram(scale=1.0),
    "scale of 0": histogram(scale=0),
    "scale above 2^53": histogram(scale=2**53 + 1),
    "bound of durations that is above 2^53": durations(bounds=[5, 2**53 + 1]),
    "bounds that look the same": histogram(bounds=[2**53, 2**53 + 1], rows=[]),
    "bounds that look the same when scaled": histogram(bounds=[0, 5e-324], scale=1000, rows=[]),
    "bound that is NaN": histogram(bounds=[float("nan")], rows=[]),
    "bound that is infinite": histogram(bounds=[1, float("inf")], rows=[]),
    "bound that is a string": histogram(bounds=["1"], rows=[]),
    "histogram without bounds": histogram(bounds=ABSENT, rows=[]),
    "histogram with another column": histogram(columns=["value"]),
    "histogram with le": histogram(labels=["le"]),
    "negative bucket": histogram(rows=[["x", 1, 2, -3, 4, 5]]),
    "bucket above 2^53": histogram(rows=[["x", 1, 2, 2**53 + 1, 4, 5]]),
    "sum that is NaN": histogram(rows=[["x", 1, 2, 3, 4, float("nan")]]),
    "sum that is infinite": histogram(rows=[["x", 1, 2, 3, 4, float("-inf")]]),
    "sum that is a bool": histogram(rows=[["x", 1, 2, 3, 4, True]]),
    "sum that is a string": histogram(rows=[["x", 1, 2, 3, 4, "5"]]),
    "scope of the wrong type": scoped(scope=1),
    "scope that is nil": requests(scope=None),
    "scope that cannot be shown": scoped(scope="a\0", rows=[]),
    "scope that is long": scoped(scope="x" * 65, rows=[]),
    "scope without its label": requests(scope="api"),
    "scope with its label elsewhere": scoped(labels=["server", "method", "status", "z", "scope"], rows=[]),
    "label scope without a scope": scoped(scope=""),
    "row of another scope": scoped(rows=[["a", "b", "c", "web", 0, 0, 0]]),
    "scope of a counter": counter(scope="api"),
    "scope of a histogram": histogram(scope="api"),
    "del of the wrong type": counter(**{"del": "a"}),
    "del of strings": counter(**{"del": ["a"]}),
    "del of the wrong length": counter(**{"del": [["a", "b"]]}),
    "del of a number": counter(**{"del": [[1]]}),
    "no rows key": counter(rows=ABSENT),
    "rows of the wrong type": counter(rows="x"),
    "row of the wrong type": counter(rows=["ab"]),
    "row that is too short": requests(rows=row(1, 2)),
    "row that is too long": requests(rows=row(1, 2, 3, 4)),
    "label value that is a number": counter(rows=[[1, 1]]),
    "label value that is nil": counter(rows=[[None, 1]]),
    "label value that is binary": counter(rows=[[b"x", 1]]),
    "negative": requests(rows=row(1, 2, -1)),
    "negative hidden in a sum": requests(rows=row(100, -1, 1)),
    "above 2^53": requests(rows=row(1, 2, 2**53 + 1)),
    "above 2^53 beside a float": requests(rows=row(1, 0.5, 2**53 + 1)),
    "largest of msgpack": requests(rows=row(2**64 - 1, 2, 3)),
    "smallest of msgpack": requests(rows=row(-(2**63), 2, 3)),
    "NaN": requests(rows=row(float("nan"), 2, 3)),
    "infinite": requests(rows=row(float("inf"), 2, 3)),
    "minus infinite": requests(rows=row(float("-inf"), 2, 3)),
    "negative float": requests(rows=row(-0.5, 2, 3)),
    "bool": requests(rows=row(True, 2, 3)),
    "bool beside a float": requests(rows=row(True, 2.0, 3)),
    "string for a number": requests(rows=row("1", 2, 3)),
    "nil for a number": requests(rows=row(None, 2, 3)),
    "array for a number": requests(rows=row([1], 2, 3)),
    "timestamp for a number": requests(rows=row(msgpack.Timestamp(1), 2, 3)),
}


@pytest.mark.parametrize("family", INVALID.values(), ids=INVALID)
def test_invalid(family: Any) -> None:
    assert reason_of(body(family)) == "invalid"
    assert reason_of(body(counter(), family, counter())) == "invalid"


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ('What\n\tit is: "é\\', 'What\n\tit is: "é\\'),
        ("\0\r\x7f\x85\u2028", "\\x00\\x0d\\x7f\\x85\\u2028"),
        ("x" * 2_000, "x" * 1_024),
        ("\0" * 2_000, "\\x00" * 256),
    ],
)
def test_a_help_text_is_made_fit_for_the_page(sent: str, read: str) -> None:
    assert [family.help for family in read_batch(body(counter(help=sent)))] == [read]
    gauges = {"families": [{"name": "g", "labels": [], "combine": "sum", "rows": [[1, 1]], "help": sent}]}
    assert [family.help for family in read_heartbeat(msgpack.packb(gauges)).families] == [read]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("nothing", b"", "undecodable"),
        ("a number", b"\x01", "invalid"),
        ("an array", b"\x90", "invalid"),
        ("an empty map", b"\x80", "invalid"),
        ("families that are a map", msgpack.packb({"families": {}}), "invalid"),
        ("bytes behind the map", body(counter()) + b"\xc0", "undecodable"),
        ("a reserved byte", b"\xc1", "undecodable"),
        ("a number as a key", b"\x81\x01\x01", "undecodable"),
        ("a map as a key", b"\x81\x80\x01", "undecodable"),
        ("array of 4 billion", b"\x81\xa8families\xdd\xff\xff\xff\xff", "undecodable"),
        ("map of 4 billion", b"\xdf\xff\xff\xff\xff", "undecodable"),
        ("string of 4 GB", b"\x81\xa8families\xdb\xff\xff\xff\xff", "undecodable"),
        ("ext of 4 GB", b"\xc9\xff\xff\xff\xff\x01", "undecodable"),
        ("timestamp of the wrong size", b"\x81\xa8families\xc7\x03\xff\x00\x00\x00", "undecodable"),
        ("deep", b"\x91" * 60_000, "undecodable"),
        ("deep and wide", b"\xdc\x3f\xff" * 20_000, "undecodable"),
        ("too long", body(counter(rows=[["x" * MAX_DATAGRAM, 1]])), "invalid"),
    ],
)
def test_bytes(name: str, data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


def test_claimed_rows_of_an_invalid_batch_are_known() -> None:
    with pytest.raises(WireError) as caught:
        read_batch(body(counter(), requests(rows=row(-1, 2, 3)), 1, counter(rows="x")))
    assert caught.value.rows == 3


def test_counts_with_headers_longer_than_need_be() -> None:
    """An encoder that patches counts afterwards writes array16, map16 and str16 for small ones."""
    family = (
        b"\xde\x00\x05\xda\x00\x04name\xda\x00\x07c_total\xa4type\xa7counter\xa6labels\xdc\x00\x01\xa1l"
        b"\xa7columns\xdd\x00\x00\x00\x01\xa5value\xa4rows\xdc\x00\x01\xdc\x00\x02\xdb\x00\x00\x00\x01x"
        b"\xcf\x00\x00\x00\x00\x00\x00\x00\x07"
    )
    (batch,) = read_batch(b"\xdf\x00\x00\x00\x01\xa8families\xdc\x00\x01" + family)
    assert (batch.shape.name, batch.rows) == ("c_total", (("x", 7),))


@pytest.mark.parametrize(
    ("name", "datagram", "reason"),
    [
        ("empty", b"", "truncated"),
        ("one byte short", write_datagram(HEADER, {})[: HEADER_BYTES - 1], "truncated"),
        ("an answer", b"RSTA" + bytes(44), "magic"),
        ("zeros", bytes(48), "magic"),
    ],
)
def test_header_reasons(name: str, datagram: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        read_header(datagram)
    assert caught.value.reason == reason


def test_header_of_another_version_and_kind_is_read() -> None:
    header = Header(200, 77, b"s" * 16, 2**64 - 1, 2**64 - 1, 0)
    assert read_header(write_datagram(header, {})) == header


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [
        ("short", b"RSTA" + bytes(35), "truncated"),
        ("magic", b"RSTM" + bytes(36), "magic"),
        ("verdict", b"RSTA\x02\x09\x00\x01" + bytes(32), "invalid"),
    ],
)
def test_answer_reasons(name: str, answer: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        read_answer(answer)
    assert caught.value.reason == reason


@pytest.mark.parametrize("version", [0, 1, 3, 255])
def test_an_answer_of_another_version_holds(version: int) -> None:
    header = Header(VERSION, Kind.BATCH, b"s" * 16, 1, 7, 1)
    answer = write_answer(Verdict.ACK, Reason.NONE, header, 7)
    assert read_answer(answer).committed == 7
    newer = read_answer(answer[:4] + bytes([version, 99]) + answer[6:])
    assert newer == Answer(Verdict.HOLD, Reason.VERSION, Kind.BATCH, b"s" * 16, 7, 0)


def test_heartbeat_says_nothing_of_what_it_lacks() -> None:
    assert read_heartbeat(b"\x80") == Heartbeat()
    partial = msgpack.packb({"nginx": {"accepted": 3}, "worker": 0, "colour": "red", "pid": None})
    assert read_heartbeat(partial) == Heartbeat(worker=0, nginx=NginxCounters(accepted=3))


def gauge(**changes: Any) -> dict[str, Any]:
    family = {"name": "g", "labels": ["l"], "combine": "sum", "rows": [["a", 1, 2]]} | changes
    return {"families": [{key: value for key, value in family.items() if value is not ABSENT}]}


@pytest.mark.parametrize("value", [0, -1, 2**64 - 1, 0.5, float("nan"), float("inf"), float("-inf"), -(2**63)])
def test_a_gauge_may_be_any_number(value: float) -> None:
    (family,) = read_heartbeat(msgpack.packb(gauge(rows=[["", value, 1.7e12]]))).families
    assert (family.name, family.help, family.labels, family.combine) == ("g", "", ("l",), "sum")
    assert repr(family.rows) == repr([("_", float(value), 1.7e12)])


def test_a_beat_of_everything_once() -> None:
    values = {
        "generation": 1,
        "configured": 5,
        "dicts": {"d": [8.0, 4]},
        "part": 2,
        "parts": 2,
        "families": [],
        "made": 7,
    }
    beat = read_heartbeat(msgpack.packb(values))
    assert beat == Heartbeat(generation=1, configured=5, dicts=(("d", 8.0, 4),), part=2, parts=2, began=7.0)


@pytest.mark.parametrize(
    "value",
    [
        {"module": 1}, {"module": "x" * 65}, {"worker": "0"}, {"worker": True}, {"worker": -1}, {"worker": 1.0},
        {"exiting": 1}, {"master": 1}, {"master": {"pid": "1"}}, {"nginx": []}, {"nginx": {"active": 1.5}},
        {"part": 0, "parts": 1}, {"part": 3, "parts": 2}, {"part": 2}, {"part": 1, "parts": 65}, {"part": True},
        {"generation": -1}, {"configured": 1.5}, {"gauges": {"uptime_seconds": -1}},
        {"dicts": []}, {"dicts": {"d": 1}}, {"dicts": {"d": [1]}}, {"dicts": {"d": [1, -1]}},
        {"dicts": {"d": [1, "1"]}}, {"dicts": {"d": [1, float("nan")]}},
        {"dicts": {str(n): [1, 1] for n in range(257)}},
        {"families": {}}, {"families": [1]}, gauge(name="a-b"), gauge(name=ABSENT), gauge(labels=["a-b"]),
        gauge(labels="l"), gauge(help=1), gauge(combine="avg"), gauge(combine=ABSENT), gauge(combine=["sum"]),
        gauge(rows=ABSENT), gauge(rows=[1]), gauge(rows=[["a", 1]]), gauge(rows=[["a", 1, 1, 1]]),
        gauge(rows=[[1, 1, 1]]), gauge(rows=[["a", "1", 1]]), gauge(rows=[["a", True, 1]]),
        gauge(rows=[["a", None, 1]]),
        gauge(rows=[["a", 1, -1]]), gauge(rows=[["a", 1, float("nan")]]), gauge(rows=[["a", 1, 2**60]]),
        {"gauges": {"rows": "1"}}, {"gauges": {"rows": False}}, {"gauges": 3}, [], 1,
        {"made": "1"}, {"made": -1}, {"made": True}, {"made": None}, {"made": float("nan")}, {"made": float("inf")},
    ],
)  # fmt: skip
def test_heartbeat_invalid(value: Any) -> None:
    with pytest.raises(WireError) as caught:
        read_heartbeat(msgpack.packb(value))
    assert caught.value.reason == "invalid"


@pytest.mark.parametrize("name", ["a", "web-1.eu_WEST", "x" * 64, ""])
def test_the_name_of_an_nginx(name: str) -> None:
    (batch,) = read_batch(msgpack.packb({"instance": name, "families": [counter()]}))
    assert (batch.shape.instance, batch.shape.key.instance) == (name, name)
    assert read_heartbeat(msgpack.packb({"instance": name})).instance == name


@pytest.mark.parametrize("name", ["x" * 65, "a b", "a\n", "k\u00f6ln", '"', "a,b", 1, True, [], None, b"\xff"])
def test_what_cannot_be_the_name_of_an_nginx(name: Any) -> None:
    """It would stand on the page as it is."""
    with pytest.raises(WireError) as caught:
        read_batch(msgpack.packb({"instance": name, "families": [counter()]}))
    assert (caught.value.reason, caught.value.rows) == ("invalid", 1)
    with pytest.raises(WireError) as caught:
        read_heartbeat(msgpack.packb({"instance": name}))
    assert caught.value.reason == "invalid"


def read_anything(datagram: bytes) -> None:
    """Every reader, over any bytes: whatever is not a WireError fails the test."""
    for reader in (read_batch, read_heartbeat):
        with suppress(WireError):
            read_header(datagram)
            reader(datagram[HEADER_BYTES:])


GOOD_DATAGRAM = write_datagram(HEADER, {"families": [requests(rows=row(1, 2.5, 70_000)), counter(help="h")]})


def test_every_truncation() -> None:
    for length in range(HEADER_BYTES):
        with pytest.raises(WireError, match="truncated"):
            read_header(GOOD_DATAGRAM[:length])
    for length in range(HEADER_BYTES, len(GOOD_DATAGRAM)):
        with pytest.raises(WireError, match="undecodable"):
            read_batch(GOOD_DATAGRAM[HEADER_BYTES:length])
        read_anything(GOOD_DATAGRAM[:length])


def test_every_bit_flip() -> None:
    for bit in range(len(GOOD_DATAGRAM) * 8):
        flipped = bytearray(GOOD_DATAGRAM)
        flipped[bit // 8] ^= 1 << bit % 8
        read_anything(bytes(flipped))


def test_random_changes() -> None:
    source = random.Random(7)
    for _ in range(examples(5_000)):
        changed = bytearray(GOOD_DATAGRAM)
        for _ in range(source.randrange(1, 6)):
            changed[source.randrange(HEADER_BYTES, len(changed))] = source.randrange(256)
        read_anything(bytes(changed))


@given(st.binary(max_size=400))
@settings(max_examples=examples(300), deadline=None)
def test_random_bytes(data: bytes) -> None:
    read_anything(data)
    read_anything(GOOD_DATAGRAM[:HEADER_BYTES] + data)


ANY_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


BUSY = [HealthCheck.too_slow]  # to draw such a value takes long on a machine that is busy
KEYS = [
    "name",
    "type",
    "labels",
    "bounds",
    "columns",
    "rows",
    "help",
    "scope",
    "custom",
    "scale",
    "reset",
    "del",
    "schema",
]


@given(st.sampled_from(KEYS), ANY_VALUE, st.sampled_from([requests(), scoped(), durations(), counter(), histogram()]))
@settings(max_examples=examples(500), deadline=None, suppress_health_check=BUSY)
def test_any_value_for_any_key(key: str, value: Any, family: dict[str, Any]) -> None:
    read_anything(write_datagram(HEADER, {"families": [family | {key: value}]}))


@given(ANY_VALUE, ANY_VALUE)
@settings(max_examples=examples(300), deadline=None, suppress_health_check=BUSY)
def test_any_value_for_the_values_and_a_label(values: Any, label: Any) -> None:
    row = [label, "GET", "200", 1, 1, 1]
    read_anything(write_datagram(HEADER, {"families": [requests(rows=[row])], "values": values}))


@given(st.sampled_from(["name", "help", "labels", "combine", "rows"]), ANY_VALUE)
@settings(max_examples=examples(300), deadline=None, suppress_health_check=BUSY)
def test_any_value_for_any_key_of_a_gauge(key: str, value: Any) -> None:
    read_anything(write_datagram(HEADER, gauge(**{key: value})))


@given(st.sampled_from(["part", "parts", "dicts", "families", "generation", "configured", "made"]), ANY_VALUE)
@settings(max_examples=examples(300), deadline=None, suppress_health_check=BUSY)
def test_any_value_for_any_key_of_a_heartbeat(key: str, value: Any) -> None:
    read_anything(write_datagram(HEADER, {key: value}))


@given(st.lists(st.integers(0, 2**53 + 3) | st.floats(-1, 2.0**54), min_size=3, max_size=3))
@settings(max_examples=examples(300), deadline=None)
def test_numbers_are_judged_one_by_one(numbers: list[float]) -> None:
    good = all(0 <= number <= 2**53 for number in numbers)
    assert reason_of(body(requests(rows=row(*numbers)))) == (None if good else "invalid")


def test_header_layout() -> None:
    packed = b"RSTM" + struct.pack(">BBH", 1, 1, 0xFFFF) + b"n" * 16 + struct.pack(">QQQ", 3, 2, 1)
    assert read_header(packed) == Header(1, 1, b"n" * 16, 3, 2, 1)
