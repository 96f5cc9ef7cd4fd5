"""Numbers as people read them."""

from collections import Counter
from collections.abc import Iterable

from resty_metrics.shapes.quantile import Quantile

ABSENT = "-"


def number(value: float | None) -> str:
    """Write three significant digits, thousands as k, M, G."""
    if value is None:
        return ABSENT
    for divisor, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= divisor:
            scale = 1e3 if unit == "k" else divisor
            return f"{_significant(value / scale)}{unit}"
    return _significant(value)


def _significant(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.005 else "0"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def percent(share: float | None) -> str:
    """Write a share of 1 as percent, finer near 0 and near 1: 99.996 % becomes 99.99 %, not 100 %."""
    if share is None:
        return ABSENT
    value = share * 100
    if 99 <= value < 100:
        return f"{int(value * 100) / 100:.2f} %"
    if 0 < value < 0.01:
        return "< 0.01 %"
    if 10 <= value < 90 or value in (0, 100):
        return f"{value:.0f} %"
    return f"{value:.1f} %" if value >= 1 else f"{value:.2f} %"


def duration(seconds: float | None) -> str:
    """Write a duration, in units from milliseconds to days."""
    if seconds is None:
        return ABSENT
    if seconds < 1:
        return f"{_short(seconds * 1e3)} ms"
    if seconds < 60:
        return f"{_short(seconds)} s"
    minutes = seconds / 60
    if minutes < 60:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} d"


def quantile(value: Quantile | None) -> str:
    """Write a quantile of durations: ``12 ms``, ``≤ 5 ms``, ``≥ 60 s``."""
    words = duration(value)
    return words if value is None or not value.sign else f"{value.sign} {words}"


def problems(severities: Iterable[str]) -> str:
    """Write how many problems there are: ``1 critical problem and 2 warnings``."""
    counts = Counter(severities)
    words = (("critical", "critical problem"), ("warning", "warning"))
    return " and ".join(
        f"{counts[severity]} {word}{'s' * (counts[severity] > 1)}" for severity, word in words if counts[severity]
    )


def size(value: float | None) -> str:
    """Write bytes in units of 1024."""
    if value is None:
        return ABSENT
    for divisor, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= divisor:
            return f"{_significant(value / divisor)} {unit}"
    return f"{value:.0f} B"
