"""One problem for each cause: what follows from another problem is shown as SKIP, and the first thing to fix is first.

Rules:
- Only what is known is a cause; "not known" is none.
- A check that fails since it could not look (no collector to ask) follows too.
- A stranger that holds the socket, and a directory in its place, are causes of their own: they stay there when the
  collector runs again. So is an answer in another version of the wire, which only a collector gives.
- What is judged by a setting that is not known follows from the reason why that is so.
- Problems stand first, failures before warnings; among them the order of the pipeline holds: causes come first. A file
  with which the collector would not start again is above all: the remedies of others may be a restart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from resty_metrics.commands.doctor.finding import Finding, Verdict

_SOCKET = ("collector.process", "collector.descriptors", "socket.path", "socket.holder")
_REACH = ("nginx.socket", "reach.socket", "reach.uid")
_HOOKS = ("nginx.include", "nginx.shadowed", "nginx.code-cache", "nginx.lua", "reach.lua")
# By check, or by the name of a trouble that the collector reports: its possible causes, named likewise.
_CAUSES: Mapping[str, tuple[str, ...]] = {
    "socket.path": ("collector.process", "socket_contended"),
    "reach.socket": ("socket.path", "socket.holder"),
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
# By setting: the checks that are judged by it.
JUDGED_BY: Mapping[str, tuple[str, ...]] = {
    "socket_path": ("socket.path", "socket.lock", "socket.holder", "socket.probe", "nginx.socket", "reach.socket"),
    "socket_allow_uid": ("reach.uid",),
    "web_listen_address": ("page.answers", "page.ready"),
    "web_telemetry_path": ("page.answers",),
    "web_config_file": ("page.answers", "page.ready"),
}
CONFIGURATION = "collector.configuration"
_UNKNOWN = "not known"
_MAY_FOLLOW_UNKNOWN = frozenset({"versions"})
_OF_THEIR_OWN = (
    ("socket.holder", "an impostor"),
    ("socket.path", "is a directory"),
    ("socket.probe", "another version"),
    ("reach.socket", "may not search"),
)


def fold(findings: Sequence[Finding], unknown: Mapping[str, str] = MappingProxyType({})) -> list[Finding]:
    """Return the findings, problems first; each that follows from another problem is a SKIP that names the cause.

    ``unknown``: settings that are not known, each with the check that gives the reason.
    """
    unread = {check: cause for setting, cause in unknown.items() for check in JUDGED_BY.get(setting, ())}
    known = [finding for finding in findings if finding.is_problem and not finding.evidence.startswith(_UNKNOWN)]
    causes = {finding.trouble or finding.check for finding in known}
    return in_order(_folded(finding, causes, unread) for finding in findings)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return a file that would stop the collector, failures, warnings, then the others, each in their own order."""
    ranks = {Verdict.FAIL: 0, Verdict.WARN: 1}
    return sorted(findings, key=lambda finding: -1 if finding.check == CONFIGURATION else ranks.get(finding.verdict, 2))


def _folded(finding: Finding, causes: set[str], unread: Mapping[str, str]) -> Finding:
    if not finding.is_problem:
        return finding
    cause = unread.get(finding.check)
    if cause is None and not _stands_alone(finding):
        candidates = _CAUSES.get(finding.trouble or finding.check, ())
        cause = next((candidate for candidate in candidates if candidate in causes), None)
    if cause is None:
        return finding
    return replace(finding, verdict=Verdict.SKIP, evidence=f"follows from {cause}: {finding.evidence}", remedy=None)


def _stands_alone(finding: Finding) -> bool:
    if any(finding.check == check and words in finding.evidence for check, words in _OF_THEIR_OWN):
        return True
    return finding.evidence.startswith(_UNKNOWN) and finding.check not in _MAY_FOLLOW_UNKNOWN
