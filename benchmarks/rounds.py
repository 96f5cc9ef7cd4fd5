"""Interleaved rounds: the subjects are measured in turns, each figure compared with the reference nearest in time.

The speed of a machine changes during a measurement (its clock, its neighbours, its caches). Therefore the reference is
measured before and after each measurement, so that no figure is compared with one of minutes ago. An A/A control, the
reference under a second name, shows how large a difference must be to mean anything.

Rules:
- Every measurement is a cost per unit of work (mostly seconds of CPU), so less is better.
- The order of the subjects changes from round to round.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log
from typing import TypeVar

T = TypeVar("T")
Work = Callable[[], float]
Measurement = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its lower and upper quartile."""

    low: float
    middle: float
    high: float

    def scaled(self, factor: float) -> "Spread":
        return Spread(self.low * factor, self.middle * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Series:
    """All measurements of one name: its costs, and for each the cost of the reference measured around it."""

    costs: Sequence[float]
    references: Sequence[float]

    @property
    def cost(self) -> Spread:
        return spread(self.costs)

    @property
    def reference(self) -> Spread:
        return spread(self.references)

    @property
    def above(self) -> Spread:
        """The spread of the difference between each cost and the reference around it."""
        return spread([cost - reference for cost, reference in zip(self.costs, self.references, strict=True)])

    @property
    def ratio(self) -> Spread:
        """The spread of the ratio of each cost to the reference around it."""
        return spread([cost / reference for cost, reference in zip(self.costs, self.references, strict=True)])


def spread(values: Sequence[float]) -> Spread:
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, middle, high)


def order(names: Sequence[str], reference: str, number: int) -> list[str]:
    """Return the names in the order of round ``number``: the reference is before and after each of the others."""
    rest = [name for name in names if name != reference]
    turn = number % len(rest) if rest else 0
    turns = [*rest[turn:], *rest[:turn]]
    return [reference, *chain.from_iterable((name, reference) for name in turns)]


def take(
    works: Mapping[str, Callable[[], T]], reference: str, number: int, say: Callable[[str], None]
) -> list[tuple[str, T]]:
    """Call the works of round ``number``. Return their results in the order of calls. ``say`` shows the progress."""
    measured = []
    for name in order(tuple(works), reference, number):
        say(f"round {number + 1}: {name}")
        measured.append((name, works[name]()))
    return measured


def measure(works: Mapping[str, Work], reference: str, rounds: int, say: Callable[[str], None]) -> dict[str, Series]:
    """Return the series of each name but the reference's. Each call of a work is one measurement."""
    measured = chain.from_iterable(take(works, reference, number, say) for number in range(rounds))
    return series(list(measured), reference)


def series(measured: Sequence[Measurement], reference: str) -> dict[str, Series]:
    """Return the series of each name, from measurements in the order they were taken.

    Each cost is paired with the mean of the references next to it.
    """
    by_name: dict[str, tuple[list[float], list[float]]] = {}
    for place, (name, cost) in enumerate(measured):
        if name == reference:
            continue
        costs, references = by_name.setdefault(name, ([], []))
        costs.append(cost)
        references.append(statistics.mean(_beside(measured, place, reference)))
    return {name: Series(*pair) for name, pair in by_name.items()}


def _beside(measured: Sequence[Measurement], place: int, reference: str) -> Iterator[float]:
    """Yield the reference nearest before a place, and the one nearest after it, if there are any."""
    before, after = reversed(measured[:place]), measured[place + 1 :]
    for side in (before, after):
        nearest = next((cost for name, cost in side if name == reference), None)
        if nearest is not None:
            yield nearest


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return the exponent by which a cost grows: the slope of the line through both logarithms. 1 is in proportion."""
    slope, _ = statistics.linear_regression([log(size) for size in sizes], [log(cost) for cost in costs])
    return slope
