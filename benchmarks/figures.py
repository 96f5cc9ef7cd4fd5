"""The figures of a benchmark: each is a line of the table, and an object of the JSON.

A figure carries its reference *from the same run*, and the number to reach if the design has one.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rounds import Spread

QUIET_LOAD = 0.5


@dataclass(frozen=True, slots=True)
class Reach:
    """A number to reach: the most that a figure may be, or with ``least`` the least."""

    number: float
    least: bool = False

    def reached(self, value: float) -> bool:
        return value >= self.number if self.least else value <= self.number

    def __str__(self) -> str:
        return f"{'>=' if self.least else '<='} {short(self.number)}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure. ``value``: median and quartiles over ``rounds``. ``reach`` None: nothing was promised.

    ``reference``: (name, its median, spread of the ratio to it).
    """

    subject: str
    title: str
    unit: str
    value: Spread
    rounds: int
    reference: tuple[str, float, Spread] | None = None
    reach: Reach | None = None

    @property
    def reached(self) -> bool | None:
        return None if self.reach is None else self.reach.reached(self.value.middle)

    def to_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "subject": self.subject,
            "what": self.title,
            "unit": self.unit,
            "value": self.value.middle,
            "quartiles": [self.value.low, self.value.high],
            "rounds": self.rounds,
        }
        if self.reference is not None:
            name, value, ratio = self.reference
            fields["reference"] = {"what": name, "value": value}
            fields["ratio"], fields["ratio_quartiles"] = ratio.middle, [ratio.low, ratio.high]
        if self.reach is not None:
            fields["reach"], fields["reached"] = str(self.reach), self.reached
        return fields


def short(value: float) -> str:
    """Return a number as short text: about three significant digits, with thousands separators."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


HEADS = ("what", "figure", "unit", "quartiles", "reference", "its figure", "ratio", "to reach")


def _cells(figure: Figure) -> tuple[str, ...]:
    value = figure.value
    reference, reference_value, ratio = "", "", ""
    if figure.reference is not None:
        reference, number, ratios = figure.reference
        reference_value, ratio = short(number), short(ratios.middle)
    reach = "" if figure.reach is None else f"{figure.reach} {'yes' if figure.reached else 'NO'}"
    quartiles = f"{short(value.low)} .. {short(value.high)}" if figure.rounds > 1 else ""
    return (figure.title, short(value.middle), figure.unit, quartiles, reference, reference_value, ratio, reach)


def table(figures: Sequence[Figure]) -> str:
    """Return a table of one subject's figures, as text for a terminal."""
    lines = [HEADS, *map(_cells, figures)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = {1, 5, 6}
    rows = [
        "  ".join(cell.rjust(width) if place in right else cell.ljust(width) for place, (cell, width) in enumerate(row))
        for row in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    return "\n".join(row.rstrip() for row in rows)


def markdown(figures: Sequence[Figure]) -> str:
    """Return a table of one subject's figures in Markdown, as in docs/performance.md."""
    lines = [HEADS, tuple("---" for _ in HEADS), *map(_cells, figures)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def machine() -> dict[str, Any]:
    """Describe this machine: CPU, versions, and its load before the measurement. ``quiet``: it was idle."""
    cpus = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr.strip()
    return {
        "cpu": cpus[0] if cpus else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nginx": version.rpartition("/")[2],
        "load": os.getloadavg()[0],
        "quiet": os.getloadavg()[0] <= QUIET_LOAD,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def document(where: Mapping[str, Any], figures: Iterable[Figure]) -> str:
    """Return the JSON text of a run."""
    return json.dumps({"machine": where, "figures": [figure.to_json() for figure in figures]}, indent=1) + "\n"
