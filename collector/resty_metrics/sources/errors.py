"""Failures to read a source: one error with a reason from a closed set."""

from typing import Literal, get_args

SourceReason = Literal[
    "refused", "timeout", "tls", "credentials", "resolve", "status", "parse", "too_large", "connection", "internal"
]
REASONS: tuple[SourceReason, ...] = get_args(SourceReason)


class SourceError(Exception):
    """A source gave no usable document. ``reason`` becomes a label."""

    def __init__(self, reason: SourceReason, message: str) -> None:
        super().__init__(message)
        self.reason: SourceReason = reason
