"""All checks over all facts, in the order of the pipeline: collector, socket, nginx, page. Pure."""

import re
import shlex
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from resty_metrics.commands.doctor import (
    descriptors,
    families,
    page,
    processes,
    reach,
    reported,
    socket_file,
    versions,
)
from resty_metrics.commands.doctor import nginx_checks as checks
from resty_metrics.commands.doctor import nginx_deaths as deaths
from resty_metrics.commands.doctor.facts import Fetched, Instance, Looked, Subject
from resty_metrics.commands.doctor.finding import Finding, Verdict, not_known, ok, skip, warn
from resty_metrics.commands.doctor.folding import fold
from resty_metrics.commands.doctor.page import Page
from resty_metrics.commands.doctor.versions import Installed
from resty_metrics.nginx_config import statements
from resty_metrics.process.command_line import command

_COMMAND = re.compile(r"\bresty-metrics (doctor|serve|install)\b")

Check = tuple[str, Callable[[], Finding | Iterable[Finding]]]


def judge(subject: Subject, looked: Looked) -> list[Finding]:
    """Return every finding, problems first. A check that fails itself becomes a finding, and hides no other."""
    findings: list[Finding] = []
    for name, check in (*_socket(subject, looked), *_nginx(subject, looked), *_page(subject, looked)):
        try:
            found = check()
            findings += [found] if isinstance(found, Finding) else found
        except Exception as error:
            findings.append(failed(name, error))
    return fold(list(dict.fromkeys(_pasteable(one, subject) for one in findings)))


def _pasteable(finding: Finding, subject: Subject) -> Finding:
    """Put the examined socket and the given nginx into each command of the remedy, so that it can be pasted."""
    if finding.remedy is None:
        return finding

    def whole(found: re.Match[str]) -> str:
        nginx = subject.nginx_command if found[1] == "install" else None
        return command(found[1], subject.socket_path) + (f" --nginx.command={shlex.quote(nginx)}" if nginx else "")

    return replace(finding, remedy=_COMMAND.sub(whole, finding.remedy))


def failed(check: str, error: Exception) -> Finding:
    """Report a check, or the look it needs, that failed in an unexpected way."""
    return not_known(check, f"the check itself failed: {type(error).__name__}: {error}", "please report this")


def _socket(subject: Subject, looked: Looked) -> list[Check]:
    path, holders, probe = subject.socket_path, looked.holders, looked.probe
    answered = probe is not None and probe.outcome == "answered"
    absent = subject.choice or socket_file.start(subject.unit)
    gone = absent if subject.running is None else socket_file.PUT_BACK
    found: list[Check] = [
        ("collector.process", lambda: socket_file.collector(subject.running, answered, absent)),
        ("collector.settings", lambda: _settings(subject)),
    ]
    open_files, pid = subject.descriptors, subject.pid
    if open_files is not None and pid is not None:
        found.append(("collector.descriptors", lambda: descriptors.check(pid, open_files)))
    if holders is not None:
        found.append(("socket.path", lambda: socket_file.path(path, holders.file, holders.error, gone)))
    found.append(("socket.lock", lambda: socket_file.lock(subject.lock, subject.running, answered, absent)))
    if holders is not None and holders.file is not None and stat.S_ISSOCK(holders.file.mode):
        sight = processes.Sight(subject.pid, subject.root, answered)
        found += [
            ("socket.holder", lambda: processes.holder(path, holders.bound, sight)),
            ("socket.open", lambda: processes.opened(holders.bound, subject.own)),
            ("socket.senders", lambda: processes.senders(holders.connected, subject.pid)),
        ]
    if probe is not None:
        found.append(("socket.probe", lambda: socket_file.probe(probe, gone)))
    workers = sum(len(one.workers) for one in looked.instances)
    foreign = subject.pid if subject.in_another_network else None
    found.append(("socket.queue", lambda: socket_file.queue(subject.queue, foreign, workers)))
    if looked.others is not None:
        others = looked.others
        found.append(("processes", lambda: processes.others(others, subject.pid, path, subject.own)))
    return found


def _settings(subject: Subject) -> list[Finding]:
    found = []
    if subject.taken:
        words = " ".join(f"{flag}={value}" for flag, values in subject.taken.items() for value in values)
        found.append(ok("collector.settings", f"taken from process {subject.pid}: {words}"))
    if subject.configuration is not None:
        remedy = "correct that and see with resty-metrics check-config: the collector would not start again with it"
        found.append(warn("collector.configuration", subject.configuration, remedy))
    return found


def _targets(instance: Instance, path: str) -> set[str]:
    """Return the sockets that the workers send to. Another name for our socket is returned as our path."""
    if instance.configured is None:
        return set()
    nginx = instance.configured
    stated = statements.sockets(nginx.configuration, nginx.prefix, nginx.texts)
    return {path if one.value in nginx.aliases else one.value for one in stated}


def _knows_us(instance: Instance) -> bool:
    nginx = instance.configured
    return nginx is not None and statements.mentions_us(nginx.configuration, nginx.texts)


def _nginx(subject: Subject, looked: Looked) -> list[Check]:
    if not looked.instances:
        return [("nginx.configuration", _no_nginx)]
    path = subject.socket_path
    known = [one for one in looked.instances if _knows_us(one)]
    elsewhere = {one.socket_path for one in looked.others or () if one.socket_path not in (None, path)}
    served = any(path in _targets(one, path) for one in known)
    found: list[Check] = []
    for one in looked.instances:
        targets = _targets(one, path)
        if one.configured is not None and known and one not in known:
            part = [_word("nginx.include", "it does not use resty-metrics, and another nginx does")]
        elif one.trouble is not None and one.trouble.verdict is Verdict.WARN and known:
            part = [_aside(one.trouble)]
        elif served and targets and targets <= elsewhere:
            part = [_word("nginx.socket", f"its workers send to another collector, at {', '.join(sorted(targets))}")]
        else:
            part = _instance(subject, one, looked)
        found += [_labelled(check, one.label) for check in part] if len(looked.instances) > 1 else part
    return found


