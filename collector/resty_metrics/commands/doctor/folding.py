"""One problem for each cause: what follows from another problem is shown as SKIP, and the first thing to fix is first.

Rules:
- Only what is known is a cause; "not known" is none.
- A check that fails since it could not look (no collector to ask) follows too.
- A stranger that holds the socket, and a directory in its place, are causes of their own: they stay there when the
  collector runs again. So is an answer in another version of the wire, which only a collector gives.
- Problems stand first, failures before warnings; among them the order of the pipeline holds: causes come first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from resty_metrics.commands.doctor.finding import Finding, Verdict

_SOCKET = ("collector.process", "collector.descriptors", "socket.path", "socket.holder")
_REACH = ("nginx.socket", "reach.socket", "reach.uid")
_HOOKS = ("nginx.include", "nginx.shadowed", "nginx.code-cache", "nginx.lua", "reach.lua")
# By check, or by the name of a trouble that the collector reports: its possible causes, named likewise.
_CAUSES: Mapping[str, tuple[str, ...]] = {
    "socket.path": ("collector.process", "socket_contended"),
    "socket.lock": ("collector.process", "processes"),
    "socket.holder": ("collector.process", "socket.path"),
    "socket.probe": (*_SOCKET, "socket_contended", "versions"),
    "page.answers": ("collector.process", "collector.descriptors"),
    "page.ready": ("collector.process", "collector.descriptors", "page.answers"),
    "versions": ("collector.process", "page.answers"),
    "source.stub_status": ("nginx.workers",),
    "source.vts": ("nginx.workers",),
    "standby": ("processes", "socket.lock"),
    "socket_down": _SOCKET,
    "socket_contended": ("socket.holder",),
    "socket_unreachable": ("reach.socket",),
    "refusals": ("reach.uid", "versions"),
    "nothing_arrives": (*_SOCKET, *_REACH, *_HOOKS, "nginx.workers"),
    "coverage": (*_SOCKET, *_REACH, *_HOOKS, "workers.died"),
    "workers_missing": (*_SOCKET, *_REACH, "nginx.workers", "workers.died"),
    "worker_errors": ("reach.lua",),
    "source_down": ("source.stub_status", "source.vts", "nginx.workers"),
    "config_refused": ("collector.configuration",),
}
_UNKNOWN = "not known"
_MAY_FOLLOW_UNKNOWN = frozenset({"versions"})
_OF_THEIR_OWN = (
    ("socket.holder", "an impostor"),
    ("socket.path", "is a directory"),
    ("socket.probe", "another version"),
)


def fold(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings, problems first; each that follows from another problem is a SKIP that names the cause."""
    known = [finding for finding in findings if finding.is_problem and not finding.evidence.startswith(_UNKNOWN)]
    causes = {finding.trouble or finding.check for finding in known}
    return in_order(_folded(finding, causes) for finding in findings)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return failures, then warnings, then the others, each in their own order."""
    ranks = {Verdict.FAIL: 0, Verdict.WARN: 1}
    return sorted(findings, key=lambda finding: ranks.get(finding.verdict, 2))


def _folded(finding: Finding, causes: set[str]) -> Finding:
    if not finding.is_problem or _stands_alone(finding):
        return finding
    cause = next(
        (candidate for candidate in _CAUSES.get(finding.trouble or finding.check, ()) if candidate in causes), None
    )
    if cause is None:
        return finding
    return replace(finding, verdict=Verdict.SKIP, evidence=f"follows from {cause}: {finding.evidence}", remedy=None)


def _stands_alone(finding: Finding) -> bool:
    if any(finding.check == check and words in finding.evidence for check, words in _OF_THEIR_OWN):
        return True
    return finding.evidence.startswith(_UNKNOWN) and finding.check not in _MAY_FOLLOW_UNKNOWN
