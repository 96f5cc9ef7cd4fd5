"""Faults of the watch: bytes of the kernel that make no sense, and a kernel that refuses."""

from typing import Literal

Reason = Literal["truncated", "malformed", "version"]


class FormatError(Exception):
    """Bytes that are not an event of the kernel; ``reason`` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"a {reason} event")
        self.reason = reason


class RefusedError(Exception):
    """A half of the watch that the kernel refuses; ``capability`` is the missing one, if that is the reason."""

    def __init__(self, text: str, capability: str | None = None) -> None:
        super().__init__(text)
        self.capability = capability
