"""A forecast of the proof, made before anything is changed: the dry run shows it, and the run follows it.

Rules:
- A reason is a fact that no change of ours alters: nginx is not running, the page does not answer, nginx's workers may
  not send, nginx counts a test request at no address. Then the run is refused before it changes anything.
- What cannot be known from here (a collector in another process namespace, an address that the reload will open) is no
  reason.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from resty_metrics.commands.doctor import reach
from resty_metrics.commands.doctor.facts import Subject
from resty_metrics.commands.doctor.finding import Verdict
from resty_metrics.commands.doctor.settings import Settings
from resty_metrics.commands.install import obstacles, request, targets
from resty_metrics.commands.install.facts import Facts, Plan
from resty_metrics.commands.install.nginx import Nginx
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.commands.install.targets import Candidates, Coverage, Target
from resty_metrics.kernel.processes import namespaces_of
from resty_metrics.nginx_config import hooks, statements
from resty_metrics.nginx_config.statements import Stated

SHOWN = 8  # reasons against addresses
_UNTESTED = "To install without a test, give --without-proof"


@dataclass(frozen=True, slots=True)
class Prospect:
    """``targets``: where the request will go, one after the other. ``reasons``: why none could be seen to count."""

    targets: tuple[Target, ...]
    reasons: tuple[str, ...]

    @property
    def words(self) -> str:
        """The address of the first request, and the number of those to fall back on."""
        first, further = self.targets[0].label, len(self.targets) - 1
        return first if not further else f"{first} (or to {further} other{'s' if further > 1 else ''})"


def look(settings: Settings, subject: Subject, target: Nginx, facts: Facts, planned: Plan) -> Prospect:
    """Collect all that can be known about a proof. ``planned``: the changes that come before it."""
    reasons = [*_of_nginx(target), *_of_collector(settings, facts), *of_sending(subject, target, facts, planned)]
    candidates = targets.find(_coverage(facts), lambda host: facts.resolved.get(host, ()))
    if not candidates.targets:
        return Prospect((), (*reasons, *_nowhere(facts, candidates)))
    if target.master is None:
        return Prospect(candidates.targets, tuple(reasons))
    near = tuple(
        candidate for candidate in candidates.targets if candidate.unix is not None or not _elsewhere(target.master)
    )
    reached, failures = request.reachable(near)
    if facts.unread:  # the reload may open what is closed now
        reached = (*reached, *failures)
    if not reached:
        away = [
            f"{candidate.label}: it is in another network namespace"
            for candidate in candidates.targets
            if candidate not in near
        ]
        evidence = _first((*failures.values(), *away, *candidates.against))
        words = "no address at which nginx would count a test request can be reached"
        reasons.append(f"{words}: {evidence}. {_UNTESTED}")
    return Prospect(reached, tuple(reasons))


def _elsewhere(master: int) -> bool:
    """Return whether nginx listens in another network namespace. Its unix sockets can be reached all the same."""
    network = namespaces_of(master).get("net")
    return network is not None and network != namespaces_of(os.getpid()).get("net")


def _of_nginx(target: Nginx) -> list[str]:
    if target.master is not None:
        return []
    return [f"{target.label} is not running, so no request can be sent as a test. Start it, or give --without-proof"]


def _of_collector(settings: Settings, facts: Facts) -> list[str]:
    try:
        request.page(settings)
    except RefusedError as refused:
        words = "the collector's page must show that a test request is counted. Start the collector (resty-metrics "
        return [*refused.reasons, f"{words}serve), give its --web.listen-address, or give --without-proof"]
    if not Path(facts.socket_path).exists():
        return [f"there is no socket {facts.socket_path}. Give the collector's --socket.path"]
    return []


def of_sending(subject: Subject, target: Nginx, facts: Facts, planned: Plan) -> Iterator[str]:
    """Yield why the collector would not receive, or would refuse, the datagrams of nginx's workers."""
    configured = target.configured
    known = {facts.socket_path, *configured.aliases}
    for stated in statements.sockets(configured.configuration, configured.prefix, configured.texts):
        if stated.value not in known and not _is_replaced(stated, facts, planned):
            yield (
                f"{stated.place}: workers send to {stated.value}, not to {facts.socket_path}. Change that line, or "
                f"give --socket.path={stated.value}"
            )
    findings = [] if target.socket_way is None else reach.socket(target.users, target.socket_way)
    if subject.running is not None:
        findings += reach.uid_filter(target.users, subject.filter)
    yield from (f"{finding.evidence} -> {finding.remedy}" for finding in findings if finding.verdict is Verdict.FAIL)


def _is_replaced(stated: Stated, facts: Facts, planned: Plan) -> bool:
    """Return whether the changes state another socket in the place of this one."""
    if not planned.configuration:
        return False
    if stated.directive is None or stated.directive.file.startswith(f"{facts.share}/"):
        return True
    return any(
        change.path == stated.directive.file and stated.value.encode() not in (change.after or b"")
        for change in planned.configuration
    )


def _coverage(facts: Facts) -> Coverage:
    """Return the hooks as they will be: where there is none in ``http``, ours comes with the include."""
    log_hooks = hooks.find(facts.configuration, facts.prefix, facts.texts)
    ours = not obstacles.is_there(facts, log_hooks)
    outer = ours if log_hooks.outer is None else log_hooks.outer.counts
    return Coverage(log_hooks, outer, facts.configuration, facts.prefix, facts.texts)


def _first(reasons: Sequence[str]) -> str:
    more = len(reasons) - SHOWN
    return "; ".join((*reasons[:SHOWN], *([f"and {more} more"] if more > 0 else [])))


def _nowhere(facts: Facts, candidates: Candidates) -> list[str]:
    """Return why no server counts what it gives up, and the lines with which one would."""
    log_hooks = hooks.find(facts.configuration, facts.prefix, facts.texts)
    lines = obstacles.shadows(facts, (hook for hook in log_hooks.inner if hook.counts is False))
    evidence = _first(candidates.against) or "it listens on no address"
    return [
        f"no address of nginx would count a test request: {evidence}. {_UNTESTED}",
        *(["to count requests there, add these lines, do not reload nginx yet, and run this again:"] if lines else []),
        *lines,
    ]
