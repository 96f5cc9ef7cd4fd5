"""The journal's error, with a reason from a closed set, and the losses of a start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

JournalReason = Literal["full", "read_only", "io", "busy", "corrupt", "foreign", "locked", "removed", "internal"]
REASONS: tuple[JournalReason, ...] = get_args(JournalReason)


# What the log says to do, where the reason alone says it.
REMEDIES: Mapping[JournalReason, str] = {
    "full": "Free space on the disk of --state.dir. Do not restart the collector before.",
    "read_only": "Give this user write access to --state.dir, or set it to another directory, or to none.",
}


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
