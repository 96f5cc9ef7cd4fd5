"""The troubles that a page reports, each with this view's figures as evidence.

Rule: the collector alone judges. Titles and remedies are those of the closed list; a remedy that depends on a reason
takes the reasons that grew lately, or all that were counted where none did.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from resty_metrics.commands.top import health, page
from resty_metrics.commands.top.meter import View
from resty_metrics.commands.top.page import OURS, SPOOL, Page, Series
from resty_metrics.health import remedies
from resty_metrics.health import troubles as kinds
from resty_metrics.health.troubles import BY_NAME, KINDS, Kind, Severity, title_of
from resty_metrics.process.command_line import DEFAULT_SOCKET, command

_WORDS = {"doctor": "doctor", "watch": "doctor --watch"}


@dataclass(frozen=True, slots=True)
class Trouble:
    """A finding and its remedy. ``name``: the trouble's alert; None where the look itself failed."""

    evidence: str
    remedy: str
    name: str | None = None
    severity: Severity = "warning"


_SILENT = Trouble(
    "the collector of this page reports no troubles: it is of another release",
    "Install the same release of both.",
)


def held(now: Page) -> list[tuple[Kind, str]]:
    """Return each trouble that the page reports, and the name of its nginx, in the order of the closed list."""
    labelled = [labels for labels, value in now.labelled(f"{OURS}trouble") if value]
    troubles = [
        (BY_NAME[labels["trouble"]], labels.get("nginx", "")) for labels in labelled if labels.get("trouble") in BY_NAME
    ]
    return sorted(troubles, key=lambda trouble: (KINDS.index(trouble[0]), trouble[1]))


def warnings(view: View, socket_path: str = DEFAULT_SOCKET) -> list[Trouble]:
    """Return the troubles, critical ones first. ``socket_path``: the collector's, for the commands to run."""
    if not view.page.series(f"{OURS}trouble"):
        return [_SILENT]
    troubles = [_trouble(view, kind, nginx, socket_path) for kind, nginx in held(view.page)]
    return sorted(troubles, key=lambda trouble: trouble.severity != "critical")


def _trouble(view: View, kind: Kind, nginx: str, socket_path: str) -> Trouble:
    title = title_of(kind, nginx)
    figures = "; ".join(_FIGURES[kind](view, nginx)) if kind in _FIGURES else ""
    remedy = remedies.of(kind, _reasons(view, kind.counters))
    run = _command(kind, socket_path)
    do = f"{remedy} Run: {run}" if run else remedy
    return Trouble(f"{title}: {figures}" if figures else title, do, kind.alert, kind.severity)


def _command(kind: Kind, socket_path: str) -> str:
    """Return the command that helps, empty if there is none."""
    if kind.command == "check-config":
        return "resty-metrics check-config FILE"
    return "" if kind.command is None else f"sudo {command(_WORDS[kind.command], socket_path)}"


# evidence ------------------------------------------------------------------------------------------------------------


def _events(view: View, names: Iterable[str], label: str, nginx: str | None = None) -> dict[str, float]:
    """Return the counts of this view's last minute, by a label. ``nginx`` None: of all."""
    return _summed((view.events.get(OURS + name, {}) for name in names), label, nginx)


def _summed(families: Iterable[Series], label: str, nginx: str | None = None) -> dict[str, float]:
    sums: dict[str, float] = {}
    for family in families:
        for text, count in family.items():
            labels = page.labels(text)
            if count and nginx in (None, labels.get("nginx", "")):
                name = labels.get(label, "")
                sums[name] = sums.get(name, 0.0) + count
    return sums


def _reasons(view: View, names: Iterable[str]) -> list[str]:
    """Return the reasons that were counted lately, else those that were ever counted."""
    lately = _events(view, names, "reason")
    ever = _summed((view.page.series(OURS + name) for name in names), "reason")
    return sorted(reason for reason in lately or ever if reason != "not_ready")


def _counted(kind: Kind) -> Callable[[View, str], Iterator[str]]:
    def figures(view: View, nginx: str) -> Iterator[str]:
        lately = _events(view, kind.counters, "reason", nginx if kind.per_nginx else None)
        if lately:
            yield _shown(lately)

    return figures


def _overflow(view: View, _: str) -> Iterator[str]:
    lately = _events(view, ("overflow_rows_total", "worker_overflow_total"), "family")
    if lately:
        yield f"rows counted as other: {_shown(lately)}"


def _coverage(view: View, nginx: str) -> Iterator[str]:
    for labels, share in view.page.labelled(f"{OURS}coverage_ratio"):
        if labels.get("nginx", "") == nginx:
            yield f"{share:.1%} are counted"


def _workers(view: View, nginx: str) -> Iterator[str]:
    reporting = {labels.get("nginx", ""): value for labels, value in view.page.labelled(f"{OURS}workers_seen")}
    for labels, expected in view.page.labelled(f"{OURS}workers_expected"):
        if labels.get("nginx", "") == nginx:
            yield f"{reporting.get(nginx, 0):g} of {expected:g} are heard of"


def _sources(view: View, nginx: str) -> Iterator[str]:
    for labels, up in view.page.labelled(f"{OURS}source_up"):
        if not up and labels.get("source") != "lua" and labels.get("nginx", "") == nginx:
            yield health.source_name(labels)


def _spool(view: View, nginx: str) -> Iterator[str]:
    free = view.page.series(f"{OURS}shared_dict_free_bytes")
    for text, capacity in view.page.series(f"{OURS}shared_dict_capacity_bytes").items():
        labels = page.labels(text)
        if labels.get("dict") == SPOOL and labels.get("nginx", "") == nginx and capacity:
            yield f"{free.get(text, capacity) / capacity:.1%} is free"


def _withheld(view: View, nginx: str) -> Iterator[str]:
    for labels, value in view.page.labelled(f"{OURS}family_conflict"):
        if value and labels.get("nginx", "") == nginx:
            yield labels.get("family", "")


def _stalls(view: View, _: str) -> Iterator[str]:
    waits = view.page.value(f"{OURS}journal_pending_seconds")
    if waits:
        yield f"the oldest record has waited for {waits:.1f} s"


_FIGURES: Mapping[Kind, Callable[[View, str], Iterator[str]]] = {
    **{kind: _counted(kind) for kind in KINDS if kind.counters},
    kinds.OVERFLOW: _overflow,
    kinds.COVERAGE: _coverage,
    kinds.WORKERS_MISSING: _workers,
    kinds.SOURCE_DOWN: _sources,
    kinds.SPOOL_FULL: _spool,
    kinds.FAMILY_CONFLICT: _withheld,
    kinds.JOURNAL_STALLS: _stalls,
}


def _shown(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {count:g}".strip() for name, count in sorted(counts.items()))
