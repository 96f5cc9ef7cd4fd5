"""Log lines on stderr: logfmt or JSON, and none of them repeated without end.

Rules:
- A line is an event and fields, never a payload: what a sender sent stays out.
- A line that has a ``reason`` is written at most once in QUIET_SECONDS for that reason, one that is said ``per``
  something at most once for that; the next one says how many were left out.
"""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

QUIET_SECONDS = 60.0
MAX_REASONS = 256
LOGGER = logging.getLogger("resty-metrics")


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
        said, left_out = self._last.get(key, (float("-inf"), 0))
        if now - said < QUIET_SECONDS:
            self._last[key] = (said, left_out + 1)
            return False
        if len(self._last) >= MAX_REASONS:
            self._last.clear()
        self._last[key] = (now, 0)
        if left_out:
            fields["left_out"] = left_out
        return True


def configure(level: str, form: str) -> None:
    """Write ``level`` and above to stderr, as ``logfmt`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Logfmt())
    handler.addFilter(Quiet())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def say(
    level: int, message: str, trace: BaseException | None = None, /, *, per: str | None = None, **fields: Any
) -> None:
    """Write one line: an event, and what is known of it.

    ``per``: the subject that the message is written for once in QUIET_SECONDS. ``trace``: an error whose traceback is
    written.
    """
    LOGGER.log(level, message, extra={"fields": fields, "per": per}, exc_info=trace)
