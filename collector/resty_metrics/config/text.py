"""Values of a configuration file, each read from the text that was written."""

from collections.abc import Callable
from typing import Any

from pydantic import PlainValidator


def by_text(read: Callable[[str], Any]) -> PlainValidator:
    """A value that is read by a function of its text."""
    return PlainValidator(lambda value: read(one(value)))


def one(value: object) -> str:
    """The text of a single value. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"give one value, not a {'list' if isinstance(value, list) else 'mapping'}")
    return value
