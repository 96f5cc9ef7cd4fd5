"""The Lua side writes the golden datagrams byte for byte, and reads the golden answers."""

import json
from typing import Any

import pytest
from support.luajit import ask
from support.nginx import ROOT

GOLDEN = ROOT / "tests" / "wire" / "golden"
BATCHES = sorted(path.stem for path in GOLDEN.glob("worker_batch_*.json"))
HEARTBEATS = sorted(path.stem for path in GOLDEN.glob("heartbeat_*.json"))
ANSWERS = sorted(path.stem for path in GOLDEN.glob("answer_*.json"))


def load(name: str) -> tuple[dict[str, Any], bytes]:
    described: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return described, bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def pairs(value: Any) -> Any:
    """A dictionary as encode.pairs takes it: key, value, key, value ..."""
    if not isinstance(value, dict):
        return value
    return [item for key, inner in value.items() for item in (key, pairs(inner))]


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_written_byte_for_byte(name: str) -> None:
    described, data = load(name)
    header = described["header"]
    question = ["batch", bytes.fromhex(header["sender"]), header["birth_ms"], header["sequence"], header["base"]]
    assert ask([*question, described["body"]["families"], described["body"].get("instance", False)]) == [data]


@pytest.mark.parametrize("name", HEARTBEATS)
def test_a_heartbeat_is_written_byte_for_byte(name: str) -> None:
    described, data = load(name)
    header = described["header"]
    question = ["heartbeat", bytes.fromhex(header["sender"]), header["birth_ms"], header["sequence"], header["base"]]
    assert ask([*question, pairs(described["body"])]) == [data]


def test_a_bye_is_written_byte_for_byte() -> None:
    described, data = load("bye")
    header = described["header"]
    assert ask(["bye", bytes.fromhex(header["sender"]), header["birth_ms"], header["sequence"]]) == [data]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read(name: str) -> None:
    described, data = load(name)
    expected = described["answer"]
    (answer,) = ask(["answer", data])
    assert answer[b"verdict"].decode() == expected["verdict"]
    assert answer[b"reason"].decode() == expected["reason"]
    assert answer[b"sender"].hex() == expected["sender"]
    assert (answer[b"sequence"], answer[b"committed"]) == (expected["sequence"], expected["committed"])


@pytest.mark.parametrize("name", ["answer_ack", "answer_drop_invalid", "answer_hold_uid"])
@pytest.mark.parametrize("version", [0, 1, 3, 255])
def test_whatever_an_answer_of_another_version_says_it_holds(name: str, version: int) -> None:
    _, data = load(name)
    (answer,) = ask(["answer", data[:4] + bytes([version, 99]) + data[6:]])
    assert (answer[b"verdict"], answer[b"reason"], answer[b"committed"]) == (b"hold", b"version", 0)
    assert (answer[b"version"], answer[b"sender"]) == (version, data[8:24])


@pytest.mark.parametrize(
    "data", [b"", b"RSTA", load("answer_ack")[1][:-1], load("answer_ack")[1] + b"x", b"X" + load("answer_ack")[1][1:]]
)
def test_what_is_no_answer_is_passed_over(data: bytes) -> None:
    assert ask(["answer", data]) == [b"none of ours"]
