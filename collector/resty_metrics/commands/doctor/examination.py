"""The whole examination: look at everything at once, then judge.

Rules:
- Time is bounded: finding the collector takes at most 2 s, everything else together 8 s.
- A look that fails becomes a finding and hides nothing else.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn, ParamSpec, TypeVar

from resty_metrics.commands.doctor import page, report
from resty_metrics.commands.doctor.facts import Fetched, Instance, Looked, Subject
from resty_metrics.commands.doctor.finding import EXIT_STATUS, Finding, not_known, worst
from resty_metrics.commands.doctor.folding import in_order
from resty_metrics.commands.doctor.judgement import failed, judge
from resty_metrics.commands.doctor.observe import collector, nginx, nginx_commands, probe, web
from resty_metrics.commands.doctor.page import Answer, Page
from resty_metrics.commands.doctor.reach import Filter
from resty_metrics.commands.doctor.settings import Settings, merged, unread
from resty_metrics.commands.doctor.socket_file import LockFile
from resty_metrics.kernel.processes import describe, namespaces_of
from resty_metrics.process.ending import end
from resty_metrics.process.log import LOGGER
from resty_metrics.sources.fetch import Scrape

FIND_SECONDS = 2.0
LOOK_SECONDS = 8.0

T = TypeVar("T")
P = ParamSpec("P")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread that cannot delay the end: a dead file system must not keep doctor from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]
            else:
                future.set_exception(error)

    def work() -> None:
        result, fault = None, None
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            fault = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, fault)

    threading.Thread(target=work, daemon=True).start()
    return await future


class _Looking:
    """The looks at the machine, each bounded in time. ``findings``: one for each look that failed."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    async def at(self, check: str, seconds: float, looking: Awaitable[T], otherwise: T) -> T:
        """Return the result of ``looking``, or ``otherwise`` if it fails or takes more than ``seconds``."""
        try:
            return await asyncio.wait_for(looking, seconds)
        except TimeoutError:
            self.findings.append(
                not_known(
                    check,
                    f"the check took more than {seconds:g} s",
                    "run doctor again; if that recurs, check whether a file system or a server of this check hangs",
                )
            )
        except Exception as error:
            self.findings.append(failed(check, error))
        return otherwise


def find(settings: Settings) -> tuple[Settings, Subject]:
    """Find the collector by the lock beside the socket; else, where no path was given, take the only one that runs."""
    lock = collector.lock_of(settings.socket_path)
    pid = collector.pid_of(lock)
    candidates: Mapping[int, str] = {}
    if pid is None and "socket_path" not in settings.explicit:
        candidates = collector.serving()
        pid = next(iter(candidates)) if len(candidates) == 1 else None
    running_flags, directory, written, trouble = collector.settings_of(pid)
    settings, applied_flags = merged(settings, running_flags, directory, written)
    process = None if pid is None else describe(pid)
    unknown = frozenset[str]() if trouble is None else unread(settings, applied_flags)
    return settings, Subject(
        socket_path=str(settings.socket_path),
        state_dir="" if settings.state_dir is None or "state_dir" in unknown else str(settings.state_dir),
        applied_flags=applied_flags,
        lock=collector.lock_of(settings.socket_path),
        running=collector.running(pid),
        descriptors=collector.descriptors(pid),
        filter=Filter(None if process is None else process.uid, collector.allowed_uids(pid, settings.socket_allow_uid)),
        in_another_network=collector.in_another_network(pid),
        queue=collector.queue_length(),
        own=namespaces_of(os.getpid()),
        root=os.geteuid() == 0,
        configuration=trouble,
        unread=unknown,
        confides=collector.confides(pid),
        candidates=() if pid is not None else tuple(sorted(set(candidates.values()))),
        unit=collector.has_unit(settings.socket_path),
        nginx_command=settings.nginx_command,
    )


