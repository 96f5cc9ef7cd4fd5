"""Workers that ended unexpectedly, from nginx's error log: ``workers.died``.

Rules:
- nginx writes local time in a form that sorts as text, so it is compared as text.
- A killed worker loses whatever was not acknowledged: that is the only kind of loss.
- A death explains missing workers, as many as died, and missing requests, while the collector looks at that time.

Source: nginx's src/os/unix/ngx_process.c (``ngx_process_get_status``), src/core/ngx_times.c (the form of the time).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from resty_metrics.commands.doctor.finding import LATE_REQUESTS, Finding, ok, skip, warn

TIME_FORMAT = "%Y/%m/%d %H:%M:%S"
WITHIN_SECONDS = 3600
MISSING_WITHIN_SECONDS = 630  # ingest/missing.py counts a worker for 600 s after its last heartbeat
COVERAGE_WITHIN_SECONDS = 330  # page/coverage.py looks at 300 s, in steps of 10

_LINE = re.compile(
    r"^(?P<at>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[alert\] (?P<master>\d+)#\d+: worker process (?P<pid>\d+) exited "
    r"(?:on signal (?P<signal>\d+)|with fatal code (?P<code>\d+))",
    re.MULTILINE,
)
_SIGNALS = {6: "SIGABRT", 7: "SIGBUS", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}
_LOST = "Counts that the collector had not acknowledged are lost"
_KILLED = f"see dmesg: the kernel kills workers when memory runs out. Otherwise a user or a program killed it. {_LOST}"
_CRASHED = f"see nginx's error log and the core dump for the module that crashed. {_LOST}"


@dataclass(frozen=True, slots=True)
class Death:
    """A worker's end.

    ``at``: the time as nginx writes it. ``signal`` None: a fatal code, after which nginx starts no other.
    """

    at: str
    master: int
    pid: int
    signal: int | None

    @property
    def label(self) -> str:
        if self.signal is None:
            return f"{self.pid} with a fatal code at {self.at}"
        name = _SIGNALS.get(self.signal)
        return f"{self.pid} on signal {self.signal}{f' ({name})' if name else ''} at {self.at}"


@dataclass(frozen=True, slots=True)
class Log:
    """The end of an error log.

    ``text`` None: it cannot be read. ``since``, ``until``: the hour that counts. ``missing_since``, ``coverage_since``:
    the times since when a death explains a missing worker, and missing requests.
    """

    path: str
    text: str | None
    since: str
    until: str
    missing_since: str = ""
    coverage_since: str = ""


def workers(count: int) -> frozenset[str]:
    """Return that many workers as parts of a finding, where it is not known which ones."""
    return frozenset(f"worker {number}" for number in range(1, count + 1))


def read(text: str, since: str, until: str) -> list[Death]:
    """Return all deaths between two times, oldest first."""
    deaths = [
        Death(match["at"], int(match["master"]), int(match["pid"]), int(match["signal"]) if match["signal"] else None)
        for match in _LINE.finditer(text)
    ]
    return [death for death in deaths if since <= death.at <= until]


def check(logs: Sequence[Log]) -> list[Finding]:
    """Check ``workers.died``, with a finding for each log."""
    return [_check(log) for log in logs]


def _check(log: Log) -> Finding:
    if log.text is None:
        return skip("workers.died", f"{log.path} cannot be read by this user, or is no file")
    deaths = read(log.text, log.since, log.until)
    if not deaths:
        return ok("workers.died", f"no worker died in the last hour, according to {log.path}")
    last = deaths[-1]
    evidence = f"{len(deaths)} workers died in the last hour, the last was {last.label} ({log.path})"
    remedy = _KILLED if last.signal in (9, 15) else _CRASHED
    if last.signal is None:
        remedy = "restart nginx, which does not replace this worker; its error log has the reason"
    parts = workers(sum(death.at >= log.missing_since for death in deaths)) | {"the last hour"}
    return replace(
        warn("workers.died", evidence, remedy),
        parts=parts | {LATE_REQUESTS} if last.at >= log.coverage_since else parts,
    )
