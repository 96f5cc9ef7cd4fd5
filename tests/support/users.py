"""Programs of the project that run as another user, also where only root may search the directory of the project."""

from pathlib import Path

from support.nginx import ROOT

NOBODY = 65534
# The project alone, at its own path, below a directory that everybody may search. Only this program sees it so.
_REACHABLE = """
aside=$(mktemp -d)
mount --bind "$1" "$aside"
mount -t tmpfs -o mode=0755 reachable "$2"
mkdir -p "$1"
mount --move "$aside" "$1"
rmdir "$aside"
shift 2
exec "$@"
"""


def as_user(uid: int) -> tuple[str, ...]:
    """The words that a command line begins with, to run as this user and with none of root's groups. Needs root."""
    words = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    closed = _closed_directory()
    if closed is None:
        return words
    return ("unshare", "--mount", "sh", "-euc", _REACHABLE, "sh", str(ROOT), str(closed), *words)


def _closed_directory() -> Path | None:
    """The highest directory above the project that others may not search, such as /root."""
    return next((path for path in reversed(ROOT.parents) if not path.stat().st_mode & 0o001), None)
