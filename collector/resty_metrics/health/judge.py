"""Decide which troubles hold, from the facts of one moment.

Rules:
- A healthy system has no trouble. Silence alone is none: the workers of an nginx that is idle after a reload, or never
  used Lua, are as silent as those of one that was stopped. A worker that fell silent without an end is missing.
- One cause makes one trouble: what follows from another trouble is left out. A cause explains a trouble of the same
  nginx, or of any if it concerns them all, and only of the time in which it held: a write that has not finished for 2
  seconds does not explain that nothing has arrived for 60. A status page that cannot be read explains nothing about
  workers.
- Refused datagrams explain that an nginx is not counted if its workers may be the ones that are refused.
- Where only stub_status was ever heard of an nginx, its requests are not missed: it may not use Lua at all. The judge
  reports that the socket is closed to every user that may send; doctor reads the configuration, and knows more.
- A sender that is refused until somebody acts repeats its datagrams within seconds, so such a refusal ends soon after
  the last one. Other events are remembered for longer (observer/observer.py has the windows).
"""

from collections.abc import Iterator, Mapping, Sequence

from resty_metrics.health import remedies
from resty_metrics.health import troubles as kinds
from resty_metrics.health.facts import Counts, Facts, NginxFacts, SourceState
from resty_metrics.health.reach import is_home
from resty_metrics.health.troubles import Kind, Trouble
from resty_metrics.kernel.access import user_label

LEAST_COVERAGE = 0.99  # of nginx's requests
LEAST_SPOOL = 0.2  # of the spool that should be free
LEAST_RATE = 1.0  # requests per second; fewer may be those of our own status pages
SLOW_COMMIT_SECONDS = 1.0
MANY_REBINDS = 3
_NAMED = 5  # names in one text
LOG_HAS = "the collector's log has each problem with its line"
_NOT_READABLE = frozenset({"invalid", "undecodable"})
_BEAT_SECONDS = 5.0
_CLOSED = (kinds.STANDBY, kinds.SOCKET_DOWN, kinds.SOCKET_UNREACHABLE)
_CAUSES: Mapping[Kind, tuple[Kind, ...]] = {
    kinds.NOTHING_ARRIVES: (*_CLOSED, kinds.JOURNAL_STALLS, kinds.REFUSALS),
    kinds.WORKERS_MISSING: (*_CLOSED, kinds.SOCKET_CONTENDED),
    kinds.COVERAGE: (*_CLOSED, kinds.SOCKET_CONTENDED, kinds.NOTHING_ARRIVES, kinds.REFUSALS),
}


def judge(facts: Facts) -> list[Trouble]:
    """Return the troubles that hold, critical ones first."""
    troubles = [*_of_the_socket(facts), *_of_refusals(facts)]
    for nginx in facts.nginx:
        troubles += _of_nginx(nginx)
    troubles += map(_of_source, (source for source in facts.sources if source.reason is not None))
    troubles += [*_of_losses(facts), *_of_the_journal(facts), *_of_the_page(facts)]
    return sorted(_without_symptoms(troubles, facts), key=lambda trouble: trouble.kind.severity != "critical")


def _without_symptoms(troubles: Sequence[Trouble], facts: Facts) -> list[Trouble]:
    """Leave out each trouble that follows from another one, of the collector or of the same nginx."""
    by_name = {nginx.name: nginx for nginx in facts.nginx}

    def follows(trouble: Trouble) -> bool:
        causes = [cause for cause in troubles if cause.kind in _CAUSES.get(trouble.kind, ())]
        return any(_explains(cause, by_name[trouble.nginx], facts) for cause in causes)

    return [trouble for trouble in troubles if not follows(trouble)]


def _explains(cause: Trouble, nginx: NginxFacts, facts: Facts) -> bool:
    """Return whether a possible cause explains the troubles of an nginx, now."""
    if cause.kind is kinds.SOCKET_CONTENDED:
        return facts.socket.contended  # else it was put back, and workers reached it again
    if cause.kind is kinds.JOURNAL_STALLS:
        return facts.journal.waits >= nginx.uncounted_seconds - _BEAT_SECONDS
    if cause.kind is kinds.REFUSALS:
        unknown = nginx.refused is None and not facts.recent.accepted  # so all workers that are heard of are refused
        return not {"uid", "version"}.isdisjoint(facts.recent.refused) and (nginx.refused or unknown)
    return not cause.kind.per_nginx or cause.nginx == nginx.name


