"""File descriptors of the collector: ``collector.descriptors``.

Without a free descriptor the collector can answer neither workers nor scrapes. Datagrams still count, and are
acknowledged later.

Source of ``Max open files``: proc_pid_limits(5).
"""

import re
from dataclasses import dataclass, replace

from resty_metrics.commands.doctor.finding import Finding, fail, not_known, ok, warn

NEAR = 0.8
LEAST_PROPOSED = 65_536
_LIMIT = re.compile(r"^Max open files\s+(?P<soft>\d+|unlimited)\s+(?P<hard>\d+|unlimited)\s", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The descriptors of the collector. ``used`` None: this user may not see them; ``most`` None: without limit.

    ``ceiling``: the hard limit, up to which any user may raise ``most``; None: without limit.
    """

    used: int | None
    most: int | None
    ceiling: int | None = None


def read_limits(text: str) -> tuple[int | None, int | None]:
    """Return the soft and the hard limit in ``/proc/PID/limits``; None where there is none."""
    match = _LIMIT.search(text)
    if match is None:
        return None, None
    soft, hard = (None if value == "unlimited" else int(value) for value in match.groups())
    return soft, hard


def _raised(descriptors: Descriptors, most: int) -> str:
    """Return prlimit's value that raises the limit: the soft one alone where the hard one leaves room for that."""
    more = max(LEAST_PROPOSED, 4 * most)
    if descriptors.ceiling is None or descriptors.ceiling >= 2 * most:
        return f"{more if descriptors.ceiling is None else min(more, descriptors.ceiling)}:"
    return f"{more}:{more}"


def check(pid: int, descriptors: Descriptors) -> Finding:
    """Check ``collector.descriptors``: enough of them are left."""
    name = "collector.descriptors"
    if descriptors.used is None:
        return not_known(name, f"only its user and root can see how many process {pid} has open", "run doctor as root")
    if descriptors.most is None:
        return ok(name, f"process {pid} has {descriptors.used} open, without limit")
    evidence = f"process {pid} has {descriptors.used} open, and may have {descriptors.most}"
    if descriptors.used < NEAR * descriptors.most:
        return ok(name, evidence)
    remedy = (
        f"prlimit --pid {pid} --nofile={_raised(descriptors, descriptors.most)} (at once, without a restart), "
        "LimitNOFILE= of its unit for good; "
        "each worker's sender takes one: see resty_metrics_senders"
    )
    if descriptors.used >= descriptors.most:
        return fail(name, f"{evidence}: none is left, so the collector can answer neither workers nor scrapes", remedy)
    return replace(warn(name, f"{evidence}: few are left", remedy), is_cause=False)
