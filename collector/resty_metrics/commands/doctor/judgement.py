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
from resty_metrics.commands.doctor.folding import CONFIGURATION, fold
from resty_metrics.commands.doctor.instances import knows_us, name_of, running_workers, targets_of
from resty_metrics.commands.doctor.page import Page
from resty_metrics.commands.doctor.ready_words import ReadyWords
from resty_metrics.commands.doctor.versions import Installed
from resty_metrics.config.problem import ConfigError
from resty_metrics.process.command_line import command

_COMMAND = re.compile(r"\bresty-metrics (doctor|serve|install)\b")

Check = tuple[str, Callable[[], Finding | Iterable[Finding]]]


def judge(subject: Subject, looked: Looked) -> list[Finding]:
    """Return every finding, problems first. A check that fails itself becomes a finding, and hides no other."""
    findings: list[Finding] = []
    for name, check in (*_socket(subject, looked), *_nginx(subject, looked), *_page(subject, looked)):
        try:
            outcome = check()
            findings += [outcome] if isinstance(outcome, Finding) else outcome
        except Exception as error:
            findings.append(failed(name, error))
    return fold(list(dict.fromkeys(_pasteable(finding, subject) for finding in findings)), subject.unknown)


def _pasteable(finding: Finding, subject: Subject) -> Finding:
    """Put the examined socket and the given nginx into each command of the remedy, so that it can be pasted."""
    if finding.remedy is None:
        return finding

    def whole(match: re.Match[str]) -> str:
        nginx = subject.nginx_command if match[1] == "install" else None
        return command(match[1], subject.socket_path) + (f" --nginx.command={shlex.quote(nginx)}" if nginx else "")

    return replace(finding, remedy=_COMMAND.sub(whole, finding.remedy))


def failed(check: str, error: Exception) -> Finding:
    """Report a check, or the look it needs, that failed in an unexpected way."""
    return not_known(check, f"the check itself failed: {type(error).__name__}: {error}", "please report this")


def _socket(subject: Subject, looked: Looked) -> list[Check]:
    path, holders, probe = subject.socket_path, looked.holders, looked.probe
    answered = probe is not None and probe.outcome == "answered"
    absent = subject.choice or socket_file.start(subject.unit, subject.lock)
    gone = absent if subject.running is None else socket_file.PUT_BACK
    planned: list[Check] = [
        ("collector.process", lambda: socket_file.collector(subject.running, answered, absent)),
        ("collector.settings", lambda: _settings(subject)),
    ]
    open_files, pid = subject.descriptors, subject.pid
    if open_files is not None and pid is not None:
        planned.append(("collector.descriptors", lambda: descriptors.check(pid, open_files)))
    if holders is not None:
        planned.append(("socket.path", lambda: socket_file.path(path, holders.file, holders.error, gone)))
    planned.append(("socket.lock", lambda: socket_file.lock(subject.lock, subject.running, answered, absent)))
    if holders is not None and holders.file is not None and stat.S_ISSOCK(holders.file.mode):
        sight = processes.Sight(subject.pid, subject.root, answered, gone)
        planned += [
            ("socket.holder", lambda: processes.holder(path, holders.bound, sight)),
            ("socket.open", lambda: processes.opened(holders.bound, subject.own)),
            ("socket.senders", lambda: processes.senders(holders.connected, subject.pid)),
        ]
    if probe is not None:
        planned.append(("socket.probe", lambda: socket_file.probe(probe, gone)))
    workers = sum(len(instance.workers) for instance in looked.instances)
    foreign = subject.pid if subject.in_another_network else None
    planned.append(("socket.queue", lambda: socket_file.queue(subject.queue, foreign, workers)))
    if looked.other_processes is not None:
        other_processes = looked.other_processes
        planned.append(
            ("processes", lambda: processes.other_processes(other_processes, subject.pid, path, subject.own))
        )
    return planned