def _trouble(kind: Kind, evidence: str, remedy: str = "", nginx: str = "") -> Trouble:
    return Trouble(kind, evidence, remedy or kind.remedy, nginx)


def _of_the_socket(facts: Facts) -> Iterator[Trouble]:
    socket, rebinds = facts.socket, facts.recent.rebinds
    words = "; ".join(socket.faults)
    times = sum(rebinds.values())
    if socket.standing_by:
        yield _trouble(kinds.STANDBY, words or f"another process holds the lock beside {socket.path}")
        return
    if (words or not socket.up) and not socket.contended:
        evidence = words or f"the file at {socket.path} is not the collector's socket, or leads to another process"
        yield _trouble(kinds.SOCKET_DOWN, evidence)
        return
    if socket.contended or times > MANY_REBINDS:
        evidence = f"{socket.path} was put back {times:g} times in ten minutes ({shown(rebinds)}); nothing was lost"
        yield _trouble(kinds.SOCKET_CONTENDED, evidence)
    if socket.obstacle is not None and not socket.contended:
        yield _unreachable(facts)


def _unreachable(facts: Facts) -> Trouble:
    obstacle, path = facts.socket.obstacle, facts.socket.path
    assert obstacle is not None
    node = obstacle.node
    evidence = f"none of the users that may send can {obstacle.need_word} {node.label}"
    if node.path == path:
        remedy = "Restart the collector with --socket.mode=0666, or with 0660 and a group of nginx's user."
    elif is_home(node.path):
        remedy = f"Choose a --socket.path that is not below {node.path}, such as /run/resty-metrics/collector.sock."
    else:
        remedy = (
            f"Let others search {node.path} (chmod o+x {node.path}), or choose a --socket.path below a directory that "
            "nginx's user can search."
        )
    return _trouble(kinds.SOCKET_UNREACHABLE, evidence, remedy)


def _of_refusals(facts: Facts) -> Iterator[Trouble]:
    recent = facts.recent
    refused = dict(recent.refused)
    if "dropped" in recent.lost:  # ROWS_LOST says more
        refused = {reason: count for reason, count in refused.items() if reason not in _NOT_READABLE}
    if refused:
        words = " ".join(remedies.of_refusal(reason, recent.uids, recent.names) for reason in refused)
        counts = sorted(refused.items(), key=lambda item: -item[1])
        evidence = named([refused_datagrams(reason, count, recent.uids, recent.names) for reason, count in counts])
        yield _trouble(kinds.REFUSALS, f"refused lately: {evidence}", words)


def refused_datagrams(reason: str, count: float, uids: Sequence[int], names: Mapping[int, str]) -> str:
    """Write how many datagrams were refused: of which users, as far as they are known, or for which reason."""
    datagrams = f"{count:g} datagram{'' if count == 1 else 's'}"
    if reason != "uid":
        return f"{datagrams} ({reason})"
    if not uids:
        return f"{datagrams} of a user that may not send"
    return f"{datagrams} of {named([user_label(uid, names.get(uid)) for uid in uids])}"


def _of_nginx(nginx: NginxFacts) -> Iterator[Trouble]:
    name = nginx.name
    if nginx.uncounted is not None and nginx.uncounted > LEAST_RATE:
        seconds = f"{nginx.uncounted_seconds:.0f} seconds"
        evidence = f"nginx itself counts {nginx.uncounted:.3g} requests/s, and no request arrived here for {seconds}"
        yield _trouble(kinds.NOTHING_ARRIVES, evidence, nginx=name)
    if nginx.coverage is not None and nginx.coverage < LEAST_COVERAGE:
        evidence = f"the log hook ran for {nginx.coverage:.1%} of the requests of the last five minutes"
        yield _trouble(kinds.COVERAGE, evidence, nginx=name)
    if nginx.missing:
        workers = "1 worker" if nginx.missing == 1 else f"{nginx.missing} workers"
        evidence = f"{workers} sent heartbeats before, and fell silent without ending"
        yield _trouble(kinds.WORKERS_MISSING, evidence, nginx=name)
    if nginx.spool_free is not None and nginx.spool_free < LEAST_SPOOL:
        evidence = f"{nginx.spool_free:.1%} of resty_metrics_spool is free; what does not fit is lost"
        yield _trouble(kinds.SPOOL_FULL, evidence, nginx=name)


