"""Signals during a change that is half made: a signal ends the work, once, and is not lost.

A handler that raises out of an event loop may discard the callback that the loop was about to run, and a task that
waits for it waits for ever. So inside a loop the handler cancels the tasks instead, and the exception follows when the
loop has ended. A loop that is half made or half closed leaves sockets and a traceback behind: ``run`` makes and closes
it whole.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_SECONDS = 0.05

Result = TypeVar("Result")


class Interrupted(KeyboardInterrupt):
    """A signal came."""


class _Holding:
    """The state of ``run``: at work or not, and a signal that came in between. The signal waits while no loop runs."""

    def __init__(self) -> None:
        self.on = False
        self.first: signal.Signals | None = None


_holding = _Holding()


def run(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run ``work`` in a loop of its own, as ``asyncio.run`` does. Raises Interrupted after a signal."""

    async def unless_interrupted() -> Result | None:
        return await work() if _holding.first is None else None

    _holding.on, _holding.first = True, None
    try:
        with asyncio.Runner() as runner:
            result = runner.run(unless_interrupted())
    finally:
        _holding.on = False
    if _holding.first is not None:
        raise _interrupted(_holding.first)
    return result  # type: ignore[return-value]


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted in the body, or at its end, at the first of SIGNALS. Later ones are ignored.

    While the body is being left, all are ignored. ``handlers_kept`` restores the previous handlers.
    """
    first: list[signal.Signals] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        if first:
            return
        first.append(signal.Signals(number))
        _holding.first = first[0] if _holding.on else None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            if _holding.on:
                return
            raise _interrupted(first[0]) from None
        loop.call_soon_threadsafe(lambda: _cancel(loop, asyncio.all_tasks(loop)))

    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        yield
    except BaseException as error:
        _ignore()
        if first and not isinstance(error, Interrupted):
            raise _interrupted(first[0]) from error
        raise
    _ignore()
    if first:  # its exception was lost, as in a destructor
        raise _interrupted(first[0])


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Restore the handlers of SIGNALS after the body."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupted(number: signal.Signals) -> Interrupted:
    return Interrupted(f"interrupted by {number.name}")


def _cancel(loop: asyncio.AbstractEventLoop, tasks: Iterable[asyncio.Task[object]]) -> None:
    """Cancel the tasks until they have ended: asyncio.wait_for before Python 3.12 may lose a cancellation."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        loop.call_later(_AGAIN_SECONDS, _cancel, loop, left)


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
