"""A token bucket: a burst of requests at once, then one more in each interval."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit of requests. ``interval``: seconds until one more may come, 0: no limit; ``burst``: the most at once."""

    interval: float = 0.0
    burst: int = 0


class Bucket:
    """A bucket with a token for each request that its rate allows now. ``now``: seconds of a monotonic clock."""

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._tokens = float(rate.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token and return True; return False if there is none."""
        self._tokens = min(self.rate.burst, self._tokens + (now - self._at) / self.rate.interval)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
