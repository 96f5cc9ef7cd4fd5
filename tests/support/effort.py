"""Counts of random examples: all of them in a full run, a fifth in ``scripts/test --fast``."""

from hypothesis import settings

_FULL = 100  # the examples of a hypothesis test that names no count


def examples(count: int) -> int:
    """Return ``count``, or the share of it that the loaded profile of hypothesis asks for."""
    return count * settings().max_examples // _FULL
