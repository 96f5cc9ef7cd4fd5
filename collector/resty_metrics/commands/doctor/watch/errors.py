"""Faults of the watch: bytes of the kernel that make no sense, and a kernel that refuses."""

from typing import Literal

Reason = Literal["truncated", "malformed", "version"]


class FormatError(Exception):
    """Bytes that are no event of the kernel; ``reason`` says in which way."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"a {reason} event")
        self.reason = reason


class RefusedError(Exception):
    """A half of the watch that is not to be had; ``capability`` is the one that is missing, if that is why."""

    def __init__(self, text: str, capability: str | None = None) -> None:
        super().__init__(text)
        self.capability = capability
