"""The socket's directory, which nginx's workers, other users, have to pass.

Rules:
- A directory that we make is 0755, and so is each one above it that was missing, whatever the umask. One that is there
  keeps its mode: the operator may have closed it to all but a group.
- Search permission that the directory had while we ran is given back when it is taken away. Permission that is granted
  later counts from then on; the start is the moment to take any away.
"""

import stat
from pathlib import Path

MODE = 0o755
_SEARCH = 0o111


def make(directory: Path, own_mode: int = MODE) -> None:
    """Make a directory, with this mode, and those above it, as far as they are missing. Raises OSError."""
    for level in (*reversed(directory.parents), directory):
        try:
            if level.is_dir():
                continue
            required = own_mode if level == directory else MODE
            level.mkdir(required)
        except FileExistsError:
            if not level.is_dir():
                raise
            continue
        mode = stat.S_IMODE(level.stat().st_mode)  # with the set-group-ID bit of the directory above
        if mode & required != required:
            level.chmod(mode | required)


class Passage:
    """The search permission of one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._search = 0

    def mend(self) -> tuple[int, int] | None:
        """Give back search permission that was taken away. Return the mode before and now; None: all is well.

        Raises OSError. A directory that is missing has no permission to be given back.
        """
        try:
            mode = stat.S_IMODE(self.directory.stat().st_mode)
        except FileNotFoundError:
            return None
        lost = self._search & ~mode
        self._search |= mode & _SEARCH
        if not lost:
            return None
        self.directory.chmod(mode | lost)
        return mode, mode | lost
