"""Checks of the families of rows on the page: ``page.overflow``, ``page.labels``, ``page.conflicts``.

Rule: a finding about a full family names the label that fills it, the one with the most values.
"""

from collections.abc import Iterable, Mapping

from resty_metrics.commands.doctor import reported
from resty_metrics.commands.doctor.finding import Finding, Verdict, as_remedy, ok
from resty_metrics.commands.doctor.page import Page
from resty_metrics.health import troubles as kinds


def check(page: Page) -> list[Finding]:
    """Return all findings about families on a page."""
    return [_overflow(page), _labels(page), _conflicts(page)]


def _widest(page: Page) -> dict[str, tuple[str, float]]:
    """Return the label with the most values of each family that is at half of its cap or above."""
    widest: dict[str, tuple[str, float]] = {}
    for labels, count in page.series("label_values").items():
        by_name = dict(labels)
        family, label = by_name.get("family", ""), by_name.get("label", "")
        if count > widest.get(family, ("", 0.0))[1]:
            widest[family] = (label, count)
    return widest


def _named(families: Iterable[str], widest: dict[str, tuple[str, float]]) -> str:
    with_label = {name: f" (label {widest[name][0]}: {widest[name][1]:g} values)" for name in widest}
    return ", ".join(f"{text}{with_label.get(text.split()[0], '')}" for text in families)


def _overflow(page: Page) -> Finding:
    """Check ``page.overflow``. Counts of before are no problem: the collector says whether there are new ones."""
    overflowing, words = page.by("overflow_rows_total", "family"), "rows counted as other since the collector's start"
    for family, count in page.by("worker_overflow_total", "family").items():
        overflowing[family] = overflowing.get(family, 0) + count
    if not overflowing:
        return ok("page.overflow", f"{words}: none")
    evidence = _named([f"{name} {count:g}" for name, count in sorted(overflowing.items())], _widest(page))
    kind = kinds.OVERFLOW
    if any(trouble is kind for trouble, _ in reported.held(page)):
        return Finding("page.overflow", Verdict.WARN, f"{words}: {evidence}", as_remedy(kind.remedy), kind.name)
    return ok("page.overflow", f"{words}: {evidence}; none lately")


def _labels(page: Page) -> Finding:
    widest = _widest(page)
    if not widest:
        return ok("page.labels", "no family has half as many rows as it may have")
    return ok("page.labels", f"at half of their cap of rows or above: {_named(sorted(widest), widest)}")


def _conflicts(page: Page) -> Finding:
    withheld: dict[str, set[str]] = {}  # names of nginx, "" for one without, by family
    for labels, value in page.series("family_conflict").items():
        if value > 0:
            withheld.setdefault(dict(labels).get("family", ""), set()).add(dict(labels).get("nginx", ""))
    if not withheld:
        return ok("page.conflicts", "no two families have the same name or the same series")
    by_label = {name for name, instances in withheld.items() if _has_own_label(page, name, instances)}
    reasons = [f"another one has its name or its series: {_of_nginx(withheld, by_label ^ withheld.keys())}"]
    if by_label:
        reasons = reasons if by_label < withheld.keys() else []
        why = (
            "an nginx without a name has a label nginx of yours, which makes series that may be those of another nginx"
        )
        reasons.append(f"{why}: {_of_nginx(withheld, by_label)}")
    kind = kinds.FAMILY_CONFLICT
    do = kinds.RELABEL if by_label == withheld.keys() else kind.remedy
    words = f"withheld from the page, since {'; since '.join(reasons)}"
    return Finding("page.conflicts", Verdict.WARN, words, as_remedy(do), kind.name)


def _of_nginx(withheld: Mapping[str, set[str]], families: Iterable[str]) -> str:
    shown = [(family, instance) for family in sorted(families) for instance in sorted(withheld[family])]
    return ", ".join(f"{family} of nginx {instance}" if instance else family for family, instance in shown)


def _has_own_label(page: Page, family: str, withheld: set[str]) -> bool:
    """Return whether the page shows the family with a label ``nginx`` that names no nginx that may be there."""
    names = {dict(labels).get("nginx") for labels in page.series("source_up")} - withheld
    samples = (page.samples.get(family + suffix, {}) for suffix in ("", "_count"))
    shown = {dict(labels).get("nginx") for series in samples for labels in series}
    return not shown <= {*names, None}
