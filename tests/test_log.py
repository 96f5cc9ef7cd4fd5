"""Log lines: their form, and that none is repeated without end."""

import json
import logging

import pytest

from collector.log import Json, Logfmt, Quiet


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("resty-metrics", logging.WARNING, __file__, 1, message, None, None)
    made.created = 0.0
    made.fields = fields
    return made


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("", '""'),
        ('a"b', '"a\\"b"'),
        ("a=b", '"a=b"'),
        ("a\nb", '"a\\nb"'),
        (7, "7"),
        ("ü", "ü"),
    ],
)
def test_logfmt(value: object, shown: str) -> None:
    line = Logfmt().format(record("it is said", key=value))
    assert line == f'ts=1970-01-01T00:00:00.000+00:00 level=warning msg="it is said" key={shown}'


def test_json() -> None:
    line = json.loads(Json().format(record("it is said", key='a"\n', number=7)))
    assert line == {
        "ts": "1970-01-01T00:00:00.000+00:00",
        "level": "warning",
        "msg": "it is said",
        "key": 'a"\n',
        "number": 7,
    }


def test_a_line_without_a_reason_is_always_said() -> None:
    quiet = Quiet()
    assert [quiet.filter(record("again")) for _ in range(5)] == [True] * 5


def test_a_reason_is_said_once_and_then_how_often_it_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("collector.log.time.monotonic", lambda: now)
    quiet = Quiet()
    assert [quiet.filter(record("refused", reason="uid")) for _ in range(4)] == [True, False, False, False]
    assert quiet.filter(record("refused", reason="invalid"))
    now = 61.0
    last = record("refused", reason="uid")
    assert quiet.filter(last)
    assert last.__dict__["fields"]["left_out"] == 3
