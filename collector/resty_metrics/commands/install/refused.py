"""Refusals, after which nothing is done or everything is restored: the one error of this package."""


class RefusedError(Exception):
    """A refusal. ``reasons``: sentences that say what to do."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
