"""What the page says of the families of rows: ``page.overflow``, ``page.labels``, ``page.conflicts``.

Rule: whoever reads that a family is full wants to know by which label: it is the one with the most values.
"""

from collections.abc import Iterable

from collector.advice import warnings
from collector.doctor.finding import Finding, as_remedy, ok, warn
from collector.doctor.page import Page

_REMEDY = as_remedy(warnings.OVERFLOW.do)


def check(page: Page) -> list[Finding]:
    """All that a page tells of them."""
    return [_overflow(page), _labels(page), _conflicts(page)]


def _widest(page: Page) -> dict[str, tuple[str, float]]:
    """By family its label with the most values, of the families that are at half of their cap or above."""
    found: dict[str, tuple[str, float]] = {}
    for labels, count in page.series("label_values").items():
        said = dict(labels)
        family, label = said.get("family", ""), said.get("label", "")
        if count > found.get(family, ("", 0.0))[1]:
            found[family] = (label, count)
    return found


def _named(families: Iterable[str], widest: dict[str, tuple[str, float]]) -> str:
    with_label = {name: f" (label {widest[name][0]}: {widest[name][1]:g} values)" for name in widest}
    return ", ".join(f"{text}{with_label.get(text.split()[0], '')}" for text in families)


def _overflow(page: Page) -> Finding:
    found, words = page.by("overflow_rows_total", "family"), "rows counted as other"
    if not found:
        return ok("page.overflow", f"{words}: none since the collector's start")
    seen = _named([f"{name} {count:g}" for name, count in sorted(found.items())], _widest(page))
    return warn("page.overflow", f"{words}, of families at their cap: {seen}", _REMEDY)


def _labels(page: Page) -> Finding:
    widest = _widest(page)
    if not widest:
        return ok("page.labels", "no family has half as many rows as it may have")
    seen = f"at half of their cap of rows or above: {_named(sorted(widest), widest)}"
    return warn("page.labels", seen, _REMEDY)


def _conflicts(page: Page) -> Finding:
    found = sorted(page.by("family_conflict", "family"))
    if not found:
        return ok("page.conflicts", "no two families claim one name")
    seen = f"withheld from the page, since a metric of yours has this name or that of a sample: {', '.join(found)}"
    return warn("page.conflicts", seen, as_remedy(warnings.CONFLICT.do))
