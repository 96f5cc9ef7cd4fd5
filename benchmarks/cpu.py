"""CPU time from the kernel's scheduler, and the assignment of processes to CPUs.

Source: Documentation/scheduler/sched-stats.rst: the first number of ``/proc/PID/task/TID/schedstat`` is nanoseconds on
a CPU.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CPUS = tuple(sorted(os.sched_getaffinity(0)))
SUBJECT, LOAD = CPUS[0], CPUS[-1]  # for the measured process, and for the processes that drive it
PIN_LOAD = ("taskset", "-c", str(LOAD))


def pin(pid: int, cpu: int) -> None:
    """Pin all threads of a process to a CPU. Threads that these start later inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {cpu})


def seconds(pid: int) -> float:
    """Return the CPU seconds of a process, summed over its living threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def of(work: Callable[[], object]) -> float:
    """Return the CPU seconds that this process spends on a call."""
    began = time.process_time()
    work()
    return time.process_time() - began
