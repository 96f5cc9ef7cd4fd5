"""The footprint of the program without work: memory of an idle collector, CPU time of ``-V``."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from support.collector import COMMAND, Collector
from support.nginx import shared_directory

from benchmarks.figures import Figure, Reach
from benchmarks.rounds import measure, spread
from benchmarks.scale import Scale

REACH_MEBIBYTES, REACH_RATIO = 48, 3
STARTS = 10  # starts of a program in one measurement


def _resident(pid: int) -> float:
    """Return the resident memory of a process in MiB, mapped files included."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def _idle(seconds: float) -> float:
    directory = shared_directory()
    try:
        with Collector(directory / "collector.sock") as collector:
            for _ in range(2):
                collector.page()
            time.sleep(seconds)
            return _resident(collector.pid)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _starts(words: Sequence[str]) -> float:
    """Return the CPU seconds of one run of a program, the mean of STARTS runs."""
    before = os.times()
    for _ in range(STARTS):
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user + after.children_system - before.children_user - before.children_system) / STARTS


def run(scale: Scale, subject: str) -> Iterator[Figure]:
    """Measure both. An idle collector has a journal, no file, no source and no rows."""
    say = scale.within(subject)
    say("an idle collector")
    idle = spread([_idle(scale.idle)])
    title = f"idle collector, {scale.idle} s after two scrapes"
    yield Figure(subject, title, "MiB", idle, 1, reach=Reach(REACH_MEBIBYTES))
    python = "python -I -c pass"
    works = {python: partial(_starts, [sys.executable, "-I", "-c", "pass"]), "-V": partial(_starts, [COMMAND, "-V"])}
    started = measure(works, python, scale.rounds, say)["-V"]
    ratio = Figure(subject, f"-V, against {python}", "times", started.ratio, scale.rounds, reach=Reach(REACH_RATIO))
    yield Figure(subject, "-V", "ms of CPU", started.cost.scaled(1000), scale.rounds)
    yield ratio
