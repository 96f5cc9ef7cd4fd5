"""The journal's error, with a reason from a closed set, and the losses of a start."""

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
    """The losses of a start. ``reason`` None: nothing was lost. ``records``: the number of records that could not be
    read. ``entries``: the number of entries of other records that could not be applied. ``rows``: the number of rows in
    all of these, as far as it is known.
    """

    reason: JournalReason | None = None
    records: int = 0
    entries: int = 0
    rows: int = 0


NOTHING_LOST = Loss()
