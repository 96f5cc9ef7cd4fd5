"""A token bucket: so many requests at once, and one more each interval."""


class Bucket:
    """``interval``: seconds until one more may come; ``burst``: how many may come at once."""

    def __init__(self, interval: float, burst: int, now: float) -> None:
        self.shape = (interval, burst)
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one may come at ``now``, seconds of a monotonic clock."""
        interval, burst = self.shape
        self._tokens = min(burst, self._tokens + (now - self._at) / interval)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
