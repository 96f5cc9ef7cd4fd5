"""CPU time from the kernel's scheduler, and who runs on which CPU.

Source: Documentation/scheduler/sched-stats.rst: the first number of ``/proc/PID/task/TID/schedstat`` is nanoseconds on
a CPU.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CPUS = tuple(sorted(os.sched_getaffinity(0)))
SUBJECT, LOAD = CPUS[0], CPUS[-1]  # what is measured, and what drives it
PIN_LOAD = ("taskset", "-c", str(LOAD))


def pin(pid: int, cpu: int) -> None:
    """All threads of a process; those that it starts later inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {cpu})


def seconds(pid: int) -> float:
    """CPU time of a process, over all of its threads that live."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def of(work: Callable[[], object]) -> float:
    """CPU seconds of this process for some work."""
    began = time.process_time()
    work()
    return time.process_time() - began
