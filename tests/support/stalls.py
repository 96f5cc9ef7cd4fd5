"""A journal whose writes stall, as on a disk that does not answer."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def stalled(state: Path) -> Iterator[None]:
    """Another process holds the database in the state directory for as long as the block lasts."""
    number = (state / "current").read_text().split()[0]
    path = state / f"journal-{number}.sqlite"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
