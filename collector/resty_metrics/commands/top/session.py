"""One run of top: look, show, wait for the interval or a key.

Rules:
- A key is answered at once, even while a look is under way; a page that cannot be read does not end the run.
- While paused, the shown values stay, but looking goes on, so that rates are right afterwards.
"""

import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from resty_metrics.commands.client.endpoint import Endpoint
from resty_metrics.commands.client.fetch import complaint
from resty_metrics.commands.top import keys, once, screen
from resty_metrics.commands.top.looking import Look, Looker
from resty_metrics.commands.top.meter import View
from resty_metrics.commands.top.screen import Polling
from resty_metrics.commands.top.terminal import Terminal, console
from resty_metrics.commands.top.warnings import Trouble
from resty_metrics.process.command_line import DEFAULT_SOCKET
from resty_metrics.process.ending import end

FIRST_SECONDS = 1.0  # until there are rates at all


@dataclass(frozen=True, slots=True)
class Order:
    """The order for a run. ``interval``: seconds between two looks; ``state``: the first state of the view."""

    endpoint: Endpoint
    interval: float
    state: keys.State


def run(order: Order) -> NoReturn:
    """Run in the terminal until a key or a signal ends it."""
    asyncio.run(_Session(order).run())
    raise AssertionError("it ends the process")


def run_once(order: Order, json: bool) -> NoReturn:
    """Look twice, and print the growth between the looks. Exit status 1 where the page cannot be read."""
    asyncio.run(_run_once(order, json))
    raise AssertionError("it ends the process")


async def _run_once(order: Order, json: bool) -> NoReturn:
    looker = Looker(order.endpoint)
    first = await looker.look()
    if first.view is not None:
        await asyncio.sleep(order.interval)
    look = first if first.view is None else await looker.look()
    if look.view is None:
        assert look.error is not None, "there is a view, or an error"
        sys.stderr.write(complaint(order.endpoint, look.error.evidence, look.error.remedy))
        end(1)
    polling = _polling(order)
    with suppress(OSError, SystemExit):  # the reader has gone; rich then raises SystemExit
        _print(look.view, polling, order.state, json)
    end(0)


def _polling(order: Order, error: Trouble | None = None, for_seconds: float = 0.0) -> Polling:
    endpoint = order.endpoint
    return Polling(endpoint.shown, order.interval, error, for_seconds, endpoint.socket_path or DEFAULT_SOCKET)


def _print(view: View, polling: Polling, state: keys.State, json: bool) -> None:
    if json:
        sys.stdout.write(once.as_json(view, polling, state))
        return
    out = console()
    width = out.width if out.is_terminal else screen.PIPE_WIDTH
    for line in screen.report(view, polling, state, width):
        out.print(line, soft_wrap=True)


class _Session:
    def __init__(self, order: Order) -> None:
        self._order, self._state = order, order.state
        self._view: View | None = None
        self._error: Trouble | None = None
        self._failing_since = 0.0
        self._shown: screen.Screen | None = None
        self._over = asyncio.Event()
        self._terminal = Terminal(self._pressed, self._draw, self._over.set)

    async def run(self) -> NoReturn:
        """Run, and end the process from within the loop, which would otherwise wait for threads."""
        with self._terminal.opened():
            self._draw()
            looking = asyncio.create_task(self._look_on())
            over = asyncio.create_task(self._over.wait())
            await asyncio.wait({looking, over}, return_when=asyncio.FIRST_COMPLETED)
        if looking.done():
            looking.result()
        end(0)

    async def _look_on(self) -> None:
        looker = Looker(self._order.endpoint)
        began = False
        while True:
            due = time.monotonic() + (self._order.interval if began else min(FIRST_SECONDS, self._order.interval))
            self._take(await looker.look())
            began = self._view is not None
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _take(self, look: Look) -> None:
        if look.error is not None and self._error is None:
            self._failing_since = time.monotonic()
        self._error = look.error
        if not self._state.paused:
            self._view = look.view or self._view
            self._draw()

    def _pressed(self, key: str) -> None:
        shown = self._shown
        sorted_by, rows, height = (None, 0, 0) if shown is None else (shown.sorted_by, shown.rows, shown.height)
        self._state = keys.pressed(self._state, key, sorted_by, rows, height)
        if self._state.quit:
            self._over.set()
        self._draw()

    def _draw(self) -> None:
        since = time.monotonic() - self._failing_since
        polling = _polling(self._order, self._error, since)
        self._shown = screen.drawn(self._view, polling, self._state, *self._terminal.size)
        self._terminal.show(self._shown.lines)
