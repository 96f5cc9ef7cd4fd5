"""How much the server takes on at once."""

from dataclasses import dataclass

from resty_metrics.config.values import DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_REQUESTS


class TooManyError(Exception):
    """So many wait for their passwords to be checked that one more would wait too long."""


@dataclass(slots=True)
class Limits:
    """Connections, and scrapes under way; 0: no limit. A reload changes them."""

    max_connections: int = DEFAULT_MAX_CONNECTIONS
    max_requests: int = DEFAULT_MAX_REQUESTS