def _of_source(source: SourceState) -> Trouble:
    evidence = f"{source.kind} at {source.address}: {source.words or source.reason}"
    return _trouble(kinds.SOURCE_DOWN, evidence, remedies.of_source(source.reason or ""), source.name or "")


def _of_losses(facts: Facts) -> Iterator[Trouble]:
    recent = facts.recent
    if recent.lost:
        evidence = f"rows lost in ten minutes, by reason: {shown(recent.lost)}"
        yield _trouble(kinds.ROWS_LOST, evidence, remedies.of(kinds.ROWS_LOST, recent.lost))
    for nginx, families in _by_nginx(recent.overflow).items():
        most = "".join(
            f"; {label} of {family} has {values} values"
            for family in families
            for label, values in list(facts.full.get(family, ()))[:1]
        )
        yield _trouble(kinds.OVERFLOW, f"rows counted as other in ten minutes: {shown(families)}{most}", nginx=nginx)
    if recent.gauges_cut:
        evidence = f"rows left out in ten minutes: {shown(recent.gauges_cut)}"
        yield _trouble(kinds.GAUGES_CUT, evidence, remedies.of(kinds.GAUGES_CUT, recent.gauges_cut))
    for nginx, errors in _by_nginx(recent.worker_errors).items():
        yield _trouble(kinds.WORKER_ERRORS, f"errors in ten minutes: {shown(errors)}", nginx=nginx)


def _by_nginx(counts: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    by_nginx: dict[str, dict[str, float]] = {}
    for (nginx, name), count in counts.items():
        by_nginx.setdefault(nginx, {})[name] = count
    return by_nginx


def _of_the_journal(facts: Facts) -> Iterator[Trouble]:
    journal = facts.journal
    if journal.directory is None:
        return
    if journal.reason is not None:
        evidence = f"{journal.directory} ({journal.reason}); counters would begin at 0 if the collector ended now"
        remedy = f"{remedies.of_journal(journal.reason)} The journal then comes back by itself."
        yield _trouble(kinds.JOURNAL_DOWN, evidence, remedy)
    elif journal.waits >= SLOW_COMMIT_SECONDS:
        evidence = (
            f"a write to {journal.directory} takes {journal.waits:.1f} s so far; nothing new is counted meanwhile"
        )
        yield _trouble(kinds.JOURNAL_STALLS, evidence)


def _of_the_page(facts: Facts) -> Iterator[Trouble]:
    if facts.misconfigured:
        paths = ", ".join(dict.fromkeys(file.path or "the environment" for file in facts.misconfigured))
        evidence = f"refused: {paths}; {LOG_HAS}"
        words = dict.fromkeys(remedies.of_file(file, facts.pid) for file in facts.misconfigured)
        check = remedies.check_commands(facts.misconfigured)
        yield Trouble(kinds.CONFIG_REFUSED, evidence, " ".join(words), check=check)
    withheld: dict[str, list[str]] = {}
    for nginx, family in facts.withheld:
        withheld.setdefault(nginx, []).append(family)
    for nginx, families in withheld.items():
        yield _trouble(kinds.FAMILY_CONFLICT, f"withheld: {named(families)}", nginx=nginx)


def shown(counts: Counts) -> str:
    """Write counts with their names, the greatest first."""
    return named([f"{name} {count:g}" for name, count in sorted(counts.items(), key=lambda item: -item[1])])


def named(texts: Sequence[str]) -> str:
    """Write the first few of the texts, and the number of the others."""
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f", and {more} more" if more > 0 else "")
