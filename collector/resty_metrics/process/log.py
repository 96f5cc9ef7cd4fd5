"""Log lines on stderr: logfmt or JSON, and none of them repeated without end.

Rules:
- A line is an event and fields, never a payload: the bytes of a sender stay out.
- A line with a ``reason`` is written at most once in QUIET_SECONDS for that reason, a line with ``per`` at most once
  for that subject. The next line gives the number of those left out.
- Nothing waits for stderr (backlog.py). So nothing else writes to it while we collect: ``catch_all`` makes Python log
  the text that it would print there.
"""

import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from resty_metrics.process.backlog import Backlog

QUIET_SECONDS = 60.0
MAX_REASONS = 256
LOGGER = logging.getLogger("resty-metrics")
STDERR = Backlog(2)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields: dict[str, Any] = {"ts": moment, "level": record.levelname.lower(), "msg": record.getMessage()}
    fields.update(getattr(record, "fields", {}))
    if record.exc_info:
        fields["error"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _logfmt_value(value: Any) -> str:
    text = str(value)
    if text and text.isprintable() and not any(character in text for character in ' "=\\'):
        return text
    return json.dumps(text, ensure_ascii=False)


class Logfmt(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_logfmt_value(value)}" for key, value in _fields(record).items())


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record), ensure_ascii=False, default=str)


class Quiet(logging.Filter):
    """Lets a reason through once in a while."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        fields: dict[str, Any] = getattr(record, "fields", {})
        subject = getattr(record, "per", None) or fields.get("reason")
        if subject is None:
            return True
        key, now = (record.msg, str(subject)), time.monotonic()
        logged_at, left_out = self._last.get(key, (float("-inf"), 0))
        if now - logged_at < QUIET_SECONDS:
            self._last[key] = (logged_at, left_out + 1)
            return False
        if len(self._last) >= MAX_REASONS:
            self._last.clear()
        self._last[key] = (now, 0)
        if left_out:
            fields["left_out"] = left_out
        return True


def configure(level: str, form: str) -> None:
    """Write ``level`` and above to stderr, as ``logfmt`` or ``json``."""
    STDERR.setFormatter(Json() if form == "json" else Logfmt())
    STDERR.filters[:] = [Quiet()]
    root = logging.getLogger()
    root.handlers[:] = [STDERR]
    root.setLevel(level.upper())


def catch_all() -> None:
    """Log warnings and errors that Python itself would print: printing waits for the reader of stderr."""
    logging.captureWarnings(True)
    sys.excepthook = _on_error
    sys.unraisablehook = _on_unraisable
    threading.excepthook = _on_thread_error


def _on_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    LOGGER.critical("the collector failed because of a bug, please report it", exc_info=(kind, error, trace))


def _on_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    message, fields = "a finalizer failed because of a bug, please report it", {"where": repr(failure.object)}
    LOGGER.error(message, exc_info=failure.exc_value, extra={"fields": fields})


def _on_thread_error(failure: threading.ExceptHookArgs) -> None:
    LOGGER.error("a thread failed because of a bug, please report it", exc_info=failure.exc_value)


def say(
    level: int, message: str, trace: BaseException | None = None, /, *, per: str | None = None, **fields: Any
) -> None:
    """Write one line: an event and the known facts about it.

    ``per``: the subject that the message is written for once in QUIET_SECONDS. ``trace``: an error whose traceback is
    written.
    """
    LOGGER.log(level, message, extra={"fields": fields, "per": per}, exc_info=trace)
