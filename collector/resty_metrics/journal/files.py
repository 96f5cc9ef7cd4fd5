"""The state directory: numbered journal files, and the name of the current one.

    current                      "<number> <identity>": the file to read at the next start
    journal-<number>.sqlite      with its -wal, -shm and -count
    set-aside-<number>-<reason>.sqlite    an unused file, kept for people, with the same sides
    lock                         one collector per directory

Rules:
- A file counts only while ``current`` names it. ``current`` is replaced by a rename, so a crash at any step leaves the
  old file or the new one current.
- Never rename over a database, and never rename or remove one without its sides.
- Before a collector shows numbers that are not in the journal, the journal is made invalid: ``current`` is unlinked, or
  if that fails, its identity is noted in the lock beside the socket. Loading it later would make counters go backward.
- A file is removed only if it is superseded: we made it, or all of it was read and is continued in a newer one. Any
  other file is set aside, even the current one of a collector that held the directory meanwhile. Of the useless files
  that were set aside, SET_ASIDE_MOST are kept. A file that could not be read at the time is never removed.
- A number is used once: the next one is above the numbers of all files, those set aside included. If somebody's file
  has the highest possible number, the next one is the lowest that no file has.
"""

import contextlib
import logging
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from resty_metrics.journal import private
from resty_metrics.journal.errors import JournalError, JournalReason
from resty_metrics.journal.store import SIDES, failures
from resty_metrics.process.log import say

