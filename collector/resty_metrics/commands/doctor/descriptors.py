"""File descriptors of the collector: ``collector.descriptors``.

Without a free descriptor the collector can answer neither workers nor scrapes. Datagrams still count, and are
acknowledged later.

Source of ``Max open files``: proc_pid_limits(5).
"""

import re
from dataclasses import dataclass

from resty_metrics.commands.doctor.finding import Finding, fail, not_known, ok, warn

NEAR = 0.8
LEAST_PROPOSED = 65_536
_LIMIT = re.compile(r"^Max open files\s+(?P<soft>\d+|unlimited)\s", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The descriptors of the collector. ``used`` None: this user may not see them; ``most`` None: without limit."""

    used: int | None
    most: int | None


def read_limit(text: str) -> int | None:
    """Return the soft limit in ``/proc/PID/limits``; None where there is none."""
    match = _LIMIT.search(text)
    return None if match is None or match["soft"] == "unlimited" else int(match["soft"])


def check(pid: int, found: Descriptors) -> Finding:
    """Check ``collector.descriptors``: enough of them are left."""
    name = "collector.descriptors"
    if found.used is None:
        return not_known(
            name, f"how many process {pid} has open is shown to its user and to root", "run doctor as root"
        )
    if found.most is None:
        return ok(name, f"process {pid} has {found.used} open, without limit")
    seen = f"process {pid} has {found.used} open, and may have {found.most}"
    if found.used < NEAR * found.most:
        return ok(name, seen)
    more = max(LEAST_PROPOSED, 4 * found.most)
    remedy = (
        f"prlimit --pid {pid} --nofile={more}:{more} (at once, without a restart), LimitNOFILE= of its unit for good; "
        "each worker's sender takes one: see resty_metrics_senders"
    )
    if found.used >= found.most:
        return fail(name, f"{seen}: none is left, so nobody is answered and nobody can scrape", remedy)
    return warn(name, f"{seen}: few are left", remedy)
