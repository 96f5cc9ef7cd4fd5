"""Small charts as SVG paths, in a box of WIDTH by HEIGHT units that the page stretches.

Rules:
- One unit across is one sample's time; now is at the right edge.
- An unknown value is a gap, never 0, and so is a missing interval. A value between two gaps is a dot.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import TypeVar

from resty_metrics.live.history import SAMPLE_SECONDS, SPAN_SECONDS, Point

WIDTH, HEIGHT = int(SPAN_SECONDS / SAMPLE_SECONDS), 100
STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
GAP_SECONDS = 0.5  # between the end of one interval and the beginning of the next

Value = Callable[[Point], float | None]
Place = tuple[int, int]
Number = TypeVar("Number", bound=float)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart.

    ``name``: its class; ``path``: the line itself; ``area``: the area below it, empty if not filled.
    """

    name: str
    path: str
    area: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. ``most``: the value at the upper edge, in words; ``text``: a description for screen readers."""

    lines: Sequence[Line]
    most: str
    text: str


def nice(value: float) -> float:
    """Return the next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15 ... that is not below ``value``; 0 stays 0."""
    if value <= 0:
        return 0.0
    power = 10.0 ** floor(log10(value))
    return float(next(step * power for step in STEPS if step * power >= value * (1 - 1e-9)))


def line(name: str, points: Iterable[Point], value: Value, most: float, now: float, fill: bool = False) -> Line:
    """Draw one value of the points; the upper edge stands for ``most``."""
    runs = [_thin(run) for run in _runs(_places(points, value, most, now))]
    path = "".join("M" + "L".join(f"{x} {y}" for x, y in (run if len(run) > 1 else run * 2)) for run in runs)
    return Line(name, path, "".join(_area(run) for run in runs) if fill else "")


def _places(points: Iterable[Point], value: Value, most: float, now: float) -> Iterable[Place | None]:
    ended = 0.0
    for point in points:
        if point.end - point.seconds - ended > GAP_SECONDS:
            yield None
        ended = point.end
        number = value(point)
        x = round(WIDTH - (now - point.end) / SAMPLE_SECONDS)
        if number is None or x < 0:
            yield None
        else:
            yield x, HEIGHT - round(HEIGHT * min(1.0, number / most)) if most > 0 else HEIGHT


def _runs(places: Iterable[Place | None]) -> Iterable[list[Place]]:
    """Yield the runs of places between gaps."""
    run: list[Place] = []
    for place in places:
        if run and place is None:
            yield run
            run = []
        if place is not None:
            run.append(place)
    if run:
        yield run


def _area(run: Sequence[Place]) -> str:
    first, last = run[0][0], run[-1][0]
    return f"M{first} {HEIGHT}L" + "L".join(f"{x} {y}" for x, y in run) + f"L{last} {HEIGHT}Z"


def _thin(path: Sequence[Place]) -> list[Place]:
    """Remove the places that lie on a level with both neighbours."""
    kept = [
        place
        for (_, before), place, (_, after) in zip(path, path[1:], path[2:], strict=False)
        if not before == place[1] == after
    ]
    return [path[0], *kept, path[-1]] if len(path) > 2 else [*path]


def span(values: Iterable[Number | None], words: Callable[[Number | None], str]) -> str:
    """Describe the range of a line in words, such as ``between 3 and 12``, for people who do not see it."""
    known = [value for value in values if value is not None]
    if not known:
        return "not known"
    low, high = words(min(known)), words(max(known))
    return low if low == high else f"between {low} and {high}"
