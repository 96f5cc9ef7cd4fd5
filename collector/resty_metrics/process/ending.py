"""The end of a process, without delay.

Rule: never wait for a thread. A look-up of a name may take half a minute if the name server does not answer, a read
from a dead file system for ever; event loop and interpreter would wait for both when they end.
"""

import contextlib
import os
import signal
import sys
import threading
from typing import NoReturn


def end(status: int) -> NoReturn:
    """End with this status. Printed text is written first, and log lines as far as stderr takes them."""
    import logging  # imported late: __main__ begins with this module

    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # the reader has gone
            stream.flush()
    os._exit(status)


def end_on_sigterm(status: int) -> None:
    """Let SIGTERM end the first process of a container even before its event loop can notice the signal.

    The kernel keeps every signal from a process with pid 1 that has no handler for it. The kernel ends any other
    process itself, even one inside a call that never returns.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(status))


def end_within(seconds: float, status: int) -> None:
    """End after this time at the latest, even if a log without a reader or a disk blocks the main thread."""
    timer = threading.Timer(seconds, os._exit, [status])
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # the machine has no thread left
        timer.start()