def _settings(subject: Subject) -> list[Finding]:
    findings = []
    if subject.applied_flags:
        words = " ".join(f"{flag}={value}" for flag, values in subject.applied_flags.items() for value in values)
        findings.append(ok("collector.settings", f"flags of process {subject.pid}: {words}"))
    if subject.configuration is not None:
        findings.append(_configuration(subject, subject.configuration))
    return findings


def _configuration(subject: Subject, fault: ConfigError) -> Finding:
    """Report a file with which the collector would not start again, or that only root may read."""
    evidence = "; ".join(str(fault).splitlines())
    if not subject.root and "Permission denied" in evidence:
        return warn(CONFIGURATION, evidence, "run doctor as root")
    check = f"resty-metrics check-config {shlex.quote(fault.file)}"
    return warn(
        CONFIGURATION,
        f"{evidence}: the collector uses the settings that it read before, and would not start again with this file",
        f"do not restart the collector before the file is correct: correct it, check it ({check}), then reload it "
        f"(kill -HUP {subject.pid})",
    )


def _nginx(subject: Subject, looked: Looked) -> list[Check]:
    if not looked.instances:
        return [("nginx.configuration", _no_nginx)]
    path = subject.socket_path
    known = [instance for instance in looked.instances if knows_us(instance)]
    elsewhere = {
        process.socket_path for process in looked.other_processes or () if process.socket_path not in (None, path)
    }
    undecided = elsewhere.union(subject.candidates) if subject.choice else frozenset[str]()
    served = any(path in targets_of(instance, path) for instance in known)
    planned: list[Check] = []
    for instance in looked.instances:
        targets = targets_of(instance, path)
        if instance.configured is not None and known and instance not in known:
            part = [_word("nginx.include", "this nginx does not use resty-metrics, but another one does")]
        elif instance.trouble is not None and instance.trouble.verdict is Verdict.WARN and known:
            part = [_aside(instance.trouble)]
        elif targets and targets <= undecided:
            part = [_undecided(targets)]
        elif served and targets and targets <= elsewhere:
            part = [_word("nginx.socket", f"its workers send to another collector, at {', '.join(sorted(targets))}")]
        else:
            part = _instance(subject, instance, looked)
        label = f"{instance.label}: " if len(looked.instances) > 1 else ""
        planned += [_of(instance, label, check) for check in part]
    return planned


def _undecided(targets: Iterable[str]) -> Check:
    evidence = f"follows from collector.process: its workers send to the collector at {', '.join(sorted(targets))}"
    return ("nginx.socket", lambda: Finding("nginx.socket", Verdict.SKIP, evidence))


def _word(check: str, evidence: str) -> Check:
    return (check, lambda: ok(check, evidence))


def _aside(trouble: Finding) -> Check:
    """Lower the verdict on an nginx that may not concern us, where another nginx does."""
    return (trouble.check, lambda: replace(trouble, verdict=Verdict.SKIP))


def _of(instance: Instance, label: str, check: Check) -> Check:
    """Return the check with the label in front of each finding, and remedies that reload this nginx."""
    name, run = check

    def named() -> Iterable[Finding]:
        outcome = run()
        for finding in [outcome] if isinstance(outcome, Finding) else outcome:
            remedy = finding.remedy and finding.remedy.replace(checks.RELOAD, instance.reload)
            yield replace(finding, evidence=f"{label}{finding.evidence}", remedy=remedy, nginx=name_of(instance))

    return name, named


def _no_nginx() -> Finding:
    return not_known(
        "nginx.configuration",
        "no nginx runs here and none is installed",
        "run doctor where nginx runs, or give --nginx.command",
    )


