"""Log lines: their form, and that none is repeated without end."""

import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest
from _pytest.capture import CaptureResult
from resty_metrics.process.log import MAX_REASONS, STDERR, Json, Logfmt, Quiet, catch_all, configure, say


def record(message: str, **fields: object) -> logging.LogRecord:
    entry = logging.LogRecord("resty-metrics", logging.WARNING, __file__, 1, message, None, None)
    entry.created = 0.0
    entry.fields = fields
    return entry


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("", '""'),
        ('a"b', '"a\\"b"'),
        ("a=b", '"a=b"'),
        ("a\nb", '"a\\nb"'),
        ("a\rb", '"a\\rb"'),
        ("a\x1b[2Jb", '"a\\u001b[2Jb"'),
        ("a\\b", '"a\\\\b"'),
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
    monkeypatch.setattr("resty_metrics.process.log.time.monotonic", lambda: now)
    quiet = Quiet()
    assert [quiet.filter(record("refused", reason="uid")) for _ in range(4)] == [True, False, False, False]
    assert quiet.filter(record("refused", reason="invalid"))
    now = 61.0
    last = record("refused", reason="uid")
    assert quiet.filter(last)
    assert last.__dict__["fields"]["left_out"] == 3


def test_a_reason_of_another_event_is_another_one() -> None:
    quiet = Quiet()
    assert quiet.filter(record("refused", reason="uid"))
    assert quiet.filter(record("cannot receive", reason="uid"))
    assert not quiet.filter(record("refused", reason="uid"))


def test_reasons_without_end_take_no_room_without_end() -> None:
    quiet = Quiet()
    for number in range(10 * MAX_REASONS):
        assert quiet.filter(record("refused", reason=str(number)))
    assert len(quiet._last) <= MAX_REASONS
    assert not quiet.filter(record("refused", reason=str(10 * MAX_REASONS - 1)))


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(capfd: pytest.CaptureFixture[str]) -> CaptureResult[str]:
    """What a thread writes."""
    STDERR.flush()
    return capfd.readouterr()


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_traceback_is_one_line(capfd: pytest.CaptureFixture[str], form: str) -> None:
    configure("info", form)
    say(logging.DEBUG, "too quiet")
    say(logging.INFO, "started", socket="/run/c.sock")
    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger("another").exception("it broke")
    out, err = written(capfd)
    started, broke = err.splitlines()
    assert out == ""
    assert "/run/c.sock" in started
    assert "ValueError: a\\nb" in broke
    assert "too quiet" not in err


@pytest.mark.usefixtures("restored")
def test_what_is_left_out_is_on_the_next_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("resty_metrics.process.log.time.monotonic", lambda: now)
    configure("info", "logfmt")
    for _ in range(3):
        say(logging.WARNING, "refused", reason="uid")
    now = 61.0
    say(logging.WARNING, "refused", reason="uid")
    first, second = written(capfd).err.splitlines()
    assert first.endswith("msg=refused reason=uid")
    assert second.endswith("msg=refused reason=uid left_out=2")


@pytest.mark.usefixtures("restored")
def test_what_may_be_said_once_per_something_shows_it_not(capfd: pytest.CaptureFixture[str]) -> None:
    configure("info", "logfmt")
    for culprit in ("first", "first", "second"):
        say(logging.ERROR, "replaced", per=culprit, pid=1)
    lines = written(capfd).err.splitlines()
    assert [line.partition(" msg=")[2] for line in lines] == ["replaced pid=1"] * 2


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    catch_all()
    yield
    logging.captureWarnings(False)


def fail() -> None:
    raise ValueError("a\nb")


class FailsAtItsEnd:
    def __del__(self) -> None:
        fail()


def fail_in_a_thread() -> None:
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def fail_at_last() -> None:
    try:
        fail()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)


@pytest.mark.usefixtures("restored", "hooks")
@pytest.mark.parametrize(
    "happen", [fail_in_a_thread, fail_at_last, FailsAtItsEnd, lambda: warnings.showwarning("a\nb", Warning, "file", 1)]
)
def test_what_python_would_print_is_a_log_line(happen: Callable[[], object], capfd: pytest.CaptureFixture[str]) -> None:
    configure("info", "logfmt")
    happen()
    (line,) = written(capfd).err.splitlines()
    assert line.startswith("ts=")
    assert "a\\nb" in line
