"""The server's counts of its own work."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from resty_metrics.health.facts import RefusedFile

Closed = Literal["limit", "evicted", "handshake", "client_san", "slow_request", "slow_read", "room"]
File = Literal["settings", "web"]
Refused = Literal["malformed", "too_large", "unauthorized", "busy", "rate_limit", "foreign_origin", "failed"]


@dataclass(slots=True)
class Tally:
    """Counts of connections and requests, and the state of the configuration.

    ``connections``: open now; ``closed``: by us, before their time; ``refused``: requests that were not served.
    ``wrong``: the files that were refused when last read, by a reload or as a watched web configuration; ``loaded_at``:
    when a configuration last came into force, in seconds of the wall clock.
    """

    loaded_at: float
    wrong: dict[File, RefusedFile] = field(default_factory=dict)
    connections: int = 0
    closed: Counter[Closed] = field(default_factory=Counter)
    refused: Counter[Refused] = field(default_factory=Counter)