def _instance(subject: Subject, instance: Instance, looked: Looked) -> list[Check]:
    running = frozenset() if looked.page is None else frozenset(looked.page.by("lua_info", "version"))
    planned: list[Check] = []
    trouble, configured = instance.trouble, instance.configured
    way, confined = instance.socket_way, instance.confinement
    if trouble is not None:
        planned.append(("nginx.configuration", lambda: trouble))
    if configured is not None:
        planned.append(("nginx.configuration", lambda: checks.check(configured, subject.socket_path, running)))
    planned.append(("nginx.workers", lambda: _workers(instance, subject.root)))
    planned.append(("workers.died", lambda: deaths.check(instance.logs)))
    if way is not None:
        planned.append(("reach.socket", lambda: reach.socket(instance.users, way)))
    elif configured is not None and looked.holders is not None and (looked.holders.file or looked.holders.error):
        planned.append(("reach.socket", lambda: reach.unseen(subject.socket_path)))
    planned.append(("reach.uid", lambda: reach.uid_filter(instance.users, subject.filter)))
    if instance.lua_ways:
        planned.append(("reach.lua", lambda: reach.lua_files(instance.users, instance.lua_ways)))
    if confined is not None:
        planned.append(("reach.confinement", lambda: reach.confinement(confined)))
    return planned


def _workers(instance: Instance, root: bool) -> Finding:
    if not instance.workers and instance.master is not None:
        evidence = f"master {instance.master} runs no worker that takes requests"
        return warn(
            "nginx.workers",
            evidence,
            "see nginx's error log: nginx is about to end, or its workers end as soon as they start",
        )
    if not instance.workers and root and instance.pid_file is not None:
        evidence = f"nginx does not run here: {instance.pid_file} names no running master"
        return warn("nginx.workers", evidence, "start nginx")
    if not instance.workers:
        return not_known(
            "nginx.workers", f"no worker of {instance.label} can be seen", "start nginx, or run doctor as root"
        )
    named = ", ".join(user.label for user in instance.users)
    if instance.stated is not None and instance.stated.uid not in {user.uid for user in instance.users}:
        evidence = f"the configuration says {instance.stated.label}, but {len(instance.workers)} workers run as {named}"
        return replace(
            warn("nginx.workers", evidence, "reload or restart nginx, so that its workers run as the configured user"),
            is_cause=False,
        )
    return ok("nginx.workers", f"{len(instance.workers)} workers run as {named}")


def _page(subject: Subject, looked: Looked) -> list[Check]:
    planned: list[Check] = []
    answer, shown, ready = looked.answer, looked.page, looked.ready
    foreign = subject.pid if subject.in_another_network else None
    if answer is not None:
        planned.append(("page.answers", lambda: page.answers(answer, shown, foreign)))
    if ready is not None and answer is not None and answer.error is None:
        planned.append(("page.ready", lambda: page.ready(ready, shown)))
    if shown is not None:
        running = running_workers(subject, looked)
        names = {user.uid: user.name for instance in looked.instances for user in instance.users if user.name}
        words = ReadyWords("" if ready is None else ready.text, subject.pid, names)
        planned.append(("page", lambda: reported.check(shown, subject.state_dir, running, words)))
        planned.append(("page.overflow", lambda: families.check(shown)))
    planned += [_fetched(source, foreign) for source in looked.sources]
    planned.append(("versions", lambda: versions.check(_installed(looked.instances, shown))))
    return planned


def _fetched(source: Fetched, foreign: int | None) -> Check:
    check = f"source.{source.name}"
    if source.withheld:
        words = "doctor does not read the files of this source: the collector is another user, or in another container"
        return (check, lambda: skip(check, f"{source.url}: {words}"))
    return (check, lambda: page.fetched(source.name, source.url, source.error, source.families, foreign, source.nginx))


def _installed(instances: Sequence[Instance], shown: Page | None) -> Installed:
    files = {path: version for instance in instances for path, version in instance.module_versions.items()}
    if shown is None:
        return Installed((), (), files)
    return Installed(sorted(shown.by("build_info", "version")), sorted(shown.by("lua_info", "version")), files)
