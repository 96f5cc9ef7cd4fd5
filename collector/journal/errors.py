"""Why the journal cannot be used: one error with a reason from a closed set."""

from typing import Literal, get_args

JournalReason = Literal["full", "read_only", "io", "busy", "corrupt", "foreign", "locked", "removed", "internal"]
REASONS: tuple[JournalReason, ...] = get_args(JournalReason)


class JournalError(Exception):
    """The journal cannot be read or written. ``reason`` becomes a label."""

    def __init__(self, reason: JournalReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: JournalReason = reason
