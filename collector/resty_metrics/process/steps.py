"""Results that are computed in steps, so that the event loop runs between two of them.

A function in steps is a generator: it yields after each step, and returns its result. ``yield from`` passes the steps
of one generator on to another (docs/decisions/0018-a-page-in-steps.md).
"""

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")
Steps = Generator[None, None, Result]


def finish(steps: Steps[Result]) -> Result:
    """Take all steps at once, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