SET_ASIDE_MOST = 2
AsideReason = JournalReason | Literal["unnamed", "unread"]
_OF_NO_USE = ("corrupt", "foreign", "removed", "unnamed")
_NUMBER = "(?P<number>[0-9]{1,12})"
_NUMBERS = 10**12  # the lowest number that has too many digits
_CURRENT = re.compile(rf"{_NUMBER} (?P<identity>[0-9a-f]{{32}})\n")
_CURRENT_BYTES = 64
_SIDES = "|".join(SIDES)
_NUMBERED = re.compile(rf"journal-{_NUMBER}\.sqlite(?:{_SIDES})?")
_ASIDE = re.compile(rf"set-aside-{_NUMBER}-(?P<reason>\w+)\.sqlite(?:{_SIDES})?")


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a journal file. ``identity`` is random: it tells apart two files that had the same number."""

    number: int
    identity: str

    @property
    def file(self) -> str:
        return f"journal-{self.number}.sqlite"


class Directory:
    """The state directory. Every method raises JournalError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._superseded: set[int] = set()
        self._identities: set[str] = set()  # identities of the files that we made or read

    def current(self) -> Name | None:
        """Return the name of the current file; None if no file is current."""
        try:
            with failures():
                text = private.beginning(self.path / "current", _CURRENT_BYTES).decode("ascii", "replace")
        except JournalError as error:
            if error.reason == "removed":
                return None
            raise
        match = _CURRENT.fullmatch(text)
        if match is None:
            raise JournalError("corrupt", f"{self.path}/current does not name a journal file")
        return Name(int(match["number"]), match["identity"])

    def numbers(self) -> list[int]:
        """Return the numbers of all journal files, oldest first."""
        return sorted({int(match["number"]) for match in self._matches(_NUMBERED)})

    def file(self, name: Name) -> Path:
        return self.path / name.file

    def next(self) -> Name:
        """Return a name that no file of the directory has or had. The file made under it counts as superseded."""
        name = Name(self._free_number(), secrets.token_hex(16))
        self._superseded.add(name.number)
        self._identities.add(name.identity)
        return name

    def name_current(self, name: Name) -> None:
        """Make this file the current one. It must be complete and on the disk."""
        temporary = self.path / "current.new"
        self._spare_anothers()
        with failures():
            self._sync()
            private.clear(temporary)
            descriptor = private.make(temporary)
            try:
                os.write(descriptor, f"{name.number} {name.identity}\n".encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.rename(self.path / "current")
            self._sync()

    def invalidate(self) -> None:
        """Unlink ``current``, so that no file is current any more."""
        self._spare_anothers()
        with failures():
            private.clear(self.path / "current")
            self._sync()

    def restrict(self) -> None:
        """Remove every other user's permission to read the existing files."""
        with failures():
            for path in self._files():
                if path.name == "current" or _NUMBERED.fullmatch(path.name) or _ASIDE.fullmatch(path.name):
                    private.restrict(path)

    def supersede(self, name: Name, whole: bool = True) -> None:
        """Note that this file was read, or must not be, and that no other file there is needed any more.

        ``remove_others`` may remove all of them; this one only if it was read in full (``whole``).
        """
        self._identities.add(name.identity)
        self._superseded.update(self.numbers())
        if not whole:
            self._superseded.discard(name.number)

    def remove_others(self, name: Name | None) -> None:
        """Remove every superseded file but this one, each with its sides. Set aside all others; None: spare no file."""
        for number in self.numbers():
            if name is not None and number == name.number:
                continue
            if number in self._superseded:
                self._remove(number)
                continue
            aside = self._put_aside(number, "unread")
            say(logging.WARNING, "a journal file was not read in full, and is set aside", kept_as=aside)

    def set_aside(self, number: int, reason: AsideReason) -> Path | None:
        """Rename an unused file and its sides, to keep them for people. No file is current afterwards.

        Return the new path; None if there is no such file.
        """
        self.invalidate()
        return self._put_aside(number, reason)

    def room(self) -> int:
        """Return the number of bytes that can still be written there, according to the file system."""
        with failures():
            status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def _spare_anothers(self) -> None:
        with contextlib.suppress(JournalError):
            name = self.current()
            if name is not None and name.identity not in self._identities:
                self._superseded.discard(name.number)

    def _put_aside(self, number: int, reason: AsideReason) -> Path | None:
        kept = None
        with failures():
            is_used = any(match["number"] == str(number) for match in self._matches(_ASIDE))
            free = self._free_number() if is_used else number
            for path in self._with_sides(self.path / Name(number, "").file):
                side = path.name.partition(".sqlite")[2]
                target = self.path / f"set-aside-{free}-{reason}.sqlite{side}"
                path.rename(target)
                kept = kept or target
        self._forget_old_ones()
        return kept

    def _forget_old_ones(self) -> None:
        kept = {(int(match["number"]), match["reason"]) for match in self._matches(_ASIDE)}
        of_no_use = sorted(name for name in kept if name[1] in _OF_NO_USE)
        for number, reason in of_no_use[:-SET_ASIDE_MOST]:
            self._unlink(self.path / f"set-aside-{number}-{reason}.sqlite")

    def _remove(self, number: int) -> None:
        self._unlink(self.path / Name(number, "").file)

    def _unlink(self, path: Path) -> None:
        with failures():
            for file in self._with_sides(path):
                if file.is_symlink() or not file.is_dir():
                    file.unlink(missing_ok=True)

    def _with_sides(self, path: Path) -> list[Path]:
        """Return the paths of the file and its sides that exist, of whatever type they are."""
        paths = [path.with_name(path.name + side) for side in ("", *SIDES)]
        return [path for path in paths if path.is_symlink() or path.exists()]

    def _files(self) -> list[Path]:
        """Return all paths in the directory; none if it is missing."""
        try:
            return list(self.path.iterdir())
        except FileNotFoundError:
            return []

    def _matches(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        with failures():
            names = [path.name for path in self._files()]
        yield from (match for match in map(pattern.fullmatch, names) if match is not None)

    def _free_number(self) -> int:
        used = {int(match["number"]) for match in (*self._matches(_NUMBERED), *self._matches(_ASIDE))}
        number = 1 + max(used, default=0)
        return number if number < _NUMBERS else next(free for free in count(1) if free not in used)

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
