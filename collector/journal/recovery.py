"""Reading the journal at the start: the state that was, or nothing and why.

Rules:
- It never ends in a crash: a file that cannot be read is set aside, said, and counting begins at 0.
- That holds for one that is whole, but cannot be read now (no permission, an I/O error), too: the next snapshot would
  remove it. Where it cannot even be renamed it stays, made invalid by whoever goes on without it.
- In a directory that is not ours (it is read-only, say, and so is its lock) nothing is written.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from collector.journal import reading, records, snapshot
from collector.journal.errors import JournalError
from collector.journal.files import Directory, Name
from collector.journal.state import State
from collector.log import say

ANY = "0" * 32  # stale: whatever is there, for where not even its identity could be read


@dataclass(frozen=True, slots=True)
class Recovered:
    """``state`` None: counting begins at 0. ``records`` is how many were replayed. ``name``: of the file that is
    current all the same; None where that is not known."""

    state: State | None
    records: int = 0
    name: Name | None = None


def recover(directory: Directory, stale: str | None, ours: bool = True, spare: Path | None = None) -> Recovered:
    """Read the current file. ``stale``: identity of one that must not be read, or ANY. ``ours``, ``spare``: as in
    reading.read. Raises JournalError.
    """
    name = None
    try:
        name = directory.current()
        if name is None:
            return Recovered(None)
        if stale in (name.identity, ANY):
            say(logging.WARNING, "the journal is older than what was counted; counting begins at 0", file=name.file)
            if ours:
                directory.invalidate()
            return Recovered(None, name=None if stale == ANY else name)
        return _read(directory, name, ours, spare)
    except JournalError as error:
        if not ours:
            raise
        try:
            aside = directory.set_aside(name or directory.newest(), error.reason)
        except JournalError:
            raise error from None
        say(
            logging.ERROR,
            "the journal cannot be used and is set aside; counting begins at 0",
            error=error,
            kept_as=aside,
        )
        return Recovered(None)


def _read(directory: Directory, name: Name, ours: bool, spare: Path | None) -> Recovered:
    content = reading.read(directory.file(name), ours, spare)
    state = snapshot.read(content.parts)
    for record in content.records:
        records.replay(state, record)
    return Recovered(state, len(content.records), name)
