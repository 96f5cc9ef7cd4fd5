"""Writes the golden datagrams and answers of this directory, from docs/wire.md alone.

Run ``python tests/wire/golden/make.py`` and look at the diff: these bytes change only when the wire does. Nothing of
the collector is imported here. Each ``NAME.json`` says in words what ``NAME.hex`` holds in bytes; bytes of nginx that
are not UTF-8 stand in the JSON as lone surrogates (``\\udcff`` is the byte ff), Python's surrogateescape.
"""

import json
import struct
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]

FOLDER = Path(__file__).parent
SENDER = bytes(range(16))
VERSION = 2
BIRTH_MS = 1_700_000_000_123
KINDS = {"batch": 1, "heartbeat": 2, "bye": 3, "probe": 4}
VERDICTS = {"ack": 1, "hold": 2, "drop": 3}
REASONS = {"none": 0, "version": 1, "not_ready": 2, "sender_cap": 3, "uid": 4, "undecodable": 16, "invalid": 17}

# The largest number of each msgpack integer format and the smallest of the next; 2^53 is the largest of the wire.
INTEGERS = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53 - 1, 2**53]


def requests(labels: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    return {
        "name": "http_requests",
        "type": "requests",
        "labels": ["server", "method", "status", *labels],
        "columns": ["count", "request_bytes", "response_bytes"],
        "rows": rows,
    }


def durations(labels: list[str], bounds: list[float], rows: list[list[Any]]) -> dict[str, Any]:
    return {**histogram("nginx_http_request_duration_seconds", labels, bounds, rows), "scale": 1000}


def histogram(name: str, labels: list[str], bounds: list[float], rows: list[list[Any]]) -> dict[str, Any]:
    return {"name": name, "type": "histogram", "labels": labels, "bounds": bounds, "columns": ["sum"], "rows": rows}


def counter(name: str, labels: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    return {"name": name, "type": "counter", "labels": labels, "columns": ["value"], "rows": rows}


HEARTBEAT = {
    "module": "0.1.0",
    "worker": 1,
    "workers": 2,
    "pid": 4711,
    "exiting": False,
    "master": {"pid": 4700, "birth": 123_456_789},
    "nginx": {
        "accepted": 10, "handled": 9, "requests": 65_536, "active": 3, "reading": 0, "writing": 1, "waiting": 2,
    },
    "gauges": {
        "lua_memory_bytes": 1_048_576.5, "unacked_batches": 0, "unacked_bytes": 0,
        "timers_pending": 1, "timers_running": 1, "rows": 20, "uptime_seconds": 86_400.5,
    },
    "generation": 3,
    "configured": 1_700_000_000_456,
}  # fmt: skip

# As LuaJIT has them: numbers are doubles, and whole ones are written as integers.
GAUGES = [
    {"name": "queue_length", "help": "Jobs that wait.", "labels": ["queue"], "combine": "sum", "rows": [
        ["mail", 3, 1_700_000_000_000], ["", -0.5, 1_700_000_000_001],
    ]},
    {"name": "temperature_celsius", "help": "", "labels": [], "combine": "last", "rows": [[21.5, 1_700_000_000_002]]},
]  # fmt: skip

# name: (kind, sequence, base, body); a heartbeat_* holds maps and plain values only, a beat_* has arrays.
DATAGRAMS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "batch_two_families_two_shapes": ("batch", 7, 5, {"families": [
        requests(["country"], [
            ["example.com", "GET", "200", "se", 4, 900, 70_000],
            ["example.com", "POST", "502", "", 1, 300, 157],
        ]),
        requests([], [["example.com", "GET", "304", 2, 600, 0]]),
        durations(["server", "status_class", "country"], [5, 10], [
            ["example.com", "2xx", "se", 3, 1, 0, 21],
            ["example.com", "5xx", "", 0, 0, 1, 1200],
        ]),
        durations(["server", "status_class"], [10], [["example.com", "3xx", 2, 0, 4]]),
        {**counter("logins_total", ["result"], [["ok", 4], ["bad", 1]]), "help": "Logins."},
    ]}),
    "batch_zeros": ("batch", 1, 1, {"families": [requests([], [["", "", "", 0, 0, 0]])]}),
    "batch_no_rows": ("batch", 2, 1, {"families": [counter("c_total", [], [])]}),
    "batch_integers": ("batch", 3, 3, {"families": [
        counter("integers_total", ["n"], [[str(number), number] for number in INTEGERS]),
    ]}),
    "batch_float": ("batch", 4, 3, {"families": [counter("cost_total", ["unit"], [["eur", 0.25], ["usd", 3.0]])]}),
    "batch_label_bytes": ("batch", 5, 5, {"families": [
        counter("odd_total", ["value"], [
            ["\udcff\udcfeA", 1], ["\0\x1f", 2], ['a"b\\c\nd', 3], ["k\u00f6ln", 4], ["\U0001f600" * 8, 5],
            ["x" * 300, 6],
        ]),
    ]}),
    "batch_unknown_keys": ("batch", 6, 6, {"from": "tomorrow", "families": [
        {**counter("c_total", [], [[1]]), "inherited": True, "colour": [1, {"deep": None}]},
    ]}),
    "batch_scope": ("batch", 8, 8, {"families": [
        requests([], [["a", "GET", "200", 4, 900, 70_000]]),
        {**requests(["scope", "tenant"], [["a", "GET", "200", "api", "t1", 3, 90, 7_000]]), "scope": "api"},
        {**durations(["server", "scheme", "scope", "tenant"], [50], [["a", "https", "api", "t1", 1, 2, 210]]),
         "scope": "api"},
    ]}),
    "batch_histogram": ("batch", 9, 9, {"families": [
        {**histogram("nginx_http_upstream_response_duration_seconds", ["upstream"], [5, 10],
                     [["backend", 3, 1, 0, 21], ["_", 0, 0, 2**53, 2**53]]), "scale": 1000},
        {**histogram("sizes", [], [-1.5, 0, 0.25], [[1, 0, 2, 4, -0.125]]), "custom": True, "help": "Sizes."},
    ]}),
    "batch_custom": ("batch", 10, 9, {"families": [
        {**counter("logins_total", ["result"], [["ok", 1.5]]), "custom": True},
        {**counter("logins_total", ["result"], [["ok", 2]]), "custom": False},
    ]}),
    "batch_del_and_reset": ("batch", 11, 9, {"families": [
        {**counter("tenants_total", ["tenant"], [["b", 1]]), "custom": True, "del": [["a"], ["\udcff"]]},
        {**counter("emptied_total", [], []), "custom": True, "reset": True},
        {**histogram("seconds", ["l"], [1], [["x", 1, 0, 0.5]]), "custom": True, "reset": True, "del": []},
    ]}),
    "batch_instance": ("batch", 12, 9, {"instance": "web-1.eu_west", "families": [
        requests([], [["a", "GET", "200", 1, 90, 7_000]]), counter("c_total", [], [[1]]),
    ]}),
    "batch_values": ("batch", 13, 9, {"values": ["a", "GET", "200", "\udcff", "ok"], "families": [
        requests(["z"], [[0, 1, 2, 3, 1, 90, 7_000], [0, "PUT", 2, "200", 2, 91, 7_001]]),
        counter("c_total", ["x"], [[4, 1], ["ok", 2]]),
    ]}),
    "batch_largest_header": ("batch", 2**64 - 1, 2**64 - 1, {"families": []}),
    "heartbeat_all_keys": ("heartbeat", 12, 8, HEARTBEAT),
    "beat_dicts": ("heartbeat", 12, 8, {"dicts": {"spool": [8_388_608, 8_196_096], "sessions": [1_048_576, 0]}}),
    "beat_gauges": ("heartbeat", 13, 8, {"worker": 0, "families": GAUGES}),
    "beat_part": ("heartbeat", 14, 8, {"worker": 0, "part": 2, "parts": 3, "families": GAUGES[:1]}),
    "heartbeat_instance": ("heartbeat", 15, 8, {"instance": "web-1.eu_west", "module": "0.1.0", "worker": 0}),
    "heartbeat_empty": ("heartbeat", 1, 1, {}),
    "bye": ("bye", 7, 8, {}),
    "probe": ("probe", 99, 1, {}),
}  # fmt: skip

# As the Lua module writes a batch: how many families, rows and deletions, in two bytes each that are filled in later.
WORKER_BATCHES: dict[str, tuple[int, int, dict[str, Any]]] = {
    "worker_batch_requests": (7, 5, {"families": [
        requests(["country"], [
            ["example.com", "GET", "200", "se", 4, 900, 70_000],
            ["example.com", "POST", "502", "_", 1, 300, 157],
        ]),
        {**requests([], []), "inherited": True, "rows": [["example.com", "GET", "304", 2, 600, 0]]},
        {"name": "nginx_http_request_duration_seconds", "type": "histogram",
         "help": "Time from a request's first byte to its log entry.",
         "labels": ["server", "status_class", "country"], "bounds": [5, 10], "scale": 1000, "columns": ["sum"],
         "rows": [["example.com", "2xx", "se", 3, 1, 0, 21], ["example.com", "5xx", "_", 0, 0, 1, 1200]]},
    ]}),
    "worker_batch_integers": (3, 3, {"families": [
        counter("integers_total", ["n"], [[str(number), number] for number in INTEGERS]),
    ]}),
    "worker_batch_counters": (2**53, 1, {"families": [
        {"name": "logins_total", "type": "counter", "help": "Logins.", "labels": ["result"], "columns": ["value"],
         "rows": [["ok", 4], ["\udcff\udcfeA", 0.25], ["k\u00f6ln" * 8, 1e-9]]},
        counter("no_labels_total", [], [[1]]),
    ]}),
    "worker_batch_own": (12, 9, {"families": [
        {"name": "http_requests", "type": "requests", "scope": "api",
         "labels": ["server", "method", "status", "scope"], "columns": ["count", "request_bytes", "response_bytes"],
         "rows": [["a", "GET", "200", "api", 3, 90, 7_000]]},
        {"name": "nginx_http_request_duration_seconds", "type": "histogram", "help": "T.", "scope": "api",
         "labels": ["status_class", "scope"], "bounds": [50], "scale": 1000, "columns": ["sum"],
         "rows": [["2xx", "api", 1, 2, 210]]},
        {"name": "sizes", "type": "histogram", "help": "Sizes.", "custom": True, "labels": ["l"],
         "bounds": [-1.5, 0, 0.25], "columns": ["sum"], "rows": [["x", 1, 0, 2, 4, -0.125]]},
        {"name": "tenants_total", "type": "counter", "custom": True, "labels": ["tenant"], "columns": ["value"],
         "del": [["a"], ["k\u00f6ln" * 8]], "rows": [["b", 1]]},
        {"name": "emptied_total", "type": "counter", "custom": True, "labels": [], "columns": ["value"],
         "reset": True, "rows": []},
        {"name": "both_total", "type": "counter", "custom": True, "labels": ["x", "y"], "columns": ["value"],
         "reset": True, "del": [["1", "2"]], "rows": []},
    ]}),
    "worker_batch_instance": (13, 9, {"instance": "x" * 64, "families": [
        requests([], [["a", "GET", "304", 2, 600, 0]]), counter("no_labels_total", [], [[1]]),
    ]}),
}  # fmt: skip

# name: (verdict, reason, kind, sequence, committed)
ANSWERS = {
    "answer_ack": ("ack", "none", "batch", 7, 7),
    "answer_ack_probe": ("ack", "none", "probe", 99, 0),
    "answer_hold_uid": ("hold", "uid", "batch", 1, 0),
    "answer_hold_version": ("hold", "version", "heartbeat", 1, 0),
    "answer_drop_undecodable": ("drop", "undecodable", "batch", 2**53, 2**53),
    "answer_drop_invalid": ("drop", "invalid", "batch", 3, 2),
}


def packed(value: object) -> bytes:
    data: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return data


def counted(values: list[bytes]) -> bytes:
    """An array whose length stands in two bytes."""
    return struct.pack(">BH", 0xDC, len(values)) + b"".join(values)


def _packed_value(key: str, value: Any) -> bytes:
    return counted([packed(row) for row in value]) if key in ("rows", "del") else packed(value)


def packed_as_worker(body: dict[str, Any]) -> bytes:
    """A body whose rows have the places of their label values, in the order in which the values come."""
    families: list[bytes] = []
    places: dict[str, int] = {}
    for described in body["families"]:
        labels = len(described["labels"])
        family = {**described, "rows": [
            [*(places.setdefault(value, len(places)) for value in row[:labels]), *row[labels:]]
            for row in described["rows"]
        ]}  # fmt: skip
        keys = [*(key for key in family if key != "rows"), "rows"]
        body_of = [packed(key) + _packed_value(key, family[key]) for key in keys]
        families.append(bytes([0x80 + len(family)]) + b"".join(body_of))
    named = packed("instance") + packed(body["instance"]) if "instance" in body else b""
    values = packed("values") + counted([packed(value) for value in places])
    return bytes([0x81 + len(body)]) + named + packed("families") + counted(families) + values


def header_of(kind: str, sequence: int, base: int) -> tuple[dict[str, Any], bytes]:
    """A header in words and in bytes."""
    data = (
        b"RSTM" + struct.pack(">BBH", VERSION, KINDS[kind], 0) + SENDER + struct.pack(">QQQ", BIRTH_MS, sequence, base)
    )
    fields = {
        "version": VERSION,
        "kind": kind,
        "sender": SENDER.hex(),
        "birth_ms": BIRTH_MS,
        "sequence": sequence,
        "base": base,
    }
    return fields, data


def write(name: str, description: dict[str, Any], data: bytes) -> None:
    (FOLDER / f"{name}.json").write_text(json.dumps(description, indent=2) + "\n")
    lines = [data[start : start + 32].hex(" ") for start in range(0, len(data), 32)]
    (FOLDER / f"{name}.hex").write_text("\n".join(lines) + "\n")


def main() -> None:
    for name, (kind, sequence, base, body) in DATAGRAMS.items():
        fields, header = header_of(kind, sequence, base)
        write(name, {"header": fields, "body": body}, header + packed(body))
    for name, (sequence, base, body) in WORKER_BATCHES.items():
        fields, header = header_of("batch", sequence, base)
        write(name, {"header": fields, "body": body}, header + packed_as_worker(body))
    for name, (verdict, reason, kind, sequence, committed) in ANSWERS.items():
        codes = struct.pack(">BBBB", VERSION, VERDICTS[verdict], REASONS[reason], KINDS[kind])
        answer = b"RSTA" + codes + SENDER + struct.pack(">QQ", sequence, committed)
        fields = {"verdict": verdict, "reason": reason, "kind": kind, "sender": SENDER.hex()}
        write(name, {"answer": {**fields, "sequence": sequence, "committed": committed}}, answer)


if __name__ == "__main__":
    main()
