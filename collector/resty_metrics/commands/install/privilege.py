"""The rights that a change needs, seen before it begins."""

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from resty_metrics.commands.install.facts import Change


def as_root() -> str:
    """Return the command that does the same as root."""
    return f"run: {shlex.join(('sudo', 'resty-metrics', *sys.argv[1:]))}"


def lacking(changes: Iterable[Change], master: int | None) -> list[str]:
    """Return why we may not make the changes, or may not reload nginx, with the remedy."""
    remedy = "make it writable" if os.geteuid() == 0 else as_root()
    for change in changes:
        path = _to_write(Path(change.path), change.after is None or change.before is None)
        if not os.access(path, os.W_OK, effective_ids=True):
            return [f"{change.path} cannot be written: {remedy}"]
    if master is not None and os.geteuid() != 0 and _owner(master) not in (None, os.geteuid()):
        return [f"nginx's master {master} belongs to another user and cannot be reloaded: {remedy}"]
    return []


def _to_write(path: Path, appears: bool) -> Path:
    """Return the file that is written, or the directory where it appears or disappears."""
    if not appears:
        return path
    return next(parent for parent in path.parents if parent.exists())


def _owner(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None
