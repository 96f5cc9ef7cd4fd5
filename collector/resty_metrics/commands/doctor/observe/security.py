"""SELinux and AppArmor, as the kernel shows them; None where neither is on."""

import os
from pathlib import Path

from resty_metrics.commands.doctor.reach import Confinement
from resty_metrics.kernel.paths import read

_SELINUX = Path("/sys/fs/selinux/enforce")
_APPARMOR = Path("/sys/module/apparmor/parameters/enabled")


def confinement(worker: int | None, socket_path: Path) -> Confinement | None:
    """Return how a process is confined. ``worker``: its pid, None where no worker runs."""
    enforcing = read(_SELINUX)
    subject = None if worker is None else _subject(worker)
    if enforcing is not None:
        return Confinement("SELinux", enforcing.strip() == "1", _domain(subject), _label(socket_path))
    if (read(_APPARMOR) or "").strip() == "Y":
        return Confinement("AppArmor", "(complain)" not in (subject or ""), subject, None)
    return None


def _subject(pid: int) -> str | None:
    for name in ("apparmor/current", "current"):
        try:
            text = Path(f"/proc/{pid}/attr/{name}").read_text()
        except OSError:
            continue
        if text.strip("\0\n "):
            return text.strip("\0\n ")
    return None


def _domain(subject: str | None) -> str | None:
    """Return the domain in an SELinux context: ``httpd_t`` of ``system_u:system_r:httpd_t:s0``."""
    parts = (subject or "").split(":")
    return parts[2] if len(parts) > 2 else subject


def _label(path: Path) -> str | None:
    try:
        return os.getxattr(path, "security.selinux").decode(errors="replace").strip("\0")
    except OSError:
        return None
