"""Why the journal cannot be used: one error with a reason from a closed set; and what a start lost of it."""

from dataclasses import dataclass
from typing import Literal, get_args

JournalReason = Literal["full", "read_only", "io", "busy", "corrupt", "foreign", "locked", "removed", "internal"]
REASONS: tuple[JournalReason, ...] = get_args(JournalReason)


class JournalError(Exception):
    """The journal cannot be read or written. ``reason`` becomes a label."""

    def __init__(self, reason: JournalReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: JournalReason = reason


@dataclass(frozen=True, slots=True)
class Loss:
    """The losses of a start. ``reason`` is None if there are none. ``records`` could not be read, ``entries`` of others
    could not be applied, and ``rows`` were in them as far as that is known.
    """

    reason: JournalReason | None = None
    records: int = 0
    entries: int = 0
    rows: int = 0


NOTHING_LOST = Loss()
