"""Why nothing was done, or all was put back: the one error of this package."""


class RefusedError(Exception):
    """``reasons``: each a sentence that says what to do."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
