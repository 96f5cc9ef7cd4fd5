"""Changes to files that can all be undone: bytes, mode, owner, times. A new file is removed again.

Rules:
- The former state of a file is kept before the file is touched; restoring it is right whether the change took place or
  not.
- An existing file is written in its place, through a link, and keeps mode, owner, links and attributes. A new file is
  0644, a new directory 0755, whatever the umask: nginx's workers read them.
- A file that has changed since the plan was made is not touched.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from resty_metrics.commands.install.facts import Change
from resty_metrics.commands.install.refused import RefusedError

_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file as it was; ``content`` None: it was not there."""

    path: Path
    content: bytes | None
    status: os.stat_result | None


def read(path: Path) -> bytes | None:
    """Read a file; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


class Transaction:
    """The changes that took place, newest last. ``loaded``: nginx may have read them."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []
        self._new_directories: list[Path] = []
        self._times: dict[Path, os.stat_result] = {}
        self.loaded = False

    def apply(self, changes: Iterable[Change]) -> None:
        """Apply the changes. Raises RefusedError, or OSError; changes made by then stay, and can be restored."""
        for change in changes:
            path = Path(change.path)
            if read(path) != change.before:
                raise RefusedError(f"another program changed {path} meanwhile. Run this again")
            self._keep(path, change)
            if change.after is None:
                path.unlink()
            else:
                _write(path, change.after)

    def _keep(self, path: Path, change: Change) -> None:
        self._make_directories(path.parent)
        self._remember(path.parent)
        status = None if change.before is None else path.stat()
        self._kept.append(_Kept(path.resolve() if change.after is not None else path, change.before, status))

    def _make_directories(self, directory: Path) -> None:
        missing = [path for path in (directory, *directory.parents) if not path.exists()]
        for path in reversed(missing):
            self._remember(path.parent)
            self._new_directories.append(path)
            path.mkdir()
            path.chmod(_DIRECTORY_MODE)

    def _remember(self, directory: Path) -> None:
        self._times.setdefault(directory, directory.stat())

    def remove_empty(self, top: Path, above: Sequence[str]) -> None:
        """Remove the empty directories below ``top``, ``top`` itself, and those above, as far as they are empty."""
        for directory in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                directory.rmdir()
        for directory in (top, *map(Path, reversed(above))):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def roll_back(self) -> list[str]:
        """Restore everything, and return an error for each file where that failed."""
        errors = []
        for kept in reversed(self._kept):
            try:
                _restore(kept)
            except OSError as error:
                errors.append(f"cannot restore {kept.path}: {error.strerror or error}")
        for directory in reversed(self._new_directories):
            with contextlib.suppress(OSError):
                directory.rmdir()
        for directory, status in self._times.items():
            with contextlib.suppress(OSError):
                os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))
        return errors


def _write(path: Path, content: bytes) -> None:
    """Write over the present content, and cut off the rest only when everything is written."""
    new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if new else 0), _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        if new:
            os.fchmod(descriptor, _FILE_MODE)
        file.write(content)
        file.flush()
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)


def _restore(kept: _Kept) -> None:
    if kept.content is None or kept.status is None:
        kept.path.unlink(missing_ok=True)
        return
    if read(kept.path) != kept.content:
        _write(kept.path, kept.content)
    if _owner(kept.path.stat()) != _owner(kept.status):
        os.chown(kept.path, kept.status.st_uid, kept.status.st_gid)
    kept.path.chmod(stat.S_IMODE(kept.status.st_mode))
    os.utime(kept.path, ns=(kept.status.st_atime_ns, kept.status.st_mtime_ns))


def _owner(status: os.stat_result) -> tuple[int, int]:
    return status.st_uid, status.st_gid
