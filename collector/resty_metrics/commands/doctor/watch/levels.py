"""The directory of the socket and those above it, each watched, so that a replaced directory is reported too.

Rules:
- In the socket's directory all events are reported that concern the socket, its lock, its temporary names and the
  directory itself; in those above only events on the next directory on the way down.
- A replaced directory is watched again; the files already in it were created unseen.
- A directory above that cannot be watched (its file system has no file handles) is left out; the socket's own must be
  watched.
- Descriptors stay open as long as the path stays the same: closing one takes the kernel a millisecond and more, in
  which a culprit may end unseen.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import eq
from pathlib import Path

from resty_metrics.commands.doctor.watch import fanotify, file_events
from resty_metrics.commands.doctor.watch.errors import FormatError, RefusedError
from resty_metrics.commands.doctor.watch.file_events import FileEvent
from resty_metrics.kernel.paths import identity_of

MAX_LEVELS = 16

_ENTRIES = file_events.CREATED | file_events.DELETED | file_events.MOVED_AWAY | file_events.MOVED_HERE
_ABOVE = _ENTRIES | file_events.SELF_DELETED | file_events.ON_DIRECTORIES
_LOWEST = _ABOVE | file_events.ATTRIBUTES | file_events.ON_CHILDREN

Concerns = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Level:
    """A directory's path, the events in it that are reported, and the descriptor that watches it."""

    descriptor: int
    concerns: Concerns
    mask: int


@dataclass(frozen=True, slots=True)
class PathEvent:
    """An event and its path."""

    path: Path
    event: FileEvent


def concerns_socket(name: str) -> Concerns:
    """Return a test for entries of the socket's directory.

    It passes the socket ``name``, its lock, a temporary name, and the directory itself.
    """
    pattern = re.compile(rf"\.|{re.escape(name)}(?:\.lock)?|\.{re.escape(name)}\.\d+")
    return lambda entry: bool(pattern.fullmatch(entry))


class Levels:
    """The watched directories of a socket path; ``open`` comes first.

    ``lost`` counts how often the kernel lost events; ``stale``: a directory was replaced, it is time to ``renew``.
    """

    def __init__(self, socket_path: Path) -> None:
        self.lost = 0
        self.stale = False
        self._socket_path = socket_path
        self._levels: dict[Path, Level] = {}
        self._watched: dict[Path, tuple[int, int]] = {}

    def open(self) -> None:
        """Watch the directories.

        Raises RefusedError if the lowest existing one, normally the socket's, cannot be watched.
        """
        try:
            self._follow(_chain(self._socket_path))
            refused = self._watch()
        except RefusedError as error:
            refused = error
        if refused is not None:
            self.close()
            raise refused

    def descriptors(self) -> list[int]:
        return [level.descriptor for level in self._levels.values()]

    def read(self) -> list[PathEvent]:
        """Return the events, the deepest directory first: a directory's entries go before the directory itself."""
        events: list[PathEvent] = []
        for directory, level in self._levels.items():
            for event in self._take(level):
                if event.mask & file_events.LOST:
                    self.lost += 1
                if event.mask & (file_events.SELF_DELETED | file_events.LOST):
                    # Its successor may have the same inode number, and would be taken for it.
                    self._watched.pop(directory, None)
                    self.stale = True
                if event.mask & (_ENTRIES | file_events.ATTRIBUTES) and level.concerns(event.name):
                    events.append(PathEvent(directory / event.name, event))
                    self.stale = self.stale or level.mask == _ABOVE
        return events

    def renew(self) -> list[Path]:
        """Watch replaced directories. Return the entries of concern that a new socket's directory already has.

        A directory that cannot be watched now is tried again later.
        """
        self.stale, chain = False, _chain(self._socket_path)
        if chain != list(self._levels):
            self.close()
            self._follow(chain)
        before = self._watched.get(chain[0])
        self._watch()
        if self._watched.get(chain[0]) in (None, before):
            return []
        try:
            return [entry for entry in chain[0].iterdir() if self._levels[chain[0]].concerns(entry.name)]
        except OSError:
            return []

    def close(self) -> None:
        for descriptor in self.descriptors():
            os.close(descriptor)
        self._levels.clear()
        self._watched.clear()

    def _follow(self, chain: list[Path]) -> None:
        """Make a descriptor for each of the directories. Raises RefusedError."""
        concerns, mask = concerns_socket(self._socket_path.name), _LOWEST
        for directory in chain:
            self._levels[directory] = Level(fanotify.group(), concerns, mask)
            concerns, mask = partial(eq, directory.name), _ABOVE

    def _watch(self) -> RefusedError | None:
        """Watch all that is there and not watched; why the lowest that is there cannot be, if so."""
        refused = None
        for directory, level in self._levels.items():
            identity = identity_of(directory)
            if identity == self._watched.get(directory):
                continue
            if self._watched.pop(directory, None) is not None:
                fanotify.forget(level.descriptor)
            try:
                if identity is not None and fanotify.watch(level.descriptor, directory, level.mask):
                    self._watched[directory] = identity
            except RefusedError as error:
                refused = refused if self._watched else error
        return refused

    def _take(self, level: Level) -> list[FileEvent]:
        try:
            return fanotify.read(level.descriptor)
        except FormatError:
            self.lost += 1
            return []


def _chain(socket_path: Path) -> list[Path]:
    """Return the directories from the socket's up, with symbolic links resolved as far as possible."""
    try:
        directory = socket_path.parent.resolve()
    except (OSError, RuntimeError):
        directory = socket_path.parent.absolute()
    return [directory, *directory.parents][:MAX_LEVELS]
