"""The log of aiohttp, asyncio and the event loop, as lines of ours: each kind of error at most once a minute.

Rule: a client chooses how often an error occurs, so a traceback is written no more often than its line.
"""

import asyncio
import logging
from typing import Any

from resty_metrics.process.log import say


class Lines(logging.Handler):
    """A handler that logs a library's record as our line. The library's words are left out: they may be a client's."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        trace = error if record.levelno >= logging.ERROR else None
        reason = record.funcName if error is None else type(error).__name__
        say(record.levelno, "a library reports a problem", trace, reason=reason, logger=record.name)


def take_over(loop: asyncio.AbstractEventLoop) -> None:
    """Have aiohttp, asyncio and the loop log by ``say``."""
    for name in ("aiohttp", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [Lines()]
        logger.propagate = False
    loop.set_exception_handler(_say_error)


def _say_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    reason = "none" if error is None else type(error).__name__
    say(logging.ERROR, "the event loop reports a problem", error, reason=reason)