def _word(check: str, seen: str) -> Check:
    return (check, lambda: ok(check, seen))


def _aside(trouble: Finding) -> Check:
    """Lower the verdict on an nginx that may not concern us, where another nginx does."""
    return (trouble.check, lambda: replace(trouble, verdict=Verdict.SKIP))


def _labelled(check: Check, label: str) -> Check:
    """Return the check with the name of its nginx in front of each finding."""
    name, run = check

    def named() -> list[Finding]:
        found = run()
        findings = [found] if isinstance(found, Finding) else found
        return [replace(one, seen=f"{label}: {one.seen}") for one in findings]

    return name, named


def _no_nginx() -> Finding:
    return not_known(
        "nginx.configuration",
        "no nginx runs here and none is installed",
        "run doctor where nginx runs, or give --nginx.command",
    )


def _instance(subject: Subject, one: Instance, looked: Looked) -> list[Check]:
    running = frozenset() if looked.page is None else frozenset(looked.page.by("lua_info", "version"))
    found: list[Check] = []
    trouble, configured, way, confined = one.trouble, one.configured, one.socket_way, one.confinement
    if trouble is not None:
        found.append(("nginx.configuration", lambda: trouble))
    if configured is not None:
        found.append(("nginx.configuration", lambda: checks.check(configured, subject.socket_path, running)))
    found.append(("nginx.workers", lambda: _workers(one, subject.root)))
    found.append(("workers.died", lambda: deaths.check(one.logs)))
    if way is not None:
        found.append(("reach.socket", lambda: reach.socket(one.users, way)))
    elif configured is not None and looked.holders is not None and (looked.holders.file or looked.holders.error):
        found.append(("reach.socket", lambda: reach.unseen(subject.socket_path)))
    found.append(("reach.uid", lambda: reach.uid_filter(one.users, subject.filter)))
    if one.lua_ways:
        found.append(("reach.lua", lambda: reach.lua_files(one.users, one.lua_ways)))
    if confined is not None:
        found.append(("reach.confinement", lambda: reach.confinement(confined)))
    return found


def _workers(one: Instance, root: bool) -> Finding:
    if not one.workers and one.master is not None:
        seen = f"master {one.master} runs no worker that takes requests"
        return warn("nginx.workers", seen, "it is about to end, or its workers end at once: see nginx's error log")
    if not one.workers and root and one.pid_file is not None:
        seen = f"nginx does not run here: {one.pid_file} names no master that runs"
        return warn("nginx.workers", seen, "start nginx")
    if not one.workers:
        return not_known(
            "nginx.workers", f"no worker of {one.label} is seen running", "start nginx, or run doctor as root"
        )
    named = ", ".join(user.label for user in one.users)
    if one.stated is not None and one.stated.uid not in {user.uid for user in one.users}:
        seen = f"the configuration says {one.stated.label}, but {len(one.workers)} workers run as {named}"
        return warn("nginx.workers", seen, "reload or restart nginx, so that both agree")
    return ok("nginx.workers", f"{len(one.workers)} workers run as {named}")


def _page(subject: Subject, looked: Looked) -> list[Check]:
    found: list[Check] = []
    answer, shown, ready = looked.answer, looked.page, looked.ready
    foreign = subject.pid if subject.in_another_network else None
    if answer is not None:
        found.append(("page.answers", lambda: page.answers(answer, shown, foreign)))
    if ready is not None and answer is not None and answer.error is None:
        found.append(("page.ready", lambda: page.ready(ready, shown)))
    if shown is not None:
        running = _running(looked.instances, subject.socket_path)
        found.append(("page", lambda: reported.check(shown, subject.state_dir, running)))
        found.append(("page.overflow", lambda: families.check(shown)))
    found += [_fetched(one, foreign) for one in looked.sources]
    found.append(("versions", lambda: versions.check(_installed(looked.instances, shown))))
    return found


def _running(instances: Iterable[Instance], path: str) -> dict[str, int]:
    """Count the running workers that send to this path, by the name of their nginx.

    The count is 0 where several masters have one name, since the page counts the workers of a single master.
    """
    found: dict[str, int] = {}
    for one in instances:
        nginx = one.configured
        if nginx is not None and _knows_us(one) and path in _targets(one, path):
            name = statements.name(nginx.configuration, nginx.prefix, nginx.texts)
            found[name] = 0 if name in found else len(one.workers)
    return found


def _fetched(one: Fetched, foreign: int | None) -> Check:
    if one.withheld:
        seen = f"{one.url}: the files it names are for the collector, which is another user or in another container"
        return (f"source.{one.name}", lambda: skip(f"source.{one.name}", seen))
    return (f"source.{one.name}", lambda: page.fetched(one.name, one.url, one.error, one.families, foreign))


def _installed(instances: Sequence[Instance], shown: Page | None) -> Installed:
    files = {path: version for one in instances for path, version in one.module_versions.items()}
    if shown is None:
        return Installed((), (), files)
    return Installed(sorted(shown.by("build_info", "version")), sorted(shown.by("lua_info", "version")), files)
