"""The golden datagrams and answers mean what their JSON says."""

import json
from pathlib import Path
from typing import Any

import pytest
from resty_metrics.shapes.labels import ABSENT
from resty_metrics.wire import datagram as wire
from resty_metrics.wire.batch import read_batch
from resty_metrics.wire.heartbeat import read_heartbeat

GOLDEN = Path(__file__).parent / "golden"
DATAGRAMS = sorted(path.stem for path in GOLDEN.glob("*.json") if not path.stem.startswith("answer_"))
KEYS = ("module", "worker", "workers", "pid", "exiting", "generation", "configured")
ANSWERS = sorted(path.stem for path in GOLDEN.glob("answer_*.json"))


def load(name: str) -> tuple[dict[str, Any], bytes]:
    described: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return described, bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def shown(label: str) -> str:
    """What the collector makes of nginx's bytes, said by Python's own codecs."""
    return label.encode(errors="surrogateescape").decode(errors="backslashreplace")


def test_there_are_goldens() -> None:
    assert len(DATAGRAMS) >= 12
    assert len(ANSWERS) >= 6


@pytest.mark.parametrize("name", DATAGRAMS)
def test_header(name: str) -> None:
    described, data = load(name)
    header = wire.read_header(data)
    assert {
        "version": header.version,
        "kind": wire.Kind(header.kind).name.lower(),
        "sender": header.sender.hex(),
        "birth_ms": header.birth_ms,
        "sequence": header.sequence,
        "base": header.base,
    } == described["header"]
    if not name.startswith("worker_"):  # the Lua module writes some lengths longer than it must
        assert wire.write_datagram(header, described["body"]) == data


@pytest.mark.parametrize("name", [name for name in DATAGRAMS if "batch_" in name])
def test_batch(name: str) -> None:
    described, data = load(name)
    families = read_batch(data[wire.HEADER_BYTES :])
    for family, expected in zip(families, described["body"]["families"], strict=True):
        assert family.shape.name == expected["name"]
        assert family.shape.type == expected["type"]
        assert list(family.shape.labels) == expected["labels"]
        assert family.shape.bounds == (tuple(expected["bounds"]) if "bounds" in expected else None)
        assert list(family.shape.columns) == expected["columns"]
        assert family.help == expected.get("help", "")
        assert family.shape.scale == expected.get("scale", 1)
        assert family.shape.instance == described["body"].get("instance", "")
        assert family.shape.scope == expected.get("scope", "")
        assert family.shape.custom == expected.get("custom", False)
        assert family.reset == expected.get("reset", False)
        deleted = [[shown(value) for value in labels] for labels in expected.get("del", [])]
        assert [list(labels) for labels in family.deleted] == deleted
        assert family.inherited == expected.get("inherited", False)
        values, labels = described["body"].get("values", []), len(expected["labels"])
        rows = [
            [*(shown(value if isinstance(value, str) else values[value]) for value in row[:labels]), *row[labels:]]
            for row in expected["rows"]
        ]
        assert [list(row) for row in family.rows] == rows


@pytest.mark.parametrize("name", [name for name in DATAGRAMS if name.startswith(("heartbeat_", "beat_"))])
def test_heartbeat(name: str) -> None:
    described, data = load(name)
    heartbeat = read_heartbeat(data[wire.HEADER_BYTES :])
    values = {key: getattr(heartbeat, key) for key in KEYS}
    body = described["body"]
    assert values == {key: body.get(key) for key in values}
    assert heartbeat.instance == body.get("instance", "")
    assert heartbeat.began == body.get("made", 0)
    assert (heartbeat.part, heartbeat.parts) == (body.get("part", 1), body.get("parts", 1))
    dicts = None if heartbeat.dicts is None else {name: [*sizes] for name, *sizes in heartbeat.dicts}
    assert dicts == body.get("dicts")
    for family, expected in zip(heartbeat.families, body.get("families", []), strict=True):
        assert {key: getattr(family, key) for key in ("name", "help", "combine")}.items() <= expected.items()
        assert [*family.labels] == expected["labels"]
        sent = [[value or ABSENT if isinstance(value, str) else value for value in row] for row in expected["rows"]]
        assert [[*row] for row in family.rows] == sent
    for part in ("master", "nginx", "gauges"):
        record = getattr(heartbeat, part)
        if part not in body:
            assert record is None
        else:
            assert {key: getattr(record, key) for key in body[part]} == body[part]


@pytest.mark.parametrize("name", ANSWERS)
def test_answer(name: str) -> None:
    described, data = load(name)
    expected = described["answer"]
    answer = wire.read_answer(data)
    assert answer.verdict.name.lower() == expected["verdict"]
    assert answer.reason.name.lower() == expected["reason"]
    assert wire.Kind(answer.kind).name.lower() == expected["kind"]
    assert (answer.sender.hex(), answer.sequence, answer.committed) == (
        expected["sender"],
        expected["sequence"],
        expected["committed"],
    )
    header = wire.Header(wire.VERSION, answer.kind, answer.sender, 0, answer.sequence, 1)
    assert wire.write_answer(answer.verdict, answer.reason, header, answer.committed) == data
