"""SIGHUP before there is a loop: it must neither end a collector that is starting nor be forgotten."""

import signal
from types import FrameType

_received = False


def remember() -> None:
    """Note a SIGHUP, which would end the process, from now on."""
    signal.signal(signal.SIGHUP, _note)


def was_received() -> bool:
    """Return whether there was one: then the configuration may have changed since it was read."""
    return _received


def _note(_: int, __: FrameType | None) -> None:
    global _received
    _received = True
