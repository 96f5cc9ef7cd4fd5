"""One problem for each cause: what follows from another problem is shown as SKIP, and the first thing to fix is first.

Rules:
- Only what is known is a cause; "not known" is none.
- A finding follows only from one that is as severe or worse, of the same nginx. A cause without an nginx, such as a
  collector that is down, explains findings of each; a finding without one may follow from a cause of any.
- Where both name their parts (users, sources, workers), the causes must have all the parts of what follows.
- A few causes explain a failure though they are warnings in themselves. They are failures then.
- A socket that is replaced again and again is missing in some moments. doctor sees one moment, the collector all of
  them: so its warning explains a socket that is missing now.
- A stranger that holds the socket, and a directory in its place, are causes of their own: they stay there when the
  collector runs again. So is an answer in another version of the wire, which only a collector gives.
- What is judged by a setting that is not known follows from the reason why that is so.
- Problems stand first, failures before warnings; among them the order of the pipeline holds: causes come first. A file
  with which the collector would not start again is above all: the remedies of others may be a restart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from resty_metrics.commands.doctor.finding import UNKNOWN_NGINX, Finding, Verdict

_SOCKET = ("collector.process", "collector.descriptors", "socket.path", "socket.holder")
_REACH = ("nginx.socket", "reach.socket", "reach.uid")
_HOOKS = ("nginx.include", "nginx.shadowed", "nginx.code-cache", "nginx.lua", "reach.lua")
# By check, or by the name of a trouble that the collector reports: its possible causes, named likewise.
_CAUSES: Mapping[str, tuple[str, ...]] = {
    "socket.path": ("collector.process", "socket_contended"),
    "reach.socket": ("socket.path", "socket.holder"),
    "socket.lock": ("collector.process", "processes"),
    "socket.holder": ("collector.process", "socket.path"),
    "socket.probe": (*_SOCKET, "socket_contended"),
    "page.answers": ("collector.process", "collector.descriptors"),
    "page.ready": ("collector.process", "collector.descriptors", "page.answers"),
    "versions": ("socket.probe",),
    "source.stub_status": ("nginx.workers",),
    "source.vts": ("nginx.workers",),
    "workers.seen": (*_SOCKET, *_REACH, "reach.lua", "nginx.workers", "socket_contended", "refusals"),
    "standby": ("processes", "socket.lock"),
    "socket_down": _SOCKET,
    "socket_contended": ("socket.holder",),
    "socket_unreachable": ("reach.socket",),
    "refusals": ("reach.uid", "versions"),
    "nothing_arrives": (*_SOCKET, *_REACH, *_HOOKS, "nginx.workers"),
    "coverage": (*_SOCKET, *_REACH, *_HOOKS, "workers.died"),
    "workers_missing": (*_SOCKET, "reach.socket", "nginx.workers", "workers.died"),
    "source_down": ("source.stub_status", "source.vts", "nginx.workers"),
    "config_refused": ("collector.configuration",),
}
# Warnings that are the whole reason of a failure: by what fails.
_WHOLE: Mapping[str, tuple[str, ...]] = {
    "source.stub_status": ("nginx.workers",),
    "source.vts": ("nginx.workers",),
    "nothing_arrives": ("nginx.workers", "nginx.shadowed"),
}
_OF_ONE_MOMENT = frozenset({("socket_contended", "socket.path"), ("socket_contended", "socket.probe")})
# By setting: the checks that are judged by it.
JUDGED_BY: Mapping[str, tuple[str, ...]] = {
    "socket_path": ("socket.path", "socket.lock", "socket.holder", "socket.probe", "nginx.socket", "reach.socket"),
    "socket_allow_uid": ("reach.uid",),
    "web_listen_address": ("page.answers", "page.ready"),
    "web_telemetry_path": ("page.answers",),
    "web_config_file": ("page.answers", "page.ready"),
}
CONFIGURATION = "collector.configuration"
_RANKS = {Verdict.FAIL: 0, Verdict.WARN: 1}


def fold(findings: Sequence[Finding], unknown: Mapping[str, str] = MappingProxyType({})) -> list[Finding]:
    """Return the findings, problems first; each that follows from another problem is a SKIP that names the cause.

    ``unknown``: settings that are not known, each with the check that gives the reason.
    """
    unread = {check: cause for setting, cause in unknown.items() for check in JUDGED_BY.get(setting, ())}
    raised = [_raised(finding, findings) for finding in findings]
    causes = [finding for finding in raised if finding.is_problem and finding.is_cause]
    return in_order(_folded(finding, causes, unread) for finding in raised)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return a file that would stop the collector, failures, warnings, then the others, each in their own order."""
    return sorted(findings, key=_rank)


def _rank(finding: Finding) -> int:
    return -1 if finding.check == CONFIGURATION else _RANKS.get(finding.verdict, 2)


def _name(finding: Finding) -> str:
    return finding.trouble or finding.check


def _raised(cause: Finding, findings: Sequence[Finding]) -> Finding:
    """Return the cause as a failure if it is the whole reason of one."""
    if cause.verdict is not Verdict.WARN or not cause.is_cause:
        return cause
    failed = [finding for finding in findings if finding.verdict is Verdict.FAIL and finding.may_follow]
    whole = any(_name(cause) in _WHOLE.get(_name(finding), ()) and _has_all(cause, finding) for finding in failed)
    return replace(cause, verdict=Verdict.FAIL) if whole else cause


def _has_all(cause: Finding, finding: Finding) -> bool:
    """Return whether a cause concerns the nginx and all the parts of a finding, as far as these are known."""
    return _concerns(cause, finding) and (not cause.parts or finding.parts <= cause.parts)


def _folded(finding: Finding, causes: Sequence[Finding], unread: Mapping[str, str]) -> Finding:
    if not finding.is_problem:
        return finding
    cause = unread.get(finding.check) or _cause(finding, causes)
    if cause is None:
        return finding
    return replace(finding, verdict=Verdict.SKIP, evidence=f"follows from {cause}: {finding.evidence}", remedy=None)


def _cause(finding: Finding, causes: Sequence[Finding]) -> str | None:
    """Return the name of the cause of a finding; None if it is a problem of its own."""
    if not finding.may_follow:
        return None
    possible = [
        cause
        for name in _CAUSES.get(_name(finding), ())
        for cause in causes
        if _name(cause) == name and _is_as_bad(cause, finding) and _concerns(cause, finding)
    ]
    whole = [cause for cause in possible if not cause.parts or not finding.parts]
    if not whole and not finding.parts <= frozenset[str]().union(*(cause.parts for cause in possible)):
        return None
    return next((_name(cause) for cause in whole or possible), None)


def _is_as_bad(cause: Finding, finding: Finding) -> bool:
    return _RANKS[cause.verdict] <= _RANKS[finding.verdict] or (_name(cause), _name(finding)) in _OF_ONE_MOMENT


def _concerns(cause: Finding, finding: Finding) -> bool:
    """Return whether a cause concerns the nginx of a finding."""
    if cause.nginx is None or finding.nginx is None:
        return True
    return cause.nginx == finding.nginx != UNKNOWN_NGINX
