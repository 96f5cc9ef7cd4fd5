"""Numbers as a narrow column shows them: three or four digits and a unit."""

import math
from collections.abc import Callable, Mapping

from resty_metrics.commands.doctor.report import printable
from resty_metrics.commands.top.tables import Cell, Column, Kind
from resty_metrics.shapes.quantile import Quantile

NOT_KNOWN = "-"
_LONG = (("m", 60, 6_000), ("h", 3_600, 172_800), ("d", 86_400, math.inf))


def shown(cell: Cell, kind: Kind) -> str:
    """Write one cell. Text from a page cannot move the cursor."""
    if cell is None:
        return NOT_KNOWN
    if isinstance(cell, Quantile) and cell.sign:
        return f"{cell.sign}{bound(cell)}"
    return printable(cell) if isinstance(cell, str) else _FIGURES[kind](cell)


def marked(cell: Cell, column: Column) -> str:
    """Write one cell, with the mark of a figure above its threshold: colours may be missing."""
    text = shown(cell, column.kind)
    return f"!{text}" if column.marks(cell) else text


def _digits(value: float) -> str:
    if value < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def rate(value: float) -> str:
    """Write a rate: ``0``, ``0.25``, ``1234``, ``12.3k``."""
    if value == 0:
        return "0"
    if value < 9999.5:
        return _digits(value)
    return _scaled(value)


def _scaled(value: float) -> str:
    for unit in ("", "k", "M", "G", "T"):
        if value < 999.5:
            break
        if unit != "T":
            value /= 1000
    return f"{value:.0f}" if not unit else f"{_digits(value)}{unit}"


def ratio(value: float) -> str:
    """Write a ratio: ``0%``, ``0.04%``, ``100%``. It is never rounded to all or to nothing."""
    if value in (0, 1):
        return f"{value:.0%}"
    percent = min(max(value * 100, 0.01), 99.99)
    return f"{percent:.2f}%" if percent < 9.995 or percent > 99.9 else f"{percent:.1f}%"


def seconds(value: float) -> str:
    """Write a duration: ``3.1ms``, ``1.25s``, ``5m``, ``3h``, ``2d``."""
    if value == 0:
        return "0"
    if value < 0.9995:
        return f"{value * 1000:.1f}ms" if value < 0.00995 else f"{value * 1000:.0f}ms"
    if value < 99.5:
        return f"{value:.2f}s" if value < 9.995 else f"{value:.1f}s"
    unit, length = next((unit, length) for unit, length, most in _LONG if value < most)
    return f"{value / length:.0f}{unit}"


def bound(value: float) -> str:
    """Write the bound of a bucket, which is a round number: ``5ms``, ``2.5s``."""
    return f"{value * 1000:g}ms" if value < 1 else f"{value:g}s"


_FIGURES: Mapping[Kind, Callable[[float], str]] = {
    "text": str,
    "rate": rate,
    "bytes": lambda value: "0" if value == 0 else _scaled(value),
    "ratio": ratio,
    "seconds": seconds,
    "count": lambda value: f"{value:.0f}" if value < 99_999.5 else _scaled(value),
}
