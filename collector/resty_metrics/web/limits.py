"""The limits on what the server does at once."""

from dataclasses import dataclass

from resty_metrics.config.values import DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_REQUESTS


class TooManyError(Exception):
    """An error: so many requests wait for their passwords to be checked that one more would wait too long."""


@dataclass(slots=True)
class Limits:
    """The limits of connections, and of scrapes under way; 0: no limit. A reload changes them."""

    max_connections: int = DEFAULT_MAX_CONNECTIONS
    max_requests: int = DEFAULT_MAX_REQUESTS
