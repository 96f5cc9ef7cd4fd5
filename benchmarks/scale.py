"""The scale of the measurements, and the display of their progress."""

import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale. ``rounds``: of each comparison. ``seconds``: of load in each turn. ``largest``: the most rows tried.

    ``pages``: of a fleet. ``idle``: seconds that a collector without work is left alone.
    ``show``: progress on standard error.
    """

    rounds: int
    seconds: int
    largest: int
    pages: int
    idle: int
    show: bool = True

    def within(self, subject: str) -> Callable[[str], None]:
        """Return a function that shows the progress of a subject, on one line that each call overwrites."""

        def say(text: str) -> None:
            if self.show:
                sys.stderr.write(f"\r\033[K{subject}: {text}"[:120])
                sys.stderr.flush()

        return say


FULL = Scale(rounds=9, seconds=1, largest=100_000, pages=100, idle=60)
QUICK = Scale(rounds=3, seconds=1, largest=10_000, pages=5, idle=5)
