"""The state directory: numbered journal files, and which of them is current.

    current                      "<number> <identity>": the file to read at the next start
    journal-<number>.sqlite      with its -wal and -shm
    set-aside-<number>-<reason>.sqlite    a file that could not be read, kept for people; at most SET_ASIDE_MOST
    lock                         one collector a directory

Rules:
- A file counts only while ``current`` names it: that is a rename, so a crash at any step leaves the old or the new one.
- Never rename over a database, never a database without its -wal and -shm.
- Before a collector shows what is not in the journal, the journal is made invalid: ``current`` is unlinked, or where
  that fails, its identity is noted in the lock beside the socket. Loading it later would make counters go backward.
"""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from collector.journal.errors import JournalError
from collector.journal.store import failures

SET_ASIDE_MOST = 2
_CURRENT = re.compile(r"(?P<number>\d{1,12}) (?P<identity>[0-9a-f]{32})\n")
_CURRENT_BYTES = 64
_NUMBERED = re.compile(r"journal-(?P<number>\d{1,12})\.sqlite(-wal|-shm|-journal)?")
_SIDES = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Name:
    """A journal file. ``identity`` is drawn at random for each one, so that a number is never taken for another's."""

    number: int
    identity: str

    @property
    def file(self) -> str:
        return f"journal-{self.number}.sqlite"


def _beginning(path: Path) -> bytes:
    """More than a name has, whatever is there: a pipe would be waited for, a device has no end. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _CURRENT_BYTES)
    finally:
        os.close(descriptor)


class Directory:
    """The state directory. Every method raises JournalError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def current(self) -> Name | None:
        """The file that is current; None if there is none."""
        try:
            with failures():
                text = _beginning(self.path / "current").decode("ascii", "replace")
        except JournalError as error:
            if error.reason == "removed":
                return None
            raise
        match = _CURRENT.fullmatch(text)
        if match is None:
            raise JournalError("corrupt", f"{self.path}/current does not name a journal file")
        return Name(int(match["number"]), match["identity"])

    def newest(self) -> Name:
        """The numbered file that was made last; for when nobody knows which one is current."""
        return Name(max(self._numbers(), default=0), "")

    def file(self, name: Name) -> Path:
        return self.path / name.file

    def next(self) -> Name:
        """A name that no file of the directory has."""
        return Name(max(self._numbers(), default=0) + 1, secrets.token_hex(16))

    def name_current(self, name: Name) -> None:
        """From now on this file is the one to read. It must be complete and on the disk."""
        temporary = self.path / "current.new"
        with failures():
            self._sync()
            with temporary.open("w", encoding="ascii") as text:
                text.write(f"{name.number} {name.identity}\n")
                text.flush()
                os.fsync(text.fileno())
            temporary.rename(self.path / "current")
            self._sync()

    def invalidate(self) -> None:
        """No file is current any more."""
        with failures():
            (self.path / "current").unlink(missing_ok=True)
            self._sync()

    def remove_others(self, name: Name | None) -> None:
        """Remove every numbered file but this one, each with its sides."""
        with failures():
            for path in self._files():
                match = _NUMBERED.fullmatch(path.name)
                if match is not None and not path.is_dir() and (name is None or int(match["number"]) != name.number):
                    path.unlink(missing_ok=True)

    def set_aside(self, name: Name, reason: str) -> Path:
        """Keep a file that cannot be read out of the way. Where it is now."""
        aside = self.path / f"set-aside-{name.number}-{reason}.sqlite"
        with failures():
            self.invalidate()
            for side in _SIDES:
                path, kept = self.path / (name.file + side), aside.with_name(aside.name + side)
                kept.unlink(missing_ok=True)  # of an earlier one of that name: it would not fit this one
                if path.exists():
                    path.rename(kept)
            self._forget_old_ones()
        return aside

    def room(self) -> int:
        """Bytes that may still be written there, as far as the file system knows."""
        with failures():
            found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def _forget_old_ones(self) -> None:
        kept = [path for path in self._files() if path.name.startswith("set-aside-") and path.suffix == ".sqlite"]
        for path in sorted(kept, key=lambda path: path.stat().st_mtime)[:-SET_ASIDE_MOST]:
            for side in _SIDES:
                path.with_name(path.name + side).unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return list(self.path.iterdir())

    def _numbers(self) -> list[int]:
        with failures():
            matches = [_NUMBERED.fullmatch(path.name) for path in self._files()]
        return [int(match["number"]) for match in matches if match is not None]

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
