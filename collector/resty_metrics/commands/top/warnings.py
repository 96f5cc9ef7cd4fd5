"""The troubles that a page reports, each with this view's figures as evidence; and findings about the site's requests.

Rule: the collector alone judges the pipeline. Titles and remedies are those of the closed list; a remedy that depends
on a reason takes the reasons that grew lately, or all that were counted where none did.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from resty_metrics.commands.top import health, page
from resty_metrics.commands.top.meter import View
from resty_metrics.commands.top.page import OURS, SPOOL, Page, Series
from resty_metrics.health import remedies
from resty_metrics.health import troubles as kinds
from resty_metrics.health.facts import RefusedFile
from resty_metrics.health.judge import refused_datagrams
from resty_metrics.health.troubles import BY_NAME, KINDS, Kind, Severity, title_of
from resty_metrics.live import site
from resty_metrics.live.site import Finding
from resty_metrics.process.command_line import DEFAULT_SOCKET, command
from resty_metrics.shapes.labels import ABSENT

_WORDS = {"doctor": "doctor", "watch": "doctor --watch"}


@dataclass(frozen=True, slots=True)
class Trouble:
    """A finding and its remedy. ``name``: the trouble's alert; None where the look itself failed."""

    evidence: str
    remedy: str
    name: str | None = None
    severity: Severity = "warning"


_SILENT = Trouble(
    "this collector reports no troubles, since it is of another release",
    "Install the same release of top and the collector.",
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
    troubles += map(_of_site, site.judge(view.loads))
    return sorted(troubles, key=lambda trouble: trouble.severity != "critical")


def _trouble(view: View, kind: Kind, nginx: str, socket_path: str) -> Trouble:
    title = title_of(kind, nginx)
    figures = "; ".join(_FIGURES[kind](view, nginx)) if kind in _FIGURES else ""
    remedy = _REMEDIES[kind](view) if kind in _REMEDIES else remedies.of(kind, _reasons(view, kind.counters))
    run = _command(kind, socket_path)
    do = f"{remedy} Run: {run}" if run else remedy
    return Trouble(f"{title}: {figures}" if figures else title, do, kind.alert, kind.severity)


def _command(kind: Kind, socket_path: str) -> str:
    """Return the command that helps, empty if there is none."""
    return f"sudo {command(_WORDS[kind.command], socket_path)}" if kind.command in _WORDS else ""


def _of_site(finding: Finding) -> Trouble:
    return Trouble(f"{finding.title}: {finding.evidence}", finding.remedy, finding.name, finding.severity)


# remedies that name users and files -----------------------------------------------------------------------------------


def _users(page: Page) -> dict[int, str]:
    """Return the users whose datagrams are refused, each with its name, empty where it is not known."""
    labelled = (labels for labels, value in page.labelled(f"{OURS}refused_user") if value)
    return {int(labels["uid"]): _known(labels, "user") for labels in labelled if labels.get("uid", "").isdecimal()}


def _known(labels: Mapping[str, str], name: str) -> str:
    value = labels.get(name, ABSENT)
    return "" if value == ABSENT else value


def _names(users: Mapping[int, str]) -> dict[int, str]:
    return {uid: name for uid, name in users.items() if name}


def _of_refusals(view: View) -> str:
    users = _users(view.page)
    texts = (remedies.of_refusal(reason, [*users], _names(users)) for reason in _reasons(view, kinds.REFUSALS.counters))
    return " ".join(dict.fromkeys(texts)) or kinds.REFUSALS.remedy


def _files(page: Page) -> list[RefusedFile]:
    labelled = [labels for labels, value in page.labelled(f"{OURS}refused_file") if value]
    return [RefusedFile(_known(labels, "file"), labels.get("kind") == "web") for labels in labelled]


def _of_configuration(view: View) -> str:
    texts = (remedies.of_file(file, None) for file in _files(view.page))
    return " ".join(dict.fromkeys(texts)) or kinds.CONFIG_REFUSED.remedy


_REMEDIES: Mapping[Kind, Callable[[View], str]] = {
    kinds.REFUSALS: _of_refusals,
    kinds.CONFIG_REFUSED: _of_configuration,
}


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


def _refusals(view: View, _: str) -> Iterator[str]:
    lately, users = _events(view, kinds.REFUSALS.counters, "reason"), _users(view.page)
    counts = sorted(((count, reason) for reason, count in lately.items() if reason != "not_ready"), reverse=True)
    yield from (refused_datagrams(reason, count, [*users], _names(users)) for count, reason in counts)


def _configuration(view: View, _: str) -> Iterator[str]:
    yield from (file.path or "the environment" for file in _files(view.page))


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
            yield f"{reporting.get(nginx, 0):g} of {expected:g} report"


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
    kinds.REFUSALS: _refusals,
    kinds.CONFIG_REFUSED: _configuration,
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
