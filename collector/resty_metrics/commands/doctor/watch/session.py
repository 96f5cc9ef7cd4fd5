"""One run of the watch: the kernel's events in, lines out, until a signal."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from resty_metrics.commands.doctor.watch import report
from resty_metrics.commands.doctor.watch.observer import Observer, moment
from resty_metrics.commands.doctor.watch.output import Output
from resty_metrics.commands.doctor.watch.report import Notice

EXIT_REFUSED = 2


def run(socket_path: Path, json: bool) -> int:
    """Watch until SIGINT or SIGTERM, or until the reader has gone.

    Return the exit status: 2 if the kernel shows us nothing.
    """
    form = report.to_json if json else report.to_text
    output = Output(sys.stdout.fileno(), lambda count: form(_left_out(count)))
    observer = Observer(socket_path)
    with hurry(), interrupts() as wake, contextlib.closing(output), contextlib.closing(observer):
        for notice in observer.open():
            output.say(form(notice))
        if observer.blind:
            return EXIT_REFUSED
        while not output.broken and not observer.wait(wake, output):
            output.flush()
            for sighting in observer.look():
                output.say(form(sighting))
    return 0


@contextmanager
def hurry() -> Iterator[None]:
    """Run ahead of all ordinary processes, if allowed.

    On a busy machine a culprit would come and go before our turn.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, *before)


@contextmanager
def interrupts() -> Iterator[int]:
    """Yield a descriptor that becomes readable with SIGINT or SIGTERM.

    These signals do not end the process, neither in the block nor after it: a second signal does not change the exit
    status.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def ignore(number: int, frame: FrameType | None) -> None:
        """Do nothing: the descriptor reports the signal."""

    signal.set_wakeup_fd(writer.fileno())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ignore)
    try:
        yield reader.fileno()
    finally:
        signal.set_wakeup_fd(-1)
        reader.close()
        writer.close()


def _left_out(count: int) -> Notice:
    return Notice(moment(), "unsaid", f"{count} lines were dropped, because no reader took them")
