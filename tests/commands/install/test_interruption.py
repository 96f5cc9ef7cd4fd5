"""A signal at any moment ends the work, also in the middle of an event loop."""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest
from resty_metrics.commands.install.interruption import SIGNALS, Interrupted, handlers_kept, interruptible, run


def killed_soon(number: signal.Signals, seconds: float, work: Callable[[], None]) -> None:
    def kill() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), number)

    threading.Thread(target=kill).start()
    work()


async def busy() -> None:
    """Many tasks that wake each other without end."""

    async def one() -> None:
        while True:
            await asyncio.wait_for(asyncio.sleep(0), 5)

    await asyncio.gather(*(one() for _ in range(10)))


def in_a_loop() -> None:
    run(busy)


def in_many_loops() -> None:
    """Most of the time one is made or closed."""
    while True:
        run(lambda: asyncio.sleep(0))


def without_one() -> None:
    while True:
        time.sleep(0.0001)


class Destroyed:
    """Python drops what is raised in here."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work

    def __del__(self) -> None:
        self.work()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("work", [in_a_loop, in_many_loops, without_one])
def test_at_any_moment(number: signal.Signals, work: Callable[[], None]) -> None:
    for seed in range(12):
        seconds = random.Random(seed).uniform(0, 0.02)
        with handlers_kept(), pytest.raises(Interrupted, match=f"^interrupted by {number.name}$"), interruptible():
            killed_soon(number, seconds, work)


def test_while_the_loop_waits_for_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    """As for the name of a host. That is waited for, and said of it is nothing."""

    def work() -> None:
        run(in_a_thread)

    async def in_a_thread() -> None:
        await asyncio.to_thread(time.sleep, 0.4)

    with handlers_kept(), pytest.raises(Interrupted), interruptible():
        killed_soon(signal.SIGTERM, 0.1, work)
    assert caplog.records == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_its_exception_may_be_lost_and_it_is_not() -> None:
    with handlers_kept(), pytest.raises(Interrupted), interruptible():
        Destroyed(lambda: os.kill(os.getpid(), signal.SIGTERM))


def test_a_second_one_does_not_end_the_putting_back() -> None:
    with handlers_kept():
        with pytest.raises(Interrupted, match="SIGTERM"), interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)


def test_the_handlers_from_before_come_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with handlers_kept(), interruptible():
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before
