"""A clock of a process that is the test's to set, by libfaketime: the machine's own is not.

Sleeps, timeouts and timers go by the same clock.
"""

from collections.abc import Mapping
from pathlib import Path


def _environment(**more: str) -> Mapping[str, str]:
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # it would slow down how Python's threads take turns, a thousandfold
        **more,
    }


def hurried(times: int) -> Mapping[str, str]:
    """The environment of a process for which time goes so many times as fast. Who waits for whom should share it."""
    return _environment(FAKETIME=f"+0 x{times}")


class Clock:
    """The clocks of a process that was started with ``environment``. ``monotonic``: also that clock, not the wall clock
    alone; ``file``: what says the time, in a directory in which another one can be made."""

    def __init__(self, file: Path, monotonic: bool) -> None:
        self._file, self._ahead = file, 0.0
        self.set("+0")
        wall_only = {} if monotonic else {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.environment = _environment(FAKETIME_TIMESTAMP_FILE=str(file), FAKETIME_NO_CACHE="1", **wall_only)

    def set(self, offset: str) -> None:
        """From the true time, as libfaketime has it: ``-1d``. In one step: a file without a line would mean +0."""
        new = self._file.with_name(f"{self._file.name}.new")
        new.write_text(f"{offset}\n")
        new.rename(self._file)

    def forward(self, seconds: float) -> None:
        """So much time goes by at once; timers that are due by then fire."""
        self._ahead += seconds
        self.set(f"+{self._ahead:.1f}")
