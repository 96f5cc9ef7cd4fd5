"""Reports to systemd by sd_notify(3): a datagram of lines to the socket that $NOTIFY_SOCKET names.

Rules:
- Without $NOTIFY_SOCKET nothing is sent.
- The event loop sends the watchdog's beat: a loop that hangs is silent, and systemd starts another process.
- $WATCHDOG_PID names the only process that shall send beats (sd_watchdog_enabled(3)).
"""

import asyncio
import contextlib
import faulthandler
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence

from resty_metrics.process import standard_streams
from resty_metrics.process.log import say

READY, STOPPING, RELOADING, WATCHDOG = "READY=1", "STOPPING=1", "RELOADING=1", "WATCHDOG=1"
MAX_STATUS = 200  # characters


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """Return the longest time that systemd waits for our next beat; None if it expects none."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        return int(environment["WATCHDOG_USEC"]) / 1e6 or None
    except (KeyError, ValueError):
        return None


def status(faults: Sequence[str]) -> str:
    """Return the line that ``systemctl status`` shows: a single one, whatever the faults contain."""
    words = " ".join("; ".join(faults).split()) or "collecting"
    return f"STATUS={words[:MAX_STATUS]}"


class ServiceManager:
    """systemd, or another program that speaks its protocol; none, if the environment names none."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._period = watchdog_seconds(environment, os.getpid())

    def tell(self, *lines: str) -> None:
        """Send lines without ever waiting: the event loop calls this."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            say(logging.WARNING, "cannot notify the service manager", error=error, per="service manager")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Report a reload for as long as the configuration is read again."""
        self.tell(RELOADING)
        try:
            yield
        finally:
            self.tell(READY)

    async def beat(self, faults: Callable[[], list[str]]) -> None:
        """Send a beat twice in each period of the watchdog, for ever.

        The watchdog ends us by SIGABRT; the place where we hang is then written to stderr.
        """
        if self._period is not None:
            faulthandler.enable(standard_streams.open_for_dump())
        while self._address and self._period is not None:
            self.tell(WATCHDOG, status(faults()))
            await asyncio.sleep(self._period / 2)
        await asyncio.Event().wait()