def _unfound(settings: Settings) -> tuple[Settings, Subject]:
    """Return the subject where even looking for the collector failed."""
    lock = LockFile(f"{settings.socket_path}.lock", exists=False, holder=None, written=None)
    nobody = Filter(None, frozenset())
    root = os.geteuid() == 0
    return settings, Subject(str(settings.socket_path), "", {}, lock, None, None, nobody, False, None, {}, root)


async def _look(settings: Settings, subject: Subject, looking: _Looking) -> Looked:
    path, address = settings.socket_path, settings.web_listen_address[0]
    secured = settings.web_config_file is not None
    async with asyncio.TaskGroup() as group:

        def begin(check: str, work: Awaitable[T], otherwise: T) -> asyncio.Task[T]:
            return group.create_task(looking.at(check, LOOK_SECONDS, work, otherwise))

        holders = begin("socket.holder", in_thread(collector.holders, path), None)
        probed = begin("socket.probe", in_thread(probe.send, path), None)
        answer = begin("page.answers", web.get(address, settings.web_telemetry_path, secured), None)
        ready = begin("page.ready", web.get(address, "/-/ready", secured), None)
        sources = begin("source", _sources(settings, subject), ())
        instances = begin("nginx.configuration", _instances(settings), ())
        other_processes = begin("processes", in_thread(collector.other_processes), None)
    return Looked(
        holders.result(),
        probed.result(),
        answer.result(),
        read_page(answer.result()),
        ready.result(),
        sources.result(),
        instances.result(),
        other_processes.result(),
    )


async def _sources(settings: Settings, subject: Subject) -> tuple[Fetched, ...]:
    """Fetch the sources.

    A file that another user's configuration names for a source is not read, since root may read any file.
    """
    ours = subject.confides or "sources" in settings.explicit
    allowed = [source for source in settings.sources if ours or not source.connection.files]
    withheld = [
        Fetched(source.kind, source.address, None, 0, True) for source in settings.sources if source not in allowed
    ]
    return (*(_fetched(scrape) for scrape in await web.fetch_all(allowed)), *withheld)


async def _instances(settings: Settings) -> tuple[Instance, ...]:
    commands = await in_thread(nginx_commands.commands, settings.nginx_command)
    path = str(settings.socket_path)
    return tuple(await asyncio.gather(*(in_thread(nginx.examine, command, path) for command in commands)))


def read_page(answer: Answer | None) -> Page | None:
    """Read an answer as a page of ours; None if it is not one."""
    if answer is None or answer.error is not None:
        return None
    try:
        parsed = page.read(answer.text)
    except ValueError:
        return None
    return parsed if parsed.series("build_info") else None


def _fetched(scrape: Scrape) -> Fetched:
    source = scrape.source
    error = None if scrape.reason is None else f"{scrape.reason}: {scrape.words}"
    return Fetched(source.kind, source.address, error, len(scrape.families), nginx=source.name or "")


async def examine(settings: Settings) -> tuple[Subject, list[Finding]]:
    """Examine everything, and return the subject and all findings."""
    looking = _Looking()
    settings, subject = await looking.at(
        "collector.process", FIND_SECONDS, in_thread(find, settings), _unfound(settings)
    )
    looked = await _look(settings, subject, looking)
    return subject, in_order([*judge(subject, looked), *looking.findings])


def run(settings: Settings, json: bool, problems: bool) -> NoReturn:
    """Examine, print, and end with the exit status: 0, 1 (warnings), 2 (failures). ``problems``: print nothing else."""
    LOGGER.addHandler(logging.NullHandler())  # the findings contain the messages of the fetchers
    asyncio.run(_run(settings, json, problems))


async def _run(settings: Settings, json: bool, problems: bool) -> NoReturn:
    """Examine and print, and end the process from within the loop, which would otherwise wait for threads."""
    subject, findings = await examine(settings)
    shown = [finding for finding in findings if finding.is_problem] if problems else findings
    if json:
        sys.stdout.write(report.as_json(shown, subject))
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        sys.stdout.write(report.as_text(shown, colour=colour, summary=not problems))
    end(EXIT_STATUS[worst(findings)])
